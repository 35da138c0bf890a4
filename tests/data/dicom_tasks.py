"""Tasks for worker processes that misbehave on purpose."""

import os
import time

from medcodi.data.sources.dicom.options import Record
from medcodi.data.sources.dicom.work import Job


def misbehave(job: Job, path: bytes) -> Record:
    """crash: the process dies; hang: it never answers; anything else: the path as a text."""
    if path.startswith(b"crash"):
        os._exit(7)
    if path.startswith(b"hang"):
        time.sleep(3600)
    return Record("words", text=path.decode())
