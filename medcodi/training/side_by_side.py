"""Independent trainings side by side, in worker processes.

The small networks of a quickstart do not keep two cores busy: two trainings of one thread each get
further than one of two threads after the other. Only single-device CPU runs gain; everything else
trains in this process, one after the other.
"""

import dataclasses
import logging
import multiprocessing
import os
import resource
import signal
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

import torch

from medcodi.config import Recipe
from medcodi.config_io import for_modality
from medcodi.training.cached import open_cache
from medcodi.training.run import Run
from medcodi.training.tasks import tasks_of, train_stage

GIB_PER_KIB = 2**-20


def jobs_of(run: Run, stages: Sequence[str]) -> list[tuple[str, str | None]]:
    """(stage, modality) of every task of the stages that may train at the same time, those with
    most steps first: a long one that begins last leaves the other cores idle."""
    jobs = [(stage, name or None) for stage in stages for name, _, _ in tasks_of(run, stage)]
    return sorted(
        jobs, key=lambda job: -for_modality(getattr(run.recipe, job[0]), job[1] or "").num_steps
    )


def fill_caches(run: Run) -> None:
    """Compute the caches of all modalities once, before several processes want them."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for split in ("train", "validation"):
        for name in run.family.names:
            open_cache(run, split, name, device)


def train_side_by_side(
    recipe: Recipe, stages: Sequence[str], num_workers: int | None = None
) -> float:
    """Train all tasks of `stages`, none of which may depend on another, on `num_workers` processes.

    Default: one worker a core (at most one a task), or none on a machine with an accelerator.
    Returns the peak memory of the workers in GiB (the sum of each one's own peak). The first error
    of a worker is raised; Ctrl-C saves all states.
    """
    jobs = jobs_of(Run(recipe), stages)  # fits the assets, too
    cores = len(os.sched_getaffinity(0))
    if num_workers is None:
        num_workers = 1 if torch.cuda.is_available() else min(cores, len(jobs))
    if num_workers == 1:
        for stage, name in jobs:
            train_stage(_only(recipe, stage, name), stage)
        return 0.0
    spawn = multiprocessing.get_context("spawn")
    arguments = (max(1, cores // num_workers), os.getpid(), logging.getLogger().level)
    with ProcessPoolExecutor(
        num_workers, spawn, initializer=_start_worker, initargs=arguments
    ) as pool:
        futures = [pool.submit(_train, recipe, stage, name) for stage, name in jobs]
        try:
            peaks = [future.result() for future in futures]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    by_process: dict[int, float] = {}
    for process, gib in peaks:
        by_process[process] = max(gib, by_process.get(process, 0.0))
    return sum(by_process.values())


def _only(recipe: Recipe, stage: str, name: str | None) -> Recipe:
    return dataclasses.replace(
        recipe, **{stage: dataclasses.replace(getattr(recipe, stage), modality=name)}
    )


def _train(recipe: Recipe, stage: str, name: str | None) -> tuple[int, float]:
    train_stage(_only(recipe, stage, name), stage)
    return os.getpid(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * GIB_PER_KIB


def _start_worker(num_threads: int, parent: int, level: int) -> None:
    logging.basicConfig(level=level, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    torch.set_num_threads(num_threads)
    threading.Thread(target=_stop_with, args=(parent,), daemon=True).start()


def _stop_with(parent: int) -> None:
    """A worker whose parent was killed saves its state and leaves, as on SIGTERM."""
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)
