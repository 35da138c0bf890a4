"""Progress of a run: a bar with the time left on a terminal, lines with it elsewhere."""

import io
import logging
import re
import sys

from medcodi.data import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_bar_with_the_time_left(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    assert list(progress.tracked(iter("abc"), 3, "files")) == ["a", "b", "c"]
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", sys.stderr.getvalue())
    assert re.search(r"files .*3/3 .*left 0:00:00", shown)


def test_a_log_gets_lines_with_the_time_left(monkeypatch, caplog):
    clock = iter(range(0, 400, 20))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with caplog.at_level(logging.INFO):
        assert list(progress.tracked(iter("abcdef"), 6, "files")) == list("abcdef")
    assert caplog.messages == [
        f"files {done}/6, 0.1 a second, {left} s left" for done, left in ((2, 80), (4, 40), (6, 0))
    ]
