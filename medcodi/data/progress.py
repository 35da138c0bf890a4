"""Progress of a long run over files: a rich bar with ETA on a terminal, a line now and then
elsewhere."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

logger = logging.getLogger(__name__)
Item = TypeVar("Item")
SECONDS_BETWEEN_LINES = 30.0


def tracked(items: Iterable[Item], total: int, label: str) -> Iterator[Item]:
    """`items` one by one, showing how many of `total` are done and the time that is left."""
    if not sys.stderr.isatty():
        yield from _logged(items, total, label)
        return
    with progress_bar(console=Console(stderr=True)) as bar:
        yield from bar.track(items, total=total, description=label)


def progress_bar(*more: ProgressColumn, console: Console | None = None) -> Progress:
    """Label, bar, done of all, time so far and left, then the columns `more`."""
    return Progress(
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        *more,
        console=console,
    )


def _logged(items: Iterable[Item], total: int, label: str) -> Iterator[Item]:
    start = last = time.monotonic()
    for number, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - last > SECONDS_BETWEEN_LINES:
            left = (total - number) * (now - start) / number
            logger.info(
                "%s %d/%d, %.1f a second, %.0f s left",
                label,
                number,
                total,
                number / (now - start),
                left,
            )
            last = now
