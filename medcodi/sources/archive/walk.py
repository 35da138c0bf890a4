"""The files of a folder tree. Symbolic links are not followed, so that no loop and no way out of
the tree exists."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace


@dataclass(slots=True)
class Found:
    """A directory entry: `path` is relative to the source, as bytes; `refused` says why it is not
    opened."""

    path: bytes
    size: int
    mtime: int
    refused: str = ""

    def refuse(self, reason: str) -> "Found":
        """The same, with `reason` unless it has one."""
        return replace(self, refused=self.refused or reason)


def walk(source: str | os.PathLike[str]) -> Iterator[Found]:
    """Every entry below `source` that is no folder, in the order of its path; folders that cannot
    be listed are refused."""
    root = os.fsencode(source)
    pending = [b""]
    while pending:
        folder = pending.pop()
        try:
            with os.scandir(os.path.join(root, folder)) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            yield Found(folder, 0, 0, f"the folder cannot be listed: {error.strerror}")
            continue
        below = []
        for entry in listed:
            path = os.path.join(folder, entry.name)
            if not entry.is_symlink() and entry.is_dir(follow_symlinks=False):
                below.append(path)
            else:
                yield _look(path, entry)
        pending.extend(reversed(below))


def _look(path: bytes, entry: "os.DirEntry[bytes]") -> Found:
    try:
        status = entry.stat(follow_symlinks=False)
    except OSError as error:
        return Found(path, 0, 0, f"the file cannot be looked at: {error.strerror}")
    found = Found(path, status.st_size, status.st_mtime_ns)
    if stat.S_ISLNK(status.st_mode):
        found.refused = "a symbolic link is not followed"
    elif not stat.S_ISREG(status.st_mode):
        found.refused = "not a regular file"
    return found
