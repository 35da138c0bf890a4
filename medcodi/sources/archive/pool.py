"""Worker processes with a time limit for each file. Each has a pipe of its own and one file in
hand, and nothing is shared between them: whatever ends a worker, at whatever moment, costs at most
the file in its hand.

The pools of known libraries share a queue or a lock between their workers: one that is killed from
outside while it holds it (as the kernel does for want of memory) breaks or hangs the others.
"""

import contextlib
import math
import multiprocessing
import signal
import sys
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import connection
from time import monotonic
from typing import Any

from medcodi.sources.archive.options import Record
from medcodi.sources.archive.work import Job, read_one, start_worker

TASKS_PER_WORKER = 2000  # then it is replaced, so that a leaking decoder cannot grow without end
START_SECONDS, MAX_FAILED_STARTS = 300.0, 10
END_SECONDS = 10.0
READY = "ready"

Task = Callable[[Job, bytes], Record]


def read_all(
    job: Job, paths: Iterable[bytes], num_workers: int, task: Task = read_one
) -> Iterator[tuple[bytes, Record]]:
    """(path, Record) of every path, as they become ready. `task(job, path)` runs in one of
    `num_workers` processes.

    A file whose worker ends is tried once more when all others are done. Raises RuntimeError where
    no worker can be started.
    """
    pool = Pool(job, iter(paths), num_workers, task)
    try:
        yield from pool.run()
    finally:
        pool.end()


def serve(pipe: connection.Connection, task: Task, max_memory_gib: float) -> None:
    """What a worker does: a file in, its Record out, until the run closes the pipe or is gone."""
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # an interrupt is the run's, which then ends its workers
    start_worker(max_memory_gib)
    with contextlib.suppress(EOFError, OSError):
        pipe.send(READY)
        while True:
            pipe.send(task(*pipe.recv()))


@contextlib.contextmanager
def without_main() -> Iterator[None]:
    """Processes that are started in here do not run the main script again, with all that it
    imports: tasks are functions of modules."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


class Worker:
    """A process with the file in its hand: `path`, None while it waits. `ready`: it has begun;
    `deadline` [s, monotonic]."""

    def __init__(self, context: Any, task: Task, options: Any) -> None:
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(
            target=serve, args=(theirs, task, options.max_memory_gib), daemon=True
        )
        self.timeout, self.deadline = options.timeout, monotonic() + START_SECONDS
        self.path: bytes | None = None
        self.ready, self.num_done = False, 0
        # what comes of it shows in the pipe
        with theirs, without_main(), contextlib.suppress(EOFError, OSError):
            self.process.start()

    def give(self, job: Job, path: bytes) -> None:
        self.path = path
        if self.ready:
            self.deadline = monotonic() + self.timeout
        with contextlib.suppress(OSError):  # gone: its pipe says so when it is read
            self.pipe.send((job.for_file(path), path))

    def begin(self) -> None:
        self.ready, self.deadline = (
            True,
            math.inf if self.path is None else monotonic() + self.timeout,
        )

    def take(self) -> bytes:
        """The path of the file that is done."""
        path, self.path, self.deadline = self.path, None, math.inf
        self.num_done += 1
        return path

    def end(self, kill: bool = False) -> int | None:
        """Exit code, None where there never was a process."""
        self.pipe.close()
        if self.process.pid is None:  # it could not be started
            return None
        if kill:
            self.process.kill()
        self.process.join(END_SECONDS)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        return self.process.exitcode


class Pool:
    def __init__(self, job: Job, paths: Iterator[bytes], num_workers: int, task: Task) -> None:
        self.job, self.paths, self.num_workers, self.task = job, paths, num_workers, task
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload([__name__, task.__module__])
        self.workers: list[Worker] = []
        self.again: deque[bytes] = deque()  # files whose worker ended
        self.tried: set[bytes] = set()  # those of them that did not end it for want of a start
        self.failed_starts = 0

    def run(self) -> Iterator[tuple[bytes, Record]]:
        self.hand_out()
        while any(worker.path is not None for worker in self.workers):
            pipes = {worker.pipe: worker for worker in self.workers}
            left = min(worker.deadline for worker in self.workers) - monotonic()
            for pipe in connection.wait(list(pipes), None if left == math.inf else max(0.0, left)):
                yield from self.hear(pipes[pipe])
            for worker in [
                one for one in self.workers if one.deadline <= monotonic() and not one.pipe.poll()
            ]:
                yield from self.give_up(worker)
            self.hand_out()

    def hand_out(self) -> None:
        """A file to every worker that waits and to as many new ones as there may be, while there
        are files."""
        while True:
            worker = next((one for one in self.workers if one.path is None), None)
            if worker is None and len(self.workers) == self.num_workers:
                return
            path = next(self.paths, None) or (self.again.popleft() if self.again else None)
            if path is None:
                return
            if worker is None:
                worker = Worker(self.context, self.task, self.job.options)
                self.workers.append(worker)
            worker.give(self.job, path)

    def hear(self, worker: Worker) -> Iterator[tuple[bytes, Record]]:
        """What the worker sent; it gets its next file before this one's Record is dealt with."""
        try:
            record = worker.pipe.recv()
        except (EOFError, OSError):
            yield from self.lost(worker)
            return
        if record == READY:
            worker.begin()
            self.failed_starts = 0
            return
        path = worker.take()
        if worker.num_done == TASKS_PER_WORKER:
            self.workers.remove(worker)
            worker.end()
        self.hand_out()
        yield path, record

    def lost(self, worker: Worker, kill: bool = False) -> Iterator[tuple[bytes, Record]]:
        """The worker ended by itself or was killed: the file in its hand is tried once more."""
        self.workers.remove(worker)
        code = worker.end(kill)
        if not worker.ready:
            self.failed_starts += 1
            if self.failed_starts == MAX_FAILED_STARTS:
                raise RuntimeError(
                    f"{MAX_FAILED_STARTS} worker processes ended before they began, the last one "
                    f"with exit code {code}. "
                    "What is finished is safe; repeat the command to go on"
                )
        if worker.path is None:
            return
        if worker.path in self.tried:
            killed = code == -signal.SIGKILL
            reason = (
                "its worker process was killed twice, as for want of memory"
                if killed
                else "a decoder crashed"
            )
            yield worker.path, Record.rejected(reason, f"exit code {code}", retry=True)
            return
        if worker.ready:
            self.tried.add(worker.path)
        self.again.append(worker.path)

    def give_up(self, worker: Worker) -> Iterator[tuple[bytes, Record]]:
        """The worker took too long: over one file, or to begin."""
        if not worker.ready:
            yield from self.lost(worker, kill=True)
            return
        self.workers.remove(worker)
        worker.end(kill=True)
        yield worker.path, Record.rejected(f"not done after {worker.timeout:g} s", retry=True)

    def end(self) -> None:
        """Workers with a file in hand are killed, the others end with their pipe."""
        for worker in self.workers:
            if worker.path is not None and worker.process.pid is not None:
                worker.process.kill()
            worker.pipe.close()
        for worker in self.workers:
            worker.end()
