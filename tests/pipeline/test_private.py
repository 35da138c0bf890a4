"""`pipe(..., privacy=filter)`: refused samples are drawn again, from seeds of their own."""

import json
from types import SimpleNamespace

import pytest
import torch

from medcodi.identity import fingerprint
from medcodi.pipeline.private import NothingAcceptedError
from medcodi.privacy.filter import PrivacyFilter

CALL = {"num_inference_steps": 2, "batch_size": 1}


class Parity:
    """Keeps an image where its mean grey, in ten-thousandths, has no remainder by `divisor`."""

    def __init__(self, divisor):
        self.divisor = divisor

    def check(self, modalities, data_hash):
        assert list(modalities) == ["frontal"]

    def judge(self, values):
        greys = [round(10_000 * float(image.mean())) for image in values["frontal"]]
        return SimpleNamespace(reasons=["odd" if grey % self.divisor else "" for grey in greys])


@pytest.fixture
def middle():
    return Parity(2)


def prompts(count):
    return {"report": ["Edema.", "Large effusion.", "No effusion.", "Normal."] * (count // 4)}


@pytest.mark.parametrize("output_type", ["pil", "np", "pt"])
def test_what_is_refused_is_drawn_again_and_nothing_else(tiny_pipeline, middle, output_type):
    call = {**CALL, "output_type": output_type}
    plain = tiny_pipeline(prompts(8), ["frontal"], seeds=range(8), **call)
    kept = tiny_pipeline(prompts(8), ["frontal"], seeds=range(8), privacy=middle, **call)
    assert middle.judge(kept.stored).reasons == [""] * 8
    assert 0 < sum(map(bool, kept.refused)) < 8 and kept.prompt_index == list(range(8))
    for row, why in enumerate(kept.refused):
        same = torch.equal(kept.latents["frontal"][row], plain.latents["frontal"][row])
        assert same == (not why) and (kept.seeds[row] == row) == (not why)
    assert len(kept.frontal) == 8


def test_the_seed_of_a_kept_sample_regenerates_it(tiny_pipeline, middle):
    kept = tiny_pipeline(prompts(8), ["frontal"], seeds=range(8), privacy=middle, **CALL)
    row = next(row for row, why in enumerate(kept.refused) if why)
    text = prompts(8)["report"][row]
    again = tiny_pipeline(text, ["frontal"], seeds=[kept.seeds[row]], **CALL)
    assert torch.equal(again.latents["frontal"][0], kept.latents["frontal"][row])
    alone = tiny_pipeline(text, ["frontal"], seeds=[row], privacy=middle, **CALL)
    assert alone.seeds == [kept.seeds[row]]  # whoever else is in the call


def test_without_prompts_and_saved(tiny_pipeline, middle, tmp_path):
    generator = torch.Generator().manual_seed(0)
    out = tiny_pipeline(
        outputs="frontal",
        num_images_per_prompt=6,
        generator=generator,
        privacy=middle,
        num_inference_steps=2,
    )
    told = json.loads((out.save(tmp_path / "out") / "samples.json").read_text())["samples"]
    assert [sample.get("refused", []) for sample in told] == out.refused and len(out) == 6


def test_a_filter_that_accepts_nothing_stops(tiny_pipeline):
    with pytest.raises(NothingAcceptedError, match=r"refused one sample 3 times \(odd\)"):
        tiny_pipeline(outputs="frontal", privacy=Parity(10**9), max_draws=3, **CALL)


def test_an_interrupted_call_returns_what_was_kept(tiny_pipeline, middle):
    def stop(pipe, step, timestep, tensors):
        pipe._interrupt = True
        return {}

    out = tiny_pipeline(
        prompts(4), ["frontal"], seeds=range(4), privacy=middle, callback_on_step_end=stop, **CALL
    )
    assert out.interrupted and len(out) == len(out.refused) <= 1


def test_a_call_that_is_interrupted_before_all_outputs_are_reached_keeps_none(tiny_pipeline):
    def stop(pipe, step, timestep, tensors):
        pipe._interrupt = True
        return {}

    class Anything(Parity):
        def check(self, modalities, data_hash): ...

    order = ["frontal", "report"]
    call = {"outputs": order, "order": order, "callback_on_step_end": stop} | CALL
    out = tiny_pipeline(privacy=Anything(1), **call)
    assert out.interrupted and len(out) == 0 and list(out) == order
    assert list(tiny_pipeline(**call)) == ["frontal"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"privacy": "filter"}, "privacy must be a PrivacyFilter, got 'filter'"),
        ({"privacy": Parity(2), "output_type": "latent"}, "'latent' has none"),
        ({"privacy": Parity(2), "latents": torch.zeros(1, 2, 8, 8)}, "cannot be given"),
        ({"privacy": Parity(2), "max_draws": 0}, "max_draws must be at least 1"),
        ({"max_draws": 9}, "max_draws bounds how often privacy draws again: give privacy, too"),
    ],
)
def test_calls_that_cannot_be_judged_are_refused(tiny_pipeline, arguments, message):
    with pytest.raises(ValueError, match=message):
        tiny_pipeline(outputs="frontal", **CALL, **arguments)


def test_a_filter_of_other_data_is_refused(tiny_pipeline, tiny_prepared):
    privacy = PrivacyFilter.fit(tiny_prepared, ["report", "tabular"], false_match_rate=0.1)
    assert tiny_pipeline.facts.data_hash == fingerprint(privacy.about["data"])
    tiny_pipeline.check_privacy(privacy, ["report", "frontal"])
    with pytest.raises(ValueError, match="judges report, tabular; got frontal"):
        tiny_pipeline.check_privacy(privacy, ["frontal"])
    privacy.guards["frontal"] = privacy.guards["report"]
    with pytest.raises(ValueError, match="judges 'frontal' as text, the model generates image"):
        tiny_pipeline.check_privacy(privacy, ["frontal"])
    columns = privacy.guards["tabular"].schema.columns
    privacy.guards["tabular"].schema.columns = columns[1:]
    with pytest.raises(ValueError, match=f"other columns than 'tabular' has: {columns[0].name}"):
        tiny_pipeline.check_privacy(privacy, ["tabular"])
    privacy.about["data"] = "another"
    with pytest.raises(ValueError, match=r"fitted on the data .*, the model was trained on"):
        tiny_pipeline.check_privacy(privacy, ["report"])
