"""`medcodi bench sampling` on the tiny run: the same seeds, differences to the reference, the
scheduler put back."""

import math

import pytest

from medcodi.bench.commands.sampling import Way, generate, markdown, measure
from tests.evaluation.parts import context_of


@pytest.fixture(scope="module")
def measured(tiny_run, tmp_path_factory):
    context = context_of(tiny_run, tmp_path_factory.mktemp("sampling"), batch_size=3)
    rows = {
        "reference": Way("euler", 3),
        "same": Way("euler", 3),
        "other": Way("unipc", 2, (0.1, 0.9)),
    }
    before = dict(context.generations.pipeline.schedulers)
    return measure(context, rows), before == context.generations.pipeline.schedulers


def test_rows_stand_beside_the_reference(measured):
    told, unchanged = measured
    assert unchanged and told["num_studies"] == 8
    real, reference, same, other = told["table"]
    assert "ratio" not in real and reference["ratio"] == 1.0 and other["seconds_a_study"] > 0
    for name in ("AUC", "F-L", "F-T"):
        assert same[name] == reference[name]  # the same seeds
        difference = other[f"{name} minus reference"]["value"]
        assert difference == pytest.approx(other[name]["value"] - reference[name]["value"])
        assert same[f"{name} minus reference"]["value"] == 0
    assert other["F-L"] != reference["F-L"] and math.isfinite(other["kernel_distance"]["value"])


def test_the_table_has_a_line_a_row(measured):
    text = markdown({**measured[0], "recipe": "tiny", "device": "CPU"})
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 6 and len({line.count("|") for line in lines}) == 1


def test_the_reference_is_guided_at_every_step_whatever_the_recipe_says(
    tiny_run, tmp_path, monkeypatch
):
    context = context_of(tiny_run, tmp_path, batch_size=2)
    for name in context.studies.names("FL"):
        monkeypatch.setattr(
            context.generations.pipeline.family.modality(name).args, "guidance_interval", [0.4, 0.6]
        )
    rows = []
    denoiser = context.generations.pipeline.diffusions[context.studies.name("F")].denoiser
    denoiser.register_forward_pre_hook(lambda _module, args: rows.append(len(args[0])))
    generate(context, context.studies.held_out("FLT")[:2], {"reference": Way("euler", 3)})
    assert rows[-3:] == [4, 4, 4]  # two studies, with and without their prompt
