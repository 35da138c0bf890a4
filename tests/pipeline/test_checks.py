"""Odd calls: one clear ValueError, or samples."""

import pandas as pd
import pytest
import torch

from medcodi.pipeline import MedCoDiPipeline
from tests.pipeline.odd_calls import Unprintable, odd_call

FAST, ALL = 100, 500


@pytest.fixture(scope="module")
def pipe(tiny_run):
    loaded = MedCoDiPipeline.from_pretrained(tiny_run.run_dir / "pipeline")
    loaded.set_progress_bar_config(disable=True)
    return loaded


def survives(pipe, seeds):
    unclear = []
    for seed in seeds:
        call = odd_call(seed)
        try:
            pipe(**call)
        except ValueError as error:
            if "\n" in str(error) or len(str(error)) > 1000:
                unclear.append((seed, list(call), str(error)[:200]))
        except BaseException as error:
            unclear.append((seed, list(call), repr(error)[:200]))
    assert not unclear


def test_odd_calls_end_in_one_value_error_or_samples(pipe):
    survives(pipe, range(FAST))


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_many_odd_calls_end_in_one_value_error_or_samples(pipe):
    survives(pipe, range(FAST, ALL))


ODD = {
    "a mapping is no text": ({"prompts": {"report": {"Edema.": 1}}}, "expected a non-empty text"),
    "a set has no order": ({"prompts": {"report": {"Edema."}}}, "expected a non-empty text"),
    "a flag": ({"coupled": "no"}, "coupled must be True or False, got 'no'"),
    "another flag": ({"return_dict": 0}, "return_dict must be True or False, got 0"),
    "no truth": ({"condition_on_latents": pd.NA}, "condition_on_latents must be True or False"),
    "no truth in a name": ({"outputs": [pd.NA]}, "unknown key '<NA>'"),
    "without a repr": ({"eta": Unprintable()}, "of type Unprintable that cannot be shown"),
    "without a repr, in a list": ({"order": [Unprintable()]}, "order must name every output once"),
    "an interval of flags": ({"guidance_interval": {"lateral": (False, True)}}, "0 <= low < high"),
}


@pytest.mark.parametrize("kind", ODD)
def test_an_odd_argument_is_named(pipe, kind):
    call, message = ODD[kind]
    with pytest.raises(ValueError, match=message):
        pipe(**{"outputs": ["lateral"], "num_inference_steps": 1, **call})


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda z: torch.zeros_like(z, device="meta"), "dense tensor of numbers, got meta"),
        (lambda z: z.to_sparse(), "dense tensor of numbers, got torch.sparse_coo"),
        (lambda z: z.to(torch.complex64), "floating-point numbers, got torch.complex64"),
        (lambda z: z.to(torch.int8), "floating-point numbers, got torch.int8"),
        (lambda z: z * float("nan"), "100.0% of the numbers are not finite"),
    ],
)
def test_latents_that_are_no_numbers_are_refused_given_or_returned(pipe, made, message):
    shape = pipe.family.latent_shape(pipe.family.modality("lateral").group)
    call = {"outputs": ["lateral"], "num_inference_steps": 1}
    with pytest.raises(ValueError, match=message):
        pipe(**call, latents=made(torch.zeros(1, *shape)))
    with pytest.raises(ValueError, match=message):
        pipe(
            **call,
            callback_on_step_end=lambda pipe, step, t, told: {
                "latents": made(told["latents"]["lateral"])
            },
        )


class SilentFilter:
    """A privacy filter that forgets its answer."""

    def check(self, modalities, data_hash):
        pass

    def judge(self, values):
        return None


def test_a_filter_that_answers_nothing_is_named(pipe):
    with pytest.raises(ValueError, match="judge must return an object with 1 reasons"):
        pipe(outputs=["tabular"], num_inference_steps=1, privacy=SilentFilter())
