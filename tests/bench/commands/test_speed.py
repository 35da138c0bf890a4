"""eval/speed.py: its rows do the same work in different ways, so that their times may be
compared."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from medcodi.bench import speed_generation
from medcodi.bench.speed_generation import (
    Sampling,
    decode_with_cache,
    decode_without_cache,
    measure_reports,
    measure_sampling,
    sampling_rows,
    untrained_pipeline,
)
from medcodi.bench.speed_training import REFERENCE, Trainer, Training, fastest, training_options
from medcodi.training.run import Run
from tests.tiny import copy_run, write_recipe

ROOT, CPU = Path(__file__).parents[3], torch.device("cpu")


@pytest.fixture(scope="module")
def run(tiny_run, tmp_path_factory):
    return Run(copy_run(tiny_run, tmp_path_factory.mktemp("speed")))


@pytest.mark.parametrize("name", ["frontal", "report"])
def test_the_reference_encodes_what_the_cache_holds(run, name):
    """Same rows, same absent values: latents and prompts of the plain loop equal those from the
    cache."""
    ours, plain = (Trainer(run, name, options, CPU).batch(0) for options in (Training(), REFERENCE))
    assert set(ours.encodings) == set(plain.encodings) == set(run.family.names) - {name}
    assert torch.allclose(ours.latents[name], plain.latents[name], atol=1e-4)
    for prompt, encoding in plain.encodings.items():
        assert torch.equal(ours.present[prompt], plain.present[prompt])
        assert torch.equal(ours.encodings[prompt].mask, encoding.mask)
        assert torch.allclose(ours.encodings[prompt].tokens, encoding.tokens, atol=1e-4)


def test_optimisations_do_not_change_the_loss(run):
    """Cache, attention kernel, memory format, checkpointing, optimizer, EMA: the same loss before
    and after two steps."""
    losses = {}
    for key, options in {**training_options(False, CPU)}.items():
        trainer = Trainer(run, "frontal", options, CPU)
        start = float(trainer.forward(trainer.batch(7), 7).detach())
        for step in range(2):
            trainer.step(step)
        losses[key] = (start, float(trainer.forward(trainer.batch(7), 7).detach()))
    for key, pair in losses.items():
        assert pair == pytest.approx(losses["medcodi"], rel=2e-2 if "bfloat16" in key else 1e-3), (
            key
        )
    assert losses["medcodi"][0] != losses["medcodi"][1]


@pytest.mark.parametrize("name", ["frontal", "report"])
def test_figures_of_a_step(run, name):
    figures = {
        key: Trainer(run, name, options, CPU).figures()
        for key, options in (("plain", Training()), ("checkpointed", Training(checkpointing=True)))
    }
    assert figures["plain"]["flops"] > 1e6
    assert figures["checkpointed"]["activations_mib"] < figures["plain"]["activations_mib"]
    assert figures["plain"]["state_mib"] > 0


def test_the_cache_of_the_decoder_changes_no_token(run):
    model = run.autoencoder("report")
    latents = torch.randn(3, *model.latent_shape, generator=torch.Generator().manual_seed(0))
    length = model.config.max_length
    tokens = decode_with_cache(model, latents, length)
    assert tokens.shape == (3, length)
    assert torch.equal(tokens, decode_without_cache(model, latents, length))
    table = measure_reports(run, "report", 1, CPU)
    assert [row["equal_tokens"] for row in table] == [1.0] * 4 and table[0]["ratio"] == 1


def test_fastest_takes_turns():
    order = []
    seconds = fastest({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 2, CPU)
    assert order == ["a", "b"] * 3 and set(seconds) == {"a", "b"}


def test_sampling_rows_differ_from_the_reference_in_what_they_say(run):
    rows = sampling_rows(run, CPU, False)
    assert (
        rows["reference"].num_inference_steps == 50
        and not rows["reference"].sdpa
        and rows["reference"].interval is None
    )
    assert replace(rows["reference"], sdpa=True) == rows["euler, 50 steps"]
    assert rows["medcodi"].num_inference_steps < 50
    compiled = sampling_rows(run, CPU, True)
    assert compiled["medcodi"] == replace(rows["medcodi"], compiled=True)
    assert compiled["without torch.compile"] == rows["medcodi"] and len(compiled) == len(rows) + 1


def test_sampling_without_an_interval_is_guided_at_every_step(run, monkeypatch):
    """Also where the recipe has an interval."""
    name = "frontal"
    monkeypatch.setattr(run.family.modality(name).args, "guidance_interval", [0.4, 0.6])
    ways = {"reference": Sampling("euler", 2), "middle": Sampling("euler", 2, interval=(0.4, 0.6))}
    monkeypatch.setattr(speed_generation, "sampling_rows", lambda *_: ways)
    pipe, rows = untrained_pipeline(run, CPU), []
    pipe.diffusions[name].denoiser.register_forward_pre_hook(
        lambda _module, args: rows.append(len(args[0]))
    )
    monkeypatch.setattr(speed_generation, "untrained_pipeline", lambda *_: pipe)
    table = measure_sampling(run, "report", [name], 1, CPU, False)
    assert [row["row"] for row in table] == ["reference", "middle"]
    assert rows == 2 * [
        8,
        8,
        4,
        4,
    ]  # warm-up and one round: four studies, with and without their prompt


@pytest.mark.slow
def test_the_script(tiny_run, tmp_path):
    """On tiny networks: every table, files, and JSON as the last line."""
    recipe = write_recipe(tiny_run, tmp_path / "tiny.yaml")
    call = [
        sys.executable,
        ROOT / "eval" / "speed.py",
        "--config",
        recipe,
        "--device",
        "cpu",
        "--repeats",
        "1",
        "--num-studies",
        "40",
        "--large",
        recipe,
        "--output",
        tmp_path / "out",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(call, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert json.loads((tmp_path / "out" / "speed.json").read_text()) == told
    assert len(told["tables"]) == 8 and len(told["ratios"]) == 6
    assert [ratio["target"] for ratio in told["ratios"].values()] == [5, 5, 10, 4, 5, 5]
    assert all(row["ms"] > 0 for table in told["tables"].values() for row in table)
    assert "| without cache |" in (tmp_path / "out" / "speed.md").read_text()
