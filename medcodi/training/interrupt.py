"""Ctrl-C and SIGTERM while a stage trains."""

import contextlib
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


class TrainingInterrupted(KeyboardInterrupt):
    """SIGINT or SIGTERM: the state was saved, rerun the same command to go on."""


@dataclass
class Stop:
    """`asked`: whether a signal has come."""

    asked: bool = False


@contextlib.contextmanager
def graceful_stop() -> Iterator[Stop]:
    """Inside, Ctrl-C and SIGTERM only ask for a stop: the loop saves and leaves after the step in
    flight. A second Ctrl-C is a KeyboardInterrupt."""
    stop = Stop()
    previous = {}

    def handle(number: int, frame: Any) -> None:
        if stop.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.asked = True

    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            previous[number] = signal.signal(number, handle)
    except ValueError:  # not in the main thread: the caller's handlers stay
        pass
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
