"""The paper's fully connected U-Net: its block, its context, its coupling."""

import pytest
import torch
import torch.nn.functional as F

from medcodi.diffusion.denoisers.fc_unet import FCResBlock, FCUNet
from tests.networks import TINY_FC_UNET, normal, wake

SHAPE, CONTEXT, ENVIRONMENT = (2, 6), 8, 8


@pytest.fixture
def unet():
    torch.manual_seed(0)
    return FCUNet(SHAPE, CONTEXT, **TINY_FC_UNET).eval()


def inputs(rows=3):
    mask = torch.ones(rows, 2, dtype=torch.bool)
    return (
        normal(rows, *SHAPE),
        torch.tensor([1.0, 500.0, 999.0])[:rows],
        normal(rows, 2, CONTEXT, seed=1),
        mask,
    )


def test_a_block_is_the_formula():
    """W2 silu(GN(W1 silu(GN(x)) + W_t silu(t))) + S x, over all channels and positions at once."""
    torch.manual_seed(0)
    block = wake(FCResBlock((4, 2), (6, 2), 5, groups=2))
    hidden, time = normal(3, 4, 2), normal(3, 5, seed=1)
    inner = block.linear1(F.silu(block.norm1(hidden.reshape(3, 8)))) + block.time(F.silu(time))
    expected = block.linear2(F.silu(block.norm2(inner))) + block.shortcut(hidden.reshape(3, 8))
    torch.testing.assert_close(block(hidden, time), expected.reshape(3, 6, 2))


def test_it_starts_at_zero_and_reads_what_it_is_given(unet):
    latents, steps, context, mask = inputs()
    assert (
        unet(latents, steps, context, mask).shape == latents.shape
        and not unet(latents, steps, context, mask).any()
    )
    wake(unet)
    with torch.no_grad():
        out = unet(latents, steps, context, mask)
        hidden = mask.clone()
        hidden[:, 1] = False
        changed = context.clone()
        changed[:, 1] += 1
        assert not torch.allclose(unet(latents, steps, changed, mask), out, atol=1e-4)
        assert torch.allclose(
            unet(latents, steps, changed, hidden), unet(latents, steps, context, hidden), atol=1e-6
        )
        assert not torch.allclose(unet(latents, steps.flip(0), context, mask), out, atol=1e-4)
        one = unet(latents[:1], steps[:1], context[:1], mask[:1])
        torch.testing.assert_close(one, out[:1])  # rows do not know each other


def test_coupling_starts_as_none_and_then_couples(unet):
    wake(unet)
    latents, steps, context, mask = inputs()
    with torch.no_grad():
        alone = unet(latents, steps, context, mask)
    unet.add_coupling(ENVIRONMENT)
    code = normal(3, 2, ENVIRONMENT, seed=2).requires_grad_()
    assert torch.equal(unet(latents, steps, context, mask, code, mask), alone)
    assert unet.coupling_parameters()
    names = {n for n, _ in unet.named_parameters() if "cross_modal" in n}
    assert len(names) == len(unet.coupling_parameters())
    wake(unet)
    (gradient,) = torch.autograd.grad(unet(latents, steps, context, mask, code, mask).sum(), code)
    assert gradient.any()
    nobody = torch.zeros_like(mask)
    assert torch.allclose(unet(latents, steps, context, mask, code, nobody), alone, atol=1e-6)


def test_attention_and_levels_must_agree():
    with pytest.raises(ValueError, match="attention has 1 entries, channel_mult has 2"):
        FCUNet(SHAPE, CONTEXT, **(TINY_FC_UNET | {"attention": [True]}))
