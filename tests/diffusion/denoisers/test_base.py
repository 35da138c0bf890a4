"""What a denoiser sees: the estimate beside the latents, the codes of partners for attention."""

import torch

from medcodi.diffusion.denoisers.base import Denoiser, DenoiserInput

B, N, C, L, D, K, E = 2, 3, 4, 5, 6, 7, 8
LATENTS, STEPS = torch.randn(B, N, C), torch.zeros(B)
CONTEXT, MASK = torch.randn(B, L, D), torch.ones(B, L, dtype=torch.bool)
CODES, SEEN = torch.randn(B, K, E), torch.ones(B, K, dtype=torch.bool)


class Recorded(Denoiser):
    """Predicts the latents, and keeps what it was given."""

    def add_coupling(self, environment_dim):
        raise NotImplementedError

    def coupling_parameters(self):
        return []

    def predict(self, given):
        self.given = given
        return given.latents


def test_the_estimate_stands_behind_the_latents():
    estimate = torch.randn(B, N, C)
    given = DenoiserInput(LATENTS, STEPS, CONTEXT, MASK, estimate=estimate)
    assert torch.equal(given.with_estimate(dim=2), torch.cat([LATENTS, estimate], 2))
    assert given.with_estimate(dim=1).shape == (B, 2 * N, C)
    assert DenoiserInput(LATENTS, STEPS, CONTEXT, MASK).with_estimate(dim=2) is LATENTS


def test_attention_gets_codes_only_where_there_are_partners():
    alone = DenoiserInput(LATENTS, STEPS, CONTEXT, MASK)
    partners = DenoiserInput(LATENTS, STEPS, CONTEXT, MASK, CODES, SEEN)
    assert alone.cross_attention() is None
    assert partners.cross_attention() == {"coupling": CODES, "coupling_mask": SEEN}


def test_a_call_hands_every_field_to_predict():
    denoiser = Recorded()
    assert denoiser(LATENTS, STEPS, CONTEXT, MASK, CODES, SEEN, LATENTS) is LATENTS
    assert denoiser.given == DenoiserInput(LATENTS, STEPS, CONTEXT, MASK, CODES, SEEN, LATENTS)
