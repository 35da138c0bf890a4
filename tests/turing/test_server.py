"""The server: what it tells, what it refuses, and that a rating that it confirmed is there after a
kill."""

import contextlib
import http.client
import json
import signal
import socket
import sqlite3
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest

from medcodi.turing.server import HEADERS, Study, TuringServer
from medcodi.turing.store import RatingStore
from tests.turing.conftest import serving
from tests.turing.folders import NUM_ITEMS, start_server, write_study

FOREIGN = (
    "/../truth.json",
    "/items/../truth.json",
    "/items/../../real/study000_frontal.png",
    "/%2e%2e/truth.json",
    "/items/%2e%2e/truth.json",
    "/items/..%2ftruth.json",
    "/items/..%252f..%252ftruth.json",
    "/items/..\\truth.json",
    "//truth.json",
    "/items//etc/passwd",
    "/truth.json",
    "/study.json",
    "/ratings.sqlite",
    "/items/",
    "/items",
    "/page.html/../../truth.json",
    "/server.py",
    "/page.css?x",
    "/items/%00",
    "http://127.0.0.1/truth.json",
    "*",
)


def session(client, reader):
    status, _, body = client("GET", "/api/session", reader=reader)
    assert status == 200
    return json.loads(body)


def test_session(served):
    told = session(served[0], served[1][0])
    assert [len(task["items"]) for task in told["tasks"]] == [NUM_ITEMS] * 5
    assert told["ratings"] == {}
    keys = {key for task in told["tasks"] for item in task["items"] for key in item}
    assert keys == {"id", "parts"}
    assert "synthetic" not in json.dumps(told)


def test_every_reader_has_an_own_order_that_stays(tmp_path):
    folder, codes = write_study(tmp_path, num_items=10)
    one = Study(folder)
    orders = {
        code: [item["id"] for task in one.session(code)["tasks"] for item in task["items"]]
        for code in codes
    }
    assert (
        len({tuple(order) for order in orders.values()})
        == len({frozenset(order) for order in orders.values()}) + 2
    )
    again = Study(folder)
    assert [
        item["id"] for task in again.session(codes[0])["tasks"] for item in task["items"]
    ] == orders[codes[0]]


def test_images_and_page(served):
    client, codes = served
    told = session(client, codes[0])
    images = [
        p["image"]
        for t in told["tasks"]
        for item in t["items"]
        for p in item["parts"]
        if "image" in p
    ]
    answers = [client("GET", f"/items/{name}") for name in images]
    assert {status for status, _, _ in answers} == {200}
    assert (
        len({tuple(v for k, v in headers.items() if k != "Date") for _, headers, _ in answers}) == 1
    )
    for path, media_type in (
        ("/", "text/html"),
        ("/page.css", "text/css"),
        ("/page.js", "text/javascript"),
    ):
        status, headers, body = client("GET", path)
        assert status == 200 and headers["Content-Type"] == f"{media_type}; charset=utf-8"
        assert b"http://" not in body and b"https://" not in body and b"//cdn" not in body
        assert {name: headers[name] for name in HEADERS} == HEADERS
        assert "Python" not in headers["Server"]


@pytest.mark.parametrize("path", FOREIGN)
def test_no_path_leaves_the_study(served, path):
    status, headers, body = served[0]("GET", path)
    assert status == 404 and json.loads(body) == {"error": "there is no such page"}
    assert {name: headers[name] for name in HEADERS} == HEADERS


def test_ratings_are_kept_and_may_change(client, study):
    folder, (code, other, _) = study
    key = session(client, code)["tasks"][0]["items"][0]["id"]
    for score in (2, 5):
        status, _, body = client(
            "POST", "/api/ratings", {"item": key, "score": score, "seconds": 1.5}, code
        )
        assert (status, json.loads(body)) == (200, {"saved": True})
    assert session(client, code.lower())["ratings"] == {key: 5}
    assert session(client, other)["ratings"] == {}
    with sqlite3.connect(folder / "ratings.sqlite") as database:
        assert database.execute("SELECT score FROM ratings ORDER BY id").fetchall() == [(2,), (5,)]


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ({"score": 3}, 400, "expected the item of a rating"),
        ({"item": "0" * 16, "score": 3}, 400, "expected the item of a rating"),
        ({"item": [], "score": 3}, 400, "expected the item of a rating"),
        ([], 400, "expected the item of a rating"),
        ({"item": "KEY", "score": 0}, 400, "a score is a whole number of 1 to 5, got 0"),
        ({"item": "KEY", "score": 6}, 400, "a score is a whole number of 1 to 5, got 6"),
        ({"item": "KEY", "score": True}, 400, "a score is a whole number of 1 to 5, got True"),
        ({"item": "KEY", "score": 3.5}, 400, "a score is a whole number of 1 to 5, got 3.5"),
        ({"item": "KEY", "score": "3"}, 400, "a score is a whole number of 1 to 5, got '3'"),
        ({"item": "KEY"}, 400, "a score is a whole number of 1 to 5, got None"),
        ({"item": "KEY", "score": 3, "seconds": "x"}, 400, "seconds must be a number"),
        ({"item": "KEY", "score": 3, "seconds": float("nan")}, 400, "seconds must be a number"),
        (b"{", 400, "expected JSON"),
        (b"[" * 4000, 400, "expected JSON"),
        (b" " * 5000, 413, "expected a body of at most 4096 bytes"),
    ],
)
def test_bad_ratings_are_refused(served, body, status, error):
    client, (code, *_) = served
    key = session(client, code)["tasks"][0]["items"][0]["id"]
    if isinstance(body, dict) and body.get("item") == "KEY":
        body = body | {"item": key}
    found, _, answer = client("POST", "/api/ratings", body, code)
    assert (found, json.loads(answer)) == (status, {"error": error})
    assert session(client, code)["ratings"] == {}


def test_who_may_ask(served):
    client, codes = served
    key = session(client, codes[0])["tasks"][0]["items"][0]["id"]
    for reader in (None, "NOBODY", "' OR 1=1 --"):
        assert client("GET", "/api/session", reader=reader)[0] == 403
        assert client("POST", "/api/ratings", {"item": key, "score": 3}, reader)[0] == 403
    assert client("GET", "/", Host="evil.example")[0] == 403
    assert client("GET", "/", Host=f"localhost:{client.server.server_address[1]}")[0] == 200
    for method in ("PUT", "DELETE", "HEAD", "OPTIONS"):
        assert client(method, "/")[0] == 501


def exchange(client, request: bytes, seconds: float = 10.0) -> bytes:
    """What comes back for these bytes, until the server closes."""
    with socket.create_connection(client.server.server_address[:2], timeout=seconds) as connection:
        connection.sendall(request)
        parts = []
        with contextlib.suppress(ConnectionError):
            while part := connection.recv(65536):
                parts.append(part)
    return b"".join(parts)


@pytest.mark.parametrize(
    "length", ["9" * 5000, "-1", "1e3", "\u0663".encode().decode("latin-1"), "5 5"]
)
def test_lengths_that_are_none(served, length):
    client, (code, *_) = served
    headers = f"Host: 127.0.0.1\r\nX-Reader: {code}\r\nContent-Length: {length}\r\n\r\n"
    answer = exchange(client, f"POST /api/ratings HTTP/1.1\r\n{headers}".encode("latin-1"))
    assert answer.startswith(b"HTTP/1.1 413 "), answer[:200]


@pytest.mark.parametrize(
    "headers, status",
    [
        ("Host: 127.0.0.1\r\nHost: evil.example", 400),
        ("Host: evil.example\r\nHost: 127.0.0.1", 400),
        ("Host: 127.0.0.1\r\nX-Reader: a\r\nX-Reader: b", 400),
        ("Host: 127.0.0.1\r\nContent-Length: 2\r\nContent-Length: 3", 400),
        ("Host: 127.0.0.1\r\nTransfer-Encoding: chunked", 400),
        ("Host: 127.0.0.1\r\nOrigin: http://evil.example", 403),
        ("Host: 127.0.0.1\r\nOrigin: null", 403),
        ("Host: 127.0.0.1:80\r\nOrigin: http://127.0.0.1", 403),  # another port is another origin
        ("Host: 127.0.0.1:80\r\nOrigin: http://127.0.0.1:80", 200),
        ("", 403),
    ],
)
def test_senders(served, headers, status):
    client = served[0]
    lines = f"{headers}\r\n" if headers else ""
    answer = exchange(client, f"GET / HTTP/1.1\r\n{lines}Connection: close\r\n\r\n".encode())
    assert answer.startswith(f"HTTP/1.1 {status} ".encode()), answer[:200]


def test_a_slow_request_ends_at_its_deadline(study, monkeypatch):
    monkeypatch.setattr("medcodi.turing.server.TIMEOUT", 0.4)
    with serving(study[0]) as client:
        start = time.monotonic()
        with socket.create_connection(client.server.server_address[:2], timeout=10) as connection:
            with contextlib.suppress(OSError):
                for _ in range(100):  # a byte now and then
                    connection.sendall(b"G")
                    time.sleep(0.05)
            assert time.monotonic() - start < 4
        assert client("GET", "/")[0] == 200


def test_many_connections_hold_a_bounded_number_of_threads(study, monkeypatch):
    monkeypatch.setattr("medcodi.turing.server.MAX_CONNECTIONS", 3)
    with serving(study[0]) as client, contextlib.ExitStack() as stack:
        before = threading.active_count()
        for _ in range(12):
            address = client.server.server_address[:2]
            stack.enter_context(socket.create_connection(address, timeout=10)).sendall(b"G")
        time.sleep(0.3)
        assert threading.active_count() - before <= 3
        stack.close()
        for _ in range(100):  # the places come back
            with contextlib.suppress(OSError, http.client.HTTPException):
                if client("GET", "/")[0] == 200:
                    break
            time.sleep(0.02)
        else:
            raise AssertionError("no place came back")


def test_it_listens_on_this_machine_only(study):
    with TuringServer(study[0], port=0) as server:
        assert server.server_address[0] == "127.0.0.1" and server.url.startswith(
            "http://127.0.0.1:"
        )


def test_it_does_not_need_the_truth(study, tmp_path):
    (study[0] / "truth.json").unlink()
    assert len(Study(study[0]).session(study[1][0])["tasks"]) == 5


def test_readers_at_once(client, study):
    codes = study[1]
    keys = [item["id"] for task in session(client, codes[0])["tasks"] for item in task["items"]]
    with ThreadPoolExecutor(8) as pool:
        jobs = [
            pool.submit(client, "POST", "/api/ratings", {"item": key, "score": 1 + i % 5}, code)
            for code in codes
            for i, key in enumerate(keys)
        ]
        assert {job.result()[0] for job in jobs} == {200}
    for code in codes:
        assert session(client, code)["ratings"] == {key: 1 + i % 5 for i, key in enumerate(keys)}


def test_nothing_is_lost_by_a_kill(study):
    """A real server process gets SIGKILL right after its answers; every confirmed rating is
    there."""
    folder, (code, *_) = study
    keys = list(Study(folder).items)
    for start in range(0, 9, 3):
        process, url = start_server(folder)
        with process:
            for key in keys[start : start + 3]:
                body = json.dumps({"item": key, "score": 4}).encode()
                request = urllib.request.Request(f"{url}api/ratings", body, {"X-Reader": code})
                assert json.load(urllib.request.urlopen(request, timeout=10)) == {"saved": True}
            process.send_signal(signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL
        store = RatingStore(folder / "ratings.sqlite")
        assert [rating.item for rating in store.latest()] == sorted(keys[: start + 3])
        store.close()


def test_folders_that_are_no_study(tmp_path):
    with pytest.raises(
        FileNotFoundError,
        match=r"is no study: study.json is missing. Write one with `medcodi turing make`",
    ):
        Study(tmp_path)
    (tmp_path / "study.json").write_text('{"version": 0}')
    with pytest.raises(ValueError, match="has version 0, expected 2"):
        Study(tmp_path)
