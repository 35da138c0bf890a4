"""Odd calls of a pipeline, drawn from a seed: arguments of every kind, a few of them valid."""

import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image


class Unprintable:
    """Even its name in a message fails."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


ANYTHING: list[Any] = [
    None,
    True,
    -1,
    0,
    3,
    2.5,
    1e30,
    10**30,
    math.nan,
    -math.inf,
    1j,
    "",
    "frontal",
    "\ud800",
    "x" * 10_000,
    b"bytes",
    [],
    [None],
    [[1, 2], [3]],
    {},
    {"frontal": 1},
    {1: 2},
    (0.2, 0.8),
    {"a"},
    range(3),
    object(),
    int,
    Path("/dev/null"),
    torch.Generator(),
    torch.float32,
    torch.zeros(0),
    torch.zeros(2, 3, dtype=torch.bool),
    torch.tensor(math.nan),
    torch.zeros(1, 2, 8, 8, dtype=torch.complex64),
    torch.zeros(4, 4).to_sparse(),
    np.array("a"),
    np.array([object()]),
    np.float64(1.5),
    np.int64(2),
    pd.DataFrame(),
    pd.Series([1]),
    lambda *_: None,
    pd.NA,
    Unprintable(),
    torch.zeros(1, 2, 8, 8, device="meta"),
    torch.tensor([1.0, 2.0]),
]
PICTURES: list[Any] = [
    Image.new("L", (0, 3)),
    Image.new("L", (90_000, 1)),
    Image.new("RGBA", (5, 9)),
    Image.new("CMYK", (5, 9)),
    Image.new("1", (5, 9)),
    Image.new("F", (4, 4), math.inf),
    Image.new("I", (4, 4), -5),
    np.zeros((3, 3, 3, 3)),
    np.zeros((16, 16), np.int8),
    np.full((16, 16), 1.0001),
    np.full((16, 16), "a"),
    np.zeros((16, 16), np.float16),
    torch.zeros(16, 16, dtype=torch.bfloat16),
    torch.zeros(16, 16, requires_grad=True),
    torch.zeros(1, 1, 16, 16),
    torch.zeros(16, 16, device="meta"),
    "/dev/null",
    "/",
    "a\0b",
    "x" * 5000,
]
TEXTS: list[Any] = ["Edema.", "  ", "\ud83d", "\0", "\u202e", "é" * 20_000, ["a", ""], ["a", None]]
ROWS: list[Any] = [
    {},
    {"heart_rate": math.inf},
    {"heart_rate": "many"},
    {"heart_rate": [1]},
    {"heart_rate": 10**400},
    {"heart_rate": None},
    {"heart_rate": True},
    {"is_icu": 3},
    {3: 4},
    [{"heart_rate": 70}, 5],
    pd.DataFrame({"heart_rate": [70, math.nan]}),
    pd.DataFrame({"heart_rate": []}),
    pd.DataFrame([[1, 2]], columns=["heart_rate", "heart_rate"]),
]
SETTINGS = (
    "outputs",
    "num_inference_steps",
    "guidance_scale",
    "coupling_scale",
    "generator",
    "num_images_per_prompt",
    "prompt_weights",
    "batch_size",
    "callback_on_step_end",
    "seeds",
    "guidance_interval",
    "negative_prompts",
    "latents",
    "output_type",
    "eta",
    "callback_on_step_end_tensor_inputs",
    "privacy",
    "max_draws",
    "coupled",
    "condition_on_latents",
    "return_dict",
    "keep",
    "strength",
    "order",
    "labels",
)
NAMED = ("guidance_scale", "latents", "guidance_interval", "coupling_scale", "keep", "strength")


def odd_call(seed: int) -> dict[str, Any]:
    """Keyword arguments of one call."""
    rng = random.Random(seed)
    call: dict[str, Any] = {"num_inference_steps": 1, "seeds": None}
    pools: dict[str, Callable[[], Any]] = {
        "frontal": lambda: rng.choice(PICTURES + ANYTHING),
        "report": lambda: rng.choice(TEXTS + ANYTHING),
        "tabular": lambda: rng.choice(ROWS + ANYTHING),
    }
    names = rng.sample(list(pools), rng.randrange(3))
    call["prompts"] = {name: pools[name]() for name in names}
    call["outputs"] = rng.choice([["lateral"], ["tabular"], ["report"], None])
    if rng.random() < 0.1:
        call["prompts"] = rng.choice(ANYTHING)
    for name in rng.sample(SETTINGS, rng.randrange(3)):
        call[name] = rng.choice(ANYTHING)
        if rng.random() < 0.3 and name in NAMED:
            call[name] = {"lateral": rng.choice(ANYTHING)}
    return call
