"""Attention: its formula, and the plain form that a CPU trains in bf16."""

import pytest
import torch
import torch.nn.functional as F

from medcodi.nn.attention import Attention, attend
from tests.networks import normal

MASK = torch.tensor([[True, True, False], [True, False, False]])[:, None, None]  # (B, 1, 1, K)


@pytest.mark.parametrize("mask", [None, MASK])
def test_plain_attention_in_bf16_is_the_fused_one(mask):
    query, key, value = normal(2, 2, 4, 8), normal(2, 2, 3, 8, seed=1), normal(2, 2, 3, 8, seed=2)
    expected = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    torch.testing.assert_close(attend(query, key, value, mask), expected)
    halves = [x.bfloat16() for x in (query, key, value)]
    torch.testing.assert_close(attend(*halves, mask).float(), expected, atol=0.03, rtol=0.03)


def test_what_is_masked_gets_no_gradient():
    query, key, value = (normal(2, 2, 3, 8, seed=s).bfloat16().requires_grad_() for s in range(3))
    attend(query, key, value, MASK).float().square().sum().backward()
    assert not value.grad[0, :, 2].any() and value.grad[0, :, :2].any()
    assert not value.grad[1, :, 1:].any()


def test_a_sink_adds_nothing_where_nothing_may_be_attended_to():
    torch.manual_seed(0)
    attention = Attention(8, 2, context_dim=6, sink=True)
    hidden, context = normal(2, 3, 8), normal(2, 4, 6, seed=1)
    out = attention(hidden, context, torch.tensor([[False] * 4, [True, True, False, False]]))
    assert not out[0].any() and out[1].abs().sum() > 0
    assert torch.allclose(out[1:], attention(hidden[1:], context[1:, :2]), atol=1e-6)
    one, twice = (attention(hidden, context[:, :1].expand(-1, n, -1)) for n in (1, 2))
    assert not torch.allclose(
        one, twice, atol=1e-3
    )  # a key can also be left alone: the sink takes the rest
    with pytest.raises(ValueError, match="width 8 is not divisible by 3 heads"):
        Attention(8, 3)
