"""Micro-batches, read ahead or not."""

import pytest
import torch

from medcodi.config import DataConfig
from medcodi.training.draws import StepSampler
from medcodi.training.loading import batches


@pytest.mark.parametrize(
    "settings", [{"prefetch": 2}, {"prefetch": 9}, {"num_workers": 1, "prefetch": 1}]
)
def test_reading_ahead_yields_the_same_batches(settings):
    class Rows:
        def __getitem__(self, indices):
            return torch.tensor(indices)

    found = []
    for config in (DataConfig(), DataConfig(**settings)):
        sampler = StepSampler(7, 0, 4, [range(2), range(2, 4)], 1, 4)
        found.append([x.tolist() for x in batches(Rows(), sampler, config, torch.device("cpu"))])
    assert found[0] == found[1] and len(found[0]) == 6


def test_an_error_while_reading_ahead_is_raised():
    class Broken:
        def __getitem__(self, indices):
            raise OSError("row 3 cannot be read")

    sampler = StepSampler(7, 0, 4, [range(4)], 0, 4)
    with pytest.raises(OSError, match="row 3 cannot be read"):
        next(batches(Broken(), sampler, DataConfig(prefetch=2), torch.device("cpu")))
