"""Odd calls: one clear ValueError, or samples."""

import pytest

from medcodi.pipeline import MedCoDiPipeline
from tests.pipeline.odd_calls import odd_call

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
                unclear.append((seed, str(call)[:200], str(error)[:200]))
        except BaseException as error:
            unclear.append((seed, str(call)[:200], repr(error)[:200]))
    assert not unclear


def test_odd_calls_end_in_one_value_error_or_samples(pipe):
    survives(pipe, range(FAST))


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_many_odd_calls_end_in_one_value_error_or_samples(pipe):
    survives(pipe, range(FAST, ALL))
