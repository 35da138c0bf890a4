"""`medcodi serve turing`: the page, its items and one reader's ratings, over HTTP on this machine.

    GET  /, /page.css, /page.js     the page
    GET  /items/NAME.png            an image of the study
    GET  /api/session               tasks, items in the reader's own order, the reader's ratings
    POST /api/ratings               {"item", "score", "seconds"} -> {"saved": true}, when it is on
    disk

The two API calls name the reader in the header X-Reader. Paths are looked up in a table that is
made at the start, never in the file system; the server does not open truth.json.
"""

import io
import json
import logging
import random
import re
import socket
import sqlite3
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path
from typing import Any

from medcodi.turing.store import RatingStore
from medcodi.turing.tasks import CHOICE, TASKS, arm_of

STUDY, ITEMS, RATINGS, VERSION = "study.json", "items", "ratings.sqlite", 2
PAGE = {
    "/": ("page.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
}
IMAGE_NAME = re.compile(r"[0-9a-f]{16}_\d\.png")
LOOPBACK = ("127.0.0.1", "localhost")
MAX_BODY, TIMEOUT, MAX_CONNECTIONS = 4096, 30, 32  # bytes, seconds for a request, at once
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src "
    "'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}

logger = logging.getLogger(__name__)


class RequestError(Exception):
    """Answered with `status` and the message."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class Study:
    """What the server knows of a study folder. FileNotFoundError, ValueError for no study."""

    def __init__(self, folder: Path) -> None:
        path = folder / STUDY
        if not path.is_file():
            raise FileNotFoundError(
                f"{folder} is no study: {STUDY} is missing. Write one with `medcodi turing make`"
            )
        described = json.loads(path.read_text(encoding="utf-8"))
        if described.get("version") != VERSION:
            raise ValueError(
                f"{path} has version {described.get('version')}, expected {VERSION}: make the "
                "study again"
            )
        self.arm = arm_of(described["arm"])
        self.items: dict[str, Any] = described["items"]
        names = [
            part["image"]
            for item in self.items.values()
            for part in item["parts"]
            if "image" in part
        ]
        wrong = [name for name in names if not IMAGE_NAME.fullmatch(name)]
        if wrong:
            raise ValueError(f"{path} names the image {wrong[0]!r}, which no study has")
        self.images = {f"/{ITEMS}/{name}": folder / ITEMS / name for name in names}
        self.store = RatingStore(folder / RATINGS)

    def session(self, reader: str) -> dict[str, Any]:
        """All that the page shows to a reader. RequestError (403) for a code that the study does
        not have."""
        order_seed = self._order_seed(reader)
        tasks = []
        for task in TASKS:
            keys = [key for key, item in self.items.items() if item["task"] == task.key]
            random.Random(f"{order_seed}/{task.key}").shuffle(keys)
            items = [{"id": key, "parts": self.items[key]["parts"]} for key in keys]
            told = {
                "key": task.key,
                "title": task.title,
                "question": task.choice if self.arm is CHOICE else task.question,
                "low": self.arm.low or task.low,
                "high": self.arm.high or task.high,
            }
            tasks.append({**told, "items": items})
        ratings = {
            rating.item: rating.score for rating in self.store.latest() if rating.reader == reader
        }
        labels = list(self.arm.labels)
        return {"reader": reader, "labels": labels, "tasks": tasks, "ratings": ratings}

    def rate(self, reader: str, told: Any) -> None:
        self._order_seed(reader)
        if (
            not isinstance(told, dict)
            or not isinstance(told.get("item"), str)
            or told["item"] not in self.items
        ):
            raise RequestError(HTTPStatus.BAD_REQUEST, "expected the item of a rating")
        seconds = told.get("seconds")
        if seconds is not None and (type(seconds) not in (int, float) or not 0 <= seconds < 1e7):
            raise RequestError(HTTPStatus.BAD_REQUEST, "seconds must be a number")
        try:
            self.store.rate(reader, told["item"], told.get("score"), seconds)
        except ValueError as error:
            raise RequestError(HTTPStatus.BAD_REQUEST, str(error)) from None
        except sqlite3.Error as error:
            raise RequestError(
                HTTPStatus.INSUFFICIENT_STORAGE, f"the rating was not saved: {error}"
            ) from None

    def _order_seed(self, reader: str) -> int:
        readers = self.store.readers()
        if reader not in readers:
            raise RequestError(HTTPStatus.FORBIDDEN, "this study does not know that reader code")
        return readers[reader]


class DeadlineReader(io.RawIOBase):
    """Bytes of a socket until `deadline` [s, monotonic]. Raises TimeoutError behind it."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection, self.deadline = connection, time.monotonic() + TIMEOUT

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the request took too long")
        self.connection.settimeout(left)
        return self.connection.recv_into(buffer)


class Handler(BaseHTTPRequestHandler):
    """One connection. Its reads end at a common deadline for each request, however slowly bytes
    come, and at once where nothing comes."""

    server: "TuringServer"
    protocol_version, timeout = "HTTP/1.1", TIMEOUT

    def setup(self) -> None:
        super().setup()
        self.rfile = io.BufferedReader(DeadlineReader(self.connection))

    def handle_one_request(self) -> None:
        self.rfile.raw.deadline = time.monotonic() + TIMEOUT
        try:
            super().handle_one_request()
        except OSError:  # gone, or too slow
            self.close_connection = True

    def version_string(self) -> str:
        return "medcodi"

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def _get(self) -> tuple[str, bytes]:
        if self.path in PAGE:
            name, media_type = PAGE[self.path]
            return media_type, resources.files(__package__).joinpath(name).read_bytes()
        if self.path in self.server.study.images:
            return "image/png", self.server.study.images[self.path].read_bytes()
        if self.path == "/api/session":
            return _json(self.server.study.session(self._reader()))
        raise RequestError(HTTPStatus.NOT_FOUND, "there is no such page")

    def _post(self) -> tuple[str, bytes]:
        length = self.headers.get("Content-Length", "")
        # digits are counted first: Python refuses to convert thousands of them
        fits = length.isascii() and length.isdecimal() and len(length) <= len(str(MAX_BODY))
        if not fits or int(length) > MAX_BODY:
            raise RequestError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"expected a body of at most {MAX_BODY} bytes"
            )
        body = self.rfile.read(int(length))
        if self.path != "/api/ratings":
            raise RequestError(HTTPStatus.NOT_FOUND, "there is no such page")
        try:
            told = json.loads(body)
        except (ValueError, RecursionError):
            raise RequestError(HTTPStatus.BAD_REQUEST, "expected JSON") from None
        self.server.study.rate(self._reader(), told)
        return _json({"saved": True})

    def _reader(self) -> str:
        return self.headers.get("X-Reader", "").strip().upper()

    def _check_sender(self) -> None:
        """RequestError for a name that rebinds to this machine (DNS rebinding), for a page of
        another origin, and for headers that stand twice, of which proxies take different ones."""
        for name in ("Host", "Origin", "Content-Length", "X-Reader", "Transfer-Encoding"):
            if len(self.headers.get_all(name, [])) > 1:
                raise RequestError(HTTPStatus.BAD_REQUEST, f"the header {name} stands twice")
        if self.headers.get("Transfer-Encoding"):
            raise RequestError(HTTPStatus.BAD_REQUEST, "expected a body with Content-Length")
        host = self.headers.get("Host", "")
        if self.server.hosts and host.rsplit(":", 1)[0] not in self.server.hosts:
            raise RequestError(HTTPStatus.FORBIDDEN, "this page is served to this machine only")
        origin = self.headers.get("Origin")
        if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
            raise RequestError(HTTPStatus.FORBIDDEN, "a page of another origin asks")

    def _answer(self, work: Any) -> None:
        """`work()` -> media type and body."""
        status = HTTPStatus.OK
        try:
            self._check_sender()
            media_type, body = work()
        except RequestError as error:
            status, self.close_connection = error.status, True
            media_type, body = _json({"error": str(error)})
        self.connection.settimeout(TIMEOUT)
        self.send_response(status)
        self.send_header(
            "Content-Type",
            f"{media_type}; charset=utf-8" if media_type != "image/png" else media_type,
        )
        self.send_header("Content-Length", str(len(body)))
        for name, value in HEADERS.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        logger.debug("%s", format % args)


class TuringServer(ThreadingHTTPServer):
    """Serves `study` at `url`; on a loopback address it answers to loopback names only. OSError for
    a port in use."""

    daemon_threads = True

    def __init__(self, folder: Path, host: str = "127.0.0.1", port: int = 8765) -> None:
        self.study = Study(folder)
        self.hosts = LOOPBACK if host in LOOPBACK else ()
        self.places = threading.BoundedSemaphore(MAX_CONNECTIONS)
        super().__init__((host, port), Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """A thread for the connection; one beyond MAX_CONNECTIONS is closed unheard."""
        if not self.places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.places.release()

    @property
    def url(self) -> str:
        return f"http://{self.server_address[0]}:{self.server_address[1]}/"


def _json(told: Any) -> tuple[str, bytes]:
    return "application/json", json.dumps(told).encode()
