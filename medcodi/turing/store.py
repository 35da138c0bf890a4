"""Readers and ratings in SQLite: write-ahead log, one durable transaction a rating. Ratings are
never overwritten; the last one of a reader for an item counts."""

import datetime
import sqlite3
import threading
from pathlib import Path
from typing import NamedTuple

SCHEMA = """
CREATE TABLE readers (code TEXT PRIMARY KEY, order_seed INTEGER NOT NULL) STRICT;
CREATE TABLE ratings (
    id INTEGER PRIMARY KEY,
    reader TEXT NOT NULL REFERENCES readers (code),
    item TEXT NOT NULL,
    score INTEGER NOT NULL CHECK (score >= 1),
    seconds REAL CHECK (seconds >= 0),
    rated_at TEXT NOT NULL
) STRICT;
CREATE INDEX ratings_of_reader ON ratings (reader, item, id);
"""
LATEST = """
SELECT reader, item, score, seconds, rated_at FROM ratings
WHERE id IN (SELECT max(id) FROM ratings GROUP BY reader, item) ORDER BY reader, item
"""


class Rating(NamedTuple):
    """`score` 1, 2, ...: the answer's place in the labels of the arm; `seconds` that the reader
    looked at the item, None where the page did not say."""

    reader: str
    item: str
    score: int
    seconds: float | None
    rated_at: str


class RatingStore:
    """One connection, shared by the threads of the server. `num_scores` makes a new file, whose
    scores are 1 to that; it stands in SQLite's `user_version`. FileNotFoundError for a file that is
    not there."""

    def __init__(self, path: Path, num_scores: int | None = None) -> None:
        if not num_scores and not path.is_file():
            raise FileNotFoundError(
                f"{path} does not exist: write a study with `medcodi turing make`"
            )
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, timeout=30
        )
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            self._connection.execute(f"PRAGMA {pragma}")
        if num_scores:
            self._connection.executescript(SCHEMA)
            self._connection.execute(f"PRAGMA user_version = {int(num_scores)}")
        (self.num_scores,) = self._connection.execute("PRAGMA user_version").fetchone()

    def add_reader(self, code: str, order_seed: int) -> None:
        with self._lock:
            self._connection.execute("INSERT INTO readers VALUES (?, ?)", (code, order_seed))

    def readers(self) -> dict[str, int]:
        """code -> seed of the reader's order of items."""
        with self._lock:
            return dict(
                self._connection.execute(
                    "SELECT code, order_seed FROM readers ORDER BY rowid"
                ).fetchall()
            )

    def rate(self, reader: str, item: str, score: int, seconds: float | None = None) -> None:
        """Returns when the rating is on disk. ValueError for a score that the arm does not have."""
        if type(score) is not int or not 1 <= score <= self.num_scores:
            raise ValueError(f"a score is a whole number of 1 to {self.num_scores}, got {score!r}")
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        with self._lock:
            self._connection.execute(
                "INSERT INTO ratings (reader, item, score, seconds, rated_at) VALUES (?, ?, ?, ?, "
                "?)",
                (reader, item, score, seconds, now),
            )

    def latest(self) -> list[Rating]:
        """The rating that counts, for each reader and item that has one."""
        with self._lock:
            return [Rating(*row) for row in self._connection.execute(LATEST)]

    def close(self) -> None:
        with self._lock:
            self._connection.close()
