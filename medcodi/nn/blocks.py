"""The repeated parts of a network, and options that act on them one by one."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

RECOMPILE_LIMIT = 64


def blocks(module: nn.Module) -> list[nn.Module]:
    """The repeated parts of a network: the members of its outermost ModuleLists."""
    found = []
    for child in module.children():
        if isinstance(child, nn.ModuleList):
            found += [x for x in child if x is not None and any(True for _ in x.parameters())]
        else:
            found += blocks(child)
    return found


def compile_blocks(module: nn.Module) -> None:
    """torch.compile of each block, once for each shape that it meets: with dynamic shapes Inductor
    fails on small images. Compiled code is kept by function, which all blocks of a class share: a
    large network needs more than the default 8."""
    torch._dynamo.config.recompile_limit = max(
        RECOMPILE_LIMIT, torch._dynamo.config.recompile_limit
    )
    for block in blocks(module):
        block.compile(dynamic=False)


def checkpoint_blocks(module: nn.Module) -> None:
    """Gradient checkpointing: backward computes each block again. May be compiled afterwards."""
    for block in blocks(module):
        block.forward = functools.partial(_recomputed, block.forward)


def _recomputed(forward: Callable, *args: Any, **kwargs: Any) -> Any:
    """A frame of its own, from which torch.compile sees `checkpoint`: called by torch itself it
    would hide the block."""
    return checkpoint(forward, *args, use_reentrant=False, **kwargs)
