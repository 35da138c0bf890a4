"""The ledger of a run of `medcodi generate`: what is finished stays finished, whatever stops the
run.

    progress_0_of_1.jsonl    one line that says what the run is, then one line a finished study; one
    file a process
    manifest.json            the same as one document, written when every study is there; the ledger
    goes then

A study's files are moved into place before its line is written, so that a line always speaks of
whole files. A line that a kill cut off does not count; its study is made again, under the same
names.
"""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from medcodi.files import sha256, written

MANIFEST, PROGRESS = "manifest.json", "progress_*_of_*.jsonl"
NOT_COMPARED = (
    "created",
    "batch_size",
)  # a run may be continued on another day and with another batch size


def described_files(folder: Path, files: dict[str, str]) -> dict[str, dict[str, str]]:
    """Label -> path below `folder` as label -> {path, sha256}."""
    return {label: {"path": path, "sha256": sha256(folder / path)} for label, path in files.items()}


def check_same_run(found: dict[str, Any], header: dict[str, Any], path: Path) -> None:
    """ValueError with the first difference where `found` (in `path`) and `header` describe
    different runs."""
    for key, value in header.items():
        if key not in NOT_COMPARED and found.get(key) != value:
            raise ValueError(
                f"{path.parent} already holds a {path.name} of another run ({key}: "
                f"{_short(found.get(key))} there, "
                f"{_short(value)} here): choose another folder, or repeat that run's command to "
                "continue it"
            )


def read_manifest(folder: Path, header: dict[str, Any]) -> dict[str, Any] | None:
    """The manifest of a finished run, None where there is none. ValueError where it is of another
    run."""
    path = folder / MANIFEST
    if not path.is_file():
        return None
    manifest = json.loads(path.read_text(encoding="utf-8"))
    check_same_run(manifest, header, path)
    drop_progress(folder)  # left by a kill right after the manifest was written
    return manifest


def drop_progress(folder: Path) -> None:
    for path in folder.glob(PROGRESS):
        path.unlink(missing_ok=True)


class Ledger:
    """`done`: id -> entry of the finished studies of one process, `shard` = (k, n) of the n that
    share a folder.

    The file is made by the first `append`; one that exists is opened and locked at once.
    """

    def __init__(
        self, folder: Path, header: dict[str, Any], shard: tuple[int, int] = (0, 1)
    ) -> None:
        self.folder, self.header = folder, header
        self.path = folder / f"progress_{shard[0]}_of_{shard[1]}.jsonl"
        self.done: dict[str, dict[str, Any]] = {}
        self._file: IO[bytes] | None = None
        for other in sorted(folder.glob(PROGRESS)):
            if not other.name.endswith(f"_of_{shard[1]}.jsonl"):
                raise ValueError(
                    f"{folder} holds {other.name}: continue with the same number of shards"
                )
        if self.path.exists():
            self.open()

    @property
    def is_open(self) -> bool:
        return self._file is not None

    def open(self) -> None:
        """Create or continue the file. ValueError where another process holds it or it is another
        run's."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open(
            "a+b", buffering=0
        )  # a buffer would fail once more when it is closed
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise ValueError(f"another process is writing to {self.path}") from None
        found, length = read_lines(self.path)
        self._file.truncate(length)
        if not found:
            self._write(self.header)
            return
        check_same_run(found[0], self.header, self.path)
        self.header["created"] = found[0]["created"]
        self.done = {entry["id"]: entry for entry in found[1:] if self._is_whole(entry)}

    def append(self, entry: dict[str, Any]) -> None:
        self.done[entry["id"]] = entry
        self._write(entry)

    def _is_whole(self, entry: dict[str, Any]) -> bool:
        return all((self.folder / file["path"]).is_file() for file in entry["files"].values())

    def _write(self, line: dict[str, Any]) -> None:
        left = memoryview(json.dumps(line).encode() + b"\n")
        while left:
            left = left[self._file.write(left) :]

    def everything(self) -> dict[str, dict[str, Any]]:
        """Finished studies of all processes that share the folder."""
        done = dict(self.done)
        for path in sorted(self.folder.glob(PROGRESS)):
            if path != self.path:
                lines, _ = read_lines(path)
                done |= {entry["id"]: entry for entry in lines[1:] if self._is_whole(entry)}
        return done

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Only one of the processes that share the folder is inside."""
        self.folder.mkdir(parents=True, exist_ok=True)  # a shard without studies has not written
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def finish(self, manifest: dict[str, Any]) -> None:
        """Put the manifest in place, then drop the ledger."""
        with written(self.folder / MANIFEST) as temporary:
            temporary.write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        self.close()
        drop_progress(self.folder)


def read_lines(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Whole lines of a ledger and the number of bytes that they fill: a last line that was cut off
    is left out."""
    content = path.read_bytes()
    length = content.rfind(b"\n") + 1
    try:
        return [json.loads(line) for line in content[:length].splitlines()], length
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}; delete the folder and start again") from None


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."
