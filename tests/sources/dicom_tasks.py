"""Tasks for worker processes that misbehave on purpose, or to which it is done."""

import os
import time
from pathlib import Path

from medcodi.sources.archive.options import Record
from medcodi.sources.archive.work import Job


def misbehave(job: Job, path: bytes) -> Record:
    """crash: the process dies; hang: it never answers; anything else: the path as a text."""
    if path.startswith(b"crash"):
        os._exit(7)
    if path.startswith(b"hang"):
        time.sleep(3600)
    return Record("words", text=path.decode())


def linger(job: Job, path: bytes) -> Record:
    """Leaves its process id in a file of the source, NAME.0 the first time, and answers once that
    file is gone."""
    name = path.decode()
    mark = Path(job.source) / f"{name}.{len(list(Path(job.source).glob(f'{name}.*')))}"
    mark.with_suffix(f"{mark.suffix}.part").write_text(str(os.getpid()))
    mark.with_suffix(f"{mark.suffix}.part").rename(mark)
    while mark.exists():
        time.sleep(0.01)
    return Record("words", text=name)


def large(job: Job, path: bytes) -> Record:
    """An answer that does not fit into a pipe at once."""
    return Record("words", text=path.decode() * 1_000_000)


class DeadOnArrival:
    """A task that ends the process which unpickles it."""

    __module__ = __name__

    def __reduce__(self):
        return os._exit, (3,)
