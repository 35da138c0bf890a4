"""Micro-batches, read by this process, worker processes or a thread ahead of the step."""

import signal
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch.utils.data import DataLoader, Sampler

from medcodi.config import DataConfig
from medcodi.training.task import map_tensors, to_device


def _identity(batch: Any) -> Any:
    return batch


def _outlive_signals(worker: int) -> None:
    """A signal to the whole process group is for the training process: it saves, for which its
    readers must not fail. They end with it (torch's watchdog)."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def batches(data: Any, sampler: Sampler, config: DataConfig, device: torch.device) -> Iterator[Any]:
    """The micro-batches of `sampler`, on `device`. `num_workers` processes read; with `prefetch`
    above 0 a thread keeps that many ready (for a GPU in page-locked memory, from which it copies
    without the host waiting). Same batches either way."""
    source = iter(
        DataLoader(
            data,
            batch_size=None,
            sampler=sampler,
            num_workers=config.num_workers,
            collate_fn=_identity,
            worker_init_fn=_outlive_signals,
        )
    )
    read = _ahead(source, config.prefetch, device.type == "cuda") if config.prefetch else source
    return (to_device(batch, device) for batch in read)


_END = object()


def _ahead(source: Iterator[Any], count: int, pinned: bool) -> Iterator[Any]:
    """What `source` yields, `count` of it read ahead."""

    def load() -> Any:
        batch = next(source, _END)
        return map_tensors(batch, torch.Tensor.pin_memory) if pinned else batch

    with ThreadPoolExecutor(1) as pool:
        ahead = deque(pool.submit(load) for _ in range(count))
        try:
            while (batch := ahead.popleft().result()) is not _END:
                ahead.append(pool.submit(load))
                yield batch
        finally:
            for future in ahead:
                future.cancel()
