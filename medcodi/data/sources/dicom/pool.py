"""Worker processes with a time limit for each file; a file that hangs or kills its worker costs itself only."""

import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, TimeoutError, wait
from itertools import islice

from pebble import ProcessExpired, ProcessPool

from medcodi.data.sources.dicom.options import Record
from medcodi.data.sources.dicom.work import Job, read_one, start_worker

WAITING = 3  # files a worker has in hand or in the queue: bounds what a kill loses, and the memory
TASKS_PER_WORKER = 2000  # then it is replaced, so that a leaking decoder cannot grow without end


def read_all(
    job: Job, paths: Iterable[bytes], num_workers: int, task: Callable[[Job, bytes], Record] = read_one
) -> Iterator[tuple[bytes, Record]]:
    """(path, Record) of every path, as they become ready. `task(job, path)` runs in one of `num_workers` processes."""
    paths = iter(paths)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([start_worker.__module__, task.__module__])
    options = job.options
    pool = ProcessPool(num_workers, TASKS_PER_WORKER, start_worker, [options.max_memory_gib], context)
    running = {}
    try:
        while True:
            for path in islice(paths, num_workers * WAITING - len(running)):
                running[pool.schedule(task, args=[job.for_file(path), path], timeout=options.timeout)] = path
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(future), _result(future, options.timeout)
    finally:
        pool.stop() if running else pool.close()
        pool.join()


def _result(future: Future, timeout: float) -> Record:
    try:
        return future.result()
    except TimeoutError:
        return Record.rejected(f"not done after {timeout:g} s", retry=True)
    except ProcessExpired as error:
        return Record.rejected("a decoder crashed", f"exit code {error.exitcode}", retry=True)
