"""The most memory that a process held while something ran, as Linux counts it."""

import ctypes
from pathlib import Path
from types import TracebackType

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
KIB_A_GIB = 2**20


class PeakMemory:
    """A context; afterwards `gib` is the peak above what the process held at its start, None where
    the system does not count it."""

    def __enter__(self) -> "PeakMemory":
        self.gib: float | None = None
        try:
            ctypes.CDLL(None).malloc_trim(0)  # what is free already would hide a peak
            CLEAR.write_text("5")  # the peak begins anew
            self._start = _kib("VmRSS")
        except (OSError, AttributeError):
            self._start = None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._start is not None:
            self.gib = max(_kib("VmHWM") - self._start, 0) / KIB_A_GIB


def _kib(name: str) -> int:
    for line in STATUS.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise OSError(f"{STATUS} does not tell {name}")
