import contextlib
import http.client
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from medcodi.turing.server import TuringServer
from tests.turing.folders import write_study


@pytest.fixture
def study(tmp_path):
    """Folder and reader codes of a study of five tasks with four items."""
    return write_study(tmp_path)


class Client:
    """Requests to a server, byte for byte as given: no client library cleans up the path."""

    def __init__(self, server: TuringServer) -> None:
        self.server = server

    def __call__(
        self, method: str, path: str, body: Any = None, reader: str | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(*self.server.server_address[:2], timeout=10)
        connection.putrequest(method, path, skip_host="Host" in headers)
        data = (
            body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        )
        headers |= {"X-Reader": reader} if reader else {}
        headers |= (
            {"Content-Length": str(len(data))}
            if body is not None and "Content-Length" not in headers
            else {}
        )
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders(data)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, dict(answer.getheaders()), content


@contextlib.contextmanager
def serving(folder: Path, port: int = 0) -> Iterator[Client]:
    with TuringServer(folder, port=port) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield Client(server)
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Client and reader codes of a study in which nobody rates anything."""
    folder, codes = write_study(tmp_path_factory.mktemp("served"))
    with serving(folder) as client:
        yield client, codes


@pytest.fixture
def client(study):
    """Client of `study`."""
    with serving(study[0]) as client:
        yield client
