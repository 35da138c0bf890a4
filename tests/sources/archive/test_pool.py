"""Workers that hang, die or are killed: nothing stops the run, each file has its one answer."""

import multiprocessing
import os
import random
import signal
import threading
import time
from pathlib import Path

import pytest

from medcodi.sources.archive.options import DicomOptions
from medcodi.sources.archive.pool import MAX_FAILED_STARTS, read_all
from medcodi.sources.archive.work import Job
from tests.sources.dicom_tasks import DeadOnArrival, large, linger, misbehave


def job(source: Path, timeout: float = 100.0) -> Job:
    return Job(str(source), DicomOptions("a", "b", "c", timeout=timeout), b"k" * 16)


def test_a_worker_that_hangs_or_dies_costs_its_file_only(tmp_path):
    paths = [
        b"0",
        b"crash 1",
        b"1",
        b"hang",
        b"2",
        b"crash 2",
        *(f"{n}".encode() for n in range(3, 20)),
    ]
    answers = dict(read_all(job(tmp_path, 3.0), paths, 2, misbehave))
    assert set(answers) == set(paths)
    assert answers[b"crash 1"].reason == answers[b"crash 2"].reason == "a decoder crashed"
    assert answers[b"crash 1"].detail == "exit code 7" and answers[b"crash 1"].flags == ["retry"]
    assert answers[b"hang"].reason == "not done after 3 s"
    assert all(answers[f"{n}".encode()].text == str(n) for n in range(20))


def in_hand(mark: Path) -> int:
    """Process id of the worker that has the file of `mark` (see `linger`), once it has."""
    while not mark.exists():
        time.sleep(0.01)
    return int(mark.read_text())


def test_a_worker_that_is_killed_from_outside(tmp_path):
    """With SIGKILL, as by the kernel for want of memory: its file is tried once more at the end,
    then it is listed."""

    def kill() -> None:
        for name in ("once.0", "twice.0", "last.0", "once.1", "twice.1"):
            process = in_hand(tmp_path / name)
            if name in ("last.0", "once.1"):
                (tmp_path / name).unlink()
            else:
                os.kill(process, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    answers = list(read_all(job(tmp_path), [b"once", b"twice", b"last"], 1, linger))
    killer.join()
    assert [path for path, _ in answers] == [b"last", b"once", b"twice"]
    assert [record.text for _, record in answers] == ["last", "once", ""]
    assert answers[-1][1].reason == "its worker process was killed twice, as for want of memory"
    assert (answers[-1][1].detail, answers[-1][1].flags) == ("exit code -9", ["retry"])


def test_a_worker_that_is_killed_while_it_waits(tmp_path):
    idle: list[int] = []

    def let_go() -> None:
        idle.append(in_hand(tmp_path / "first.0"))
        in_hand(tmp_path / "second.0")
        (tmp_path / "first.0").unlink()

    helper = threading.Thread(target=let_go)
    helper.start()
    answers = read_all(job(tmp_path), [b"first", b"second"], 2, linger)
    assert next(answers)[1].text == "first"
    helper.join()
    os.kill(idle[0], signal.SIGKILL)
    (tmp_path / "second.0").unlink()
    assert [record.text for _, record in answers] == ["second"]


def test_kills_at_any_moment(tmp_path):
    """Also of workers that start, wait, or are in the middle of an answer."""
    paths, stop, rng = [f"{n}".encode() for n in range(60)], threading.Event(), random.Random(0)

    def kill() -> None:
        for _ in range(MAX_FAILED_STARTS - 1):
            stop.wait(0.02)
            for worker in rng.sample(
                found := multiprocessing.active_children(), min(1, len(found))
            ):
                worker.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    answers = list(read_all(job(tmp_path), paths, 3, large))
    stop.set()
    killer.join()
    assert sorted(path for path, _ in answers) == sorted(paths)
    assert all(
        record.kind == "rejected" or record.text == path.decode() * 1_000_000
        for path, record in answers
    )
    assert sum(record.kind == "rejected" for _, record in answers) <= MAX_FAILED_STARTS // 2
    assert not multiprocessing.active_children()


def test_workers_that_cannot_start_are_an_error_not_a_hang(tmp_path):
    with pytest.raises(
        RuntimeError,
        match="10 worker processes ended before they began, the last one with exit code 3",
    ):
        list(read_all(job(tmp_path), [b"1", b"2"], 2, DeadOnArrival()))


def test_a_run_that_is_given_up_leaves_no_worker(tmp_path):
    answers = read_all(job(tmp_path), [b"1", b"hang"], 2, misbehave)
    assert next(answers)[0] == b"1"
    answers.close()
    assert not multiprocessing.active_children()
