"""What is done already: one SQLite file in the private folder. Every finished file is a row at
once, so that a kill loses the files in flight only, and a rerun opens new and changed files only.
"""

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

from medcodi.sources.archive.options import RETRY, Record
from medcodi.sources.archive.walk import Found

TABLES = """
create table if not exists meta (name text primary key, value text);
create table if not exists files (path blob primary key, size int, mtime int, kind text, study text,
                                  aspect real, record text, png blob);
create index if not exists by_study on files (study, path);
drop table if exists found;
create table found (path blob primary key, size int, mtime int, refused text);
"""
FILE, BATCH = "state.sqlite", 1000


class State:
    """The rows of one private folder; rows that were made with another `fingerprint` are dropped.
    Use `opened`, which closes it and names the file in errors."""

    def __init__(self, folder: Path, fingerprint: str) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._db = sqlite3.connect(folder / FILE, isolation_level=None)
        self._db.execute("pragma journal_mode = wal")
        self._db.execute("pragma synchronous = normal")
        self._db.executescript(TABLES)
        self.restarted = self.get("fingerprint") not in (None, fingerprint)
        if self.restarted:
            self._db.execute("delete from files")
            self.set("written", "")
        self.set("fingerprint", fingerprint)

    @classmethod
    @contextlib.contextmanager
    def opened(cls, folder: Path, fingerprint: str) -> Iterator["State"]:
        """The state of `folder`. Raises OSError where its file cannot be read or written."""
        try:
            state = cls(folder, fingerprint)
            with contextlib.closing(state._db):
                yield state
        except sqlite3.Error as error:
            told = f"{folder / FILE}: {error}"
            if isinstance(error, sqlite3.DatabaseError) and "not a database" in str(error):
                told += ". Remove it, and every file is read again"
            raise OSError(told) from error

    def get(self, name: str) -> str | None:
        row = self._db.execute("select value from meta where name = ?", [name]).fetchone()
        return row and row[0]

    def set(self, name: str, value: str) -> None:
        self._db.execute("insert or replace into meta values (?, ?)", [name, value])

    def see(self, entries: Iterable[Found]) -> int:
        """Note what the tree holds now; rows of files that are gone or changed are dropped. Returns
        the number found."""
        self._db.execute("begin")
        for entry in entries:
            self._db.execute(
                "insert into found values (?, ?, ?, ?)",
                [entry.path, entry.size, entry.mtime, entry.refused],
            )
        self._db.execute("delete from files where json_extract(record, '$.flags[0]') = ?", [RETRY])
        same = "found.path = files.path and found.size = files.size and found.mtime = files.mtime"
        self._db.execute(f"delete from files where not exists (select 1 from found where {same})")
        if self._db.execute("select changes()").fetchone()[0] or self._any_new():
            self.set("written", "")  # the owner of a text may be another one now
            self._db.execute(
                "delete from files where lower(substr(cast(path as text), -4)) = '.txt'"
            )
        self._db.execute("commit")
        for path, reason in self._in_batches("select path, refused from found where refused != ''"):
            self.add(path, Record.rejected(reason))
        return self._db.execute("select count(*) from found").fetchone()[0]

    def _any_new(self) -> bool:
        query = (
            "select exists (select 1 from found left join files using (path) where files.path "
            "is null)"
        )
        return bool(self._db.execute(query).fetchone()[0])

    def _in_batches(self, query: str, **values: object) -> Iterator[tuple]:
        """Rows of `query`, whose first column is found.path, without a cursor that stays open
        between them."""
        last: bytes = b""
        query = f"{query} and found.path > :last order by found.path limit {BATCH}"
        while rows := self._db.execute(query, {**values, "last": last}).fetchall():
            yield from rows
            last = rows[-1][0]

    def pending(self, aspect: float) -> tuple[int, Iterator[bytes]]:
        """(number, paths) of the files that are not done: never read, or an image made for another
        common aspect."""
        query = """from found left join files using (path) where refused = ''
                   and (files.path is null or (kind = 'picture' and aspect != :aspect))"""
        number = self._db.execute(f"select count(*) {query}", {"aspect": aspect}).fetchone()[0]
        return number, (
            path for (path,) in self._in_batches(f"select found.path {query}", aspect=aspect)
        )

    def add(self, path: bytes, record: Record, aspect: float = 1.0) -> None:
        """A finished file."""
        row = self._db.execute(
            "select size, mtime from found where path = ?", [path]
        ).fetchone() or (0, 0)
        values = [path, *row, record.kind, record.study, aspect, record.to_json(), record.png]
        self._db.execute("insert or replace into files values (?, ?, ?, ?, ?, ?, ?, ?)", values)

    def rejected(self) -> Iterator[tuple[bytes, Record]]:
        for path, text in self._db.execute(
            "select path, record from files where kind = 'rejected' order by path"
        ):
            yield path, Record.from_json(text, b"")

    def views(self) -> list[tuple[str, str, str, int]]:
        """(what was said of the view, the view it was taken for, its projection, number of files)
        of all files whose view was looked at."""
        query = """select json_extract(record, '$.said'), json_extract(record, '$.view'),
                   json_extract(record, '$.projection'), count(*) from files
                   where json_extract(record, '$.said') != '' group by 1, 2, 3 order by 4 desc, 1"""
        return self._db.execute(query).fetchall()

    def repeated(self) -> frozenset[str]:
        """Hashes of the SOPInstanceUIDs that files of more than one study have."""
        query = """select json_extract(record, '$.instance') from files where study != '' group by 1
                   having count(distinct study) > 1"""
        return frozenset(instance for (instance,) in self._db.execute(query) if instance)

    def spacings(self) -> dict[tuple[float, float] | None, int]:
        """How many accepted images have each spacing."""
        counts: dict[tuple[float, float] | None, int] = {}
        query = (
            "select json_extract(record, '$.spacing'), count(*) from files where kind = "
            "'picture' group by 1"
        )
        for text, number in self._db.execute(query):
            counts[
                None if text is None else tuple(float(x) for x in text.strip("[]").split(","))
            ] = number
        return counts

    def studies(self) -> Iterator[tuple[str, list[tuple[bytes, Record]]]]:
        """(study, its files), one study in memory at a time, without its images (see `png`)."""
        query = "select study, path, record from files where study != '' order by study, path"
        for study, rows in groupby(self._db.execute(query), key=lambda row: row[0]):
            yield study, [(path, Record.from_json(text, b"")) for _, path, text in rows]

    def files(self, study: str) -> list[tuple[bytes, Record]]:
        """The files of one study."""
        rows = self._db.execute(
            "select path, record from files where study = ? order by path", [study]
        )
        return [(path, Record.from_json(text, b"")) for path, text in rows]

    def png(self, path: bytes) -> bytes:
        return self._db.execute("select png from files where path = ?", [path]).fetchone()[0]
