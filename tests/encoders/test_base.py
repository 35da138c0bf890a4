"""Pooling of tokens in prompt encoders."""

import pytest
import torch

from medcodi.encoders.base import GridPool, PromptEncoder, SpanPool
from tests.networks import (
    encoding,
    generator,
)


def test_grid_pooling_keeps_where_things_are():
    tokens = torch.arange(16.0).view(1, 16, 1)
    pooled, real = GridPool(4)(tokens, torch.ones(1, 16, dtype=torch.bool))
    assert pooled.flatten().tolist() == [2.5, 4.5, 10.5, 12.5] and real.all()
    with pytest.raises(ValueError, match="square number of tokens, got 5"):
        GridPool(5)


def test_span_pooling_keeps_short_sequences_and_averages_long_ones():
    tokens = torch.arange(1.0, 7.0).view(1, 6, 1).expand(2, 6, 1)
    mask = torch.tensor([[True] * 3 + [False] * 3, [True] * 6])
    pooled, real = SpanPool(3)(tokens, mask)
    assert pooled[:, :, 0].tolist() == [[1.0, 2.0, 3.0], [1.5, 3.5, 5.5]] and real.all()
    pooled, real = SpanPool(4)(tokens[:1], mask[:1])
    assert real.tolist() == [[True, True, True, False]] and pooled[0, 3] == 0


def test_encodings_move_and_slice_together():
    rows = encoding(4)[torch.tensor([2, 0])]
    assert (
        torch.equal(rows.embeds, encoding(4).embeds[[2, 0]])
        and rows.tokens.shape[0] == rows.mask.shape[0] == 2
    )
    assert rows.to("meta").tokens.is_meta and generator().device.type == "cpu"


def test_pools_that_keep_one_token():
    with pytest.raises(ValueError, match="'first' keeps one token, but num_tokens is 4"):
        PromptEncoder(torch.nn.Identity(), 8, 8, num_tokens=4, pooling="first")
