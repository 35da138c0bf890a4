"""A command in a process of its own, forked from the test: it can be killed, interrupted and read
as one that a shell started, without importing torch again."""

import logging
import os
import signal
import sys
import time
import traceback
from pathlib import Path

from medcodi.cli import main

TIMEOUT = 240.0  # seconds


class Forked:
    """`medcodi ARGUMENTS`; what it says goes to `log`."""

    def __init__(self, arguments: list[object], log: Path) -> None:
        self.log, self.code, self.process = log, None, os.fork()
        if self.process == 0:
            _run([str(argument) for argument in arguments], log)

    def poll(self) -> int | None:
        """The exit code (a signal is negative), None while it runs."""
        if self.code is None:
            done, status = os.waitpid(self.process, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if done else None
        return self.code

    def wait(self, until=lambda: False) -> int | None:
        """Wait for the end, or until something is so; the exit code."""
        start = time.monotonic()
        while self.poll() is None and not until():
            if time.monotonic() - start > TIMEOUT:
                self.send_signal(signal.SIGKILL)
                raise TimeoutError(self.said())
            time.sleep(0.001)
        return self.code

    def send_signal(self, number: int) -> None:
        os.kill(self.process, number)

    def said(self) -> str:
        return self.log.read_text() if self.log.exists() else ""


def _run(arguments: list[str], log: Path) -> None:
    """In the child: streams, handlers and signals of a fresh process; never returns."""
    code = 1
    try:
        with open(log, "wb") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
        logging.root.handlers.clear()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        main(arguments)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)
