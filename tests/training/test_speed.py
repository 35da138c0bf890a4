"""Options of speed and memory: what they compute, and what a step says that finds too little
memory."""

import pytest
import torch
from torch._dynamo.utils import counters

from medcodi.config import StageConfig
from medcodi.nn.blocks import blocks
from medcodi.training.run import Run
from medcodi.training.speed import TooLittleMemoryError, memory_advice
from medcodi.training.tasks import train_stage
from medcodi.training.tasks.stage1 import Stage1Task
from medcodi.training.tasks.stage2 import Stage2Task
from tests.training.parts import (
    Hooked,
    assert_same_weights,
    exported,
    fit_stage2,
    losses,
    stage2_recipe,
)


def trained(tiny_run, folder, name, data=None, **settings):
    recipe = stage2_recipe(tiny_run, folder, name, num_steps=3, **settings)
    for key, value in (data or {}).items():
        setattr(recipe.data, key, value)
    train_stage(recipe, "stage2")
    return recipe


@pytest.mark.parametrize("name", ["frontal", "tabular"])
def test_exact_options_change_nothing(tiny_run, tmp_path, name):
    """Gradient checkpointing and reading ahead: bit for bit."""
    label = f"stage2/{name}"
    plain = trained(tiny_run, tmp_path / "plain", name)
    other = trained(
        tiny_run, tmp_path / "other", name, data={"prefetch": 3}, gradient_checkpointing=True
    )
    assert losses(plain, label) == losses(other, label)
    assert_same_weights(exported(plain, label), exported(other, label))


def test_channels_last_changes_rounding_only(tiny_run, tmp_path):
    plain, other = (
        trained(tiny_run, tmp_path / str(option), "frontal", channels_last=option)
        for option in (False, True)
    )
    for (step, loss), (_, found) in zip(
        losses(plain, "stage2/frontal"), losses(other, "stage2/frontal"), strict=True
    ):
        assert abs(loss - found) < 1e-4 * loss, step


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "recomputed"), [("tabular", False), ("frontal", False), ("frontal", True)]
)
def test_compile_changes_rounding_only(tiny_run, tmp_path, name, recomputed):
    torch.compiler.reset()
    counters.clear()
    plain, other = (
        trained(
            tiny_run,
            tmp_path / str(option),
            name,
            compile=option,
            gradient_checkpointing=recomputed and option,
        )
        for option in (False, True)
    )
    for (_, loss), (_, found) in zip(
        losses(plain, f"stage2/{name}"), losses(other, f"stage2/{name}"), strict=True
    ):
        assert abs(loss - found) < 1e-4 * loss
    assert (
        counters["stats"]["unique_graphs"] > 1
    )  # it was compiled, also with gradient checkpointing


def test_checkpointing_recomputes_the_blocks(tiny_run, tmp_path):
    """The option reaches the network: a block's forward runs twice in a step, without it once."""
    counts = {}
    for option in (False, True):
        recipe = stage2_recipe(
            tiny_run, tmp_path / str(option), num_steps=1, gradient_checkpointing=option
        )
        task = Stage2Task(Run(recipe), "tabular")
        seen = []
        blocks(task)[0].self_attention.register_forward_pre_hook(
            lambda *_, seen=seen: seen.append(torch.is_grad_enabled())
        )
        fit_stage2(recipe, task)
        counts[option] = len([enabled for enabled in seen if enabled])
    assert counts == {False: 1, True: 2}


def test_too_little_memory_names_three_settings(tiny_run, tmp_path):
    recipe = stage2_recipe(tiny_run, tmp_path, gradient_accumulation_steps=2)
    task = Hooked(Run(recipe), "tabular", 3, lambda: torch.empty(1 << 58))
    match = (
        r"stage2/tabular: too little memory for a micro-batch of 4 "
        r"rows.*gradient_accumulation_steps \(now 2;"
        r".*gradient_checkpointing=true \(now false\).*mixed_precision=bf16 \(now no\)"
    )
    with pytest.raises(TooLittleMemoryError, match=match):
        fit_stage2(recipe, task)


def test_other_errors_pass_as_they_are():
    for error in (RuntimeError("shape mismatch"), ValueError("memory")):
        with pytest.raises(type(error)) as raised, memory_advice(Stage1Task, StageConfig(), 1):
            raise error
        assert raised.value is error


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_advice_says_what_accumulation_changes(error):
    match = r"fewer negatives\).*gradient_accumulation_steps or mixed_precision the"
    with (
        pytest.raises(TooLittleMemoryError, match=match),
        memory_advice(Stage1Task, StageConfig(), 1),
    ):
        raise error
