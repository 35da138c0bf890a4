"""Choosing the next token."""

import torch

from medcodi.autoencoders.sampling import nucleus_tokens


def test_nucleus_sampling_draws_from_the_nucleus():
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log().expand(4000, 4)
    uniform = (torch.arange(4000) + 0.5) / 4000
    tokens = nucleus_tokens(
        logits, 0.7, uniform
    )  # the nucleus is tokens 0 and 1, in the ratio 5 to 3
    shares = torch.bincount(tokens, minlength=4) / 4000
    assert torch.allclose(shares, torch.tensor([0.625, 0.375, 0.0, 0.0]), atol=1e-3)
    assert (nucleus_tokens(logits, 1e-6, uniform) == 0).all()
