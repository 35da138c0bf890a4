"""Stage 1's space: which rows and encoders a pair's loss reaches."""

import pytest
import torch
import torch.nn.functional as F

from medcodi.encoders.base import PromptEncoder
from medcodi.encoders.contrastive import infonce, positives, sigmoid_loss
from medcodi.encoders.shared_space import SharedSpace
from tests.encoders.parts import ROWS, SIZE, own, unit
from tests.networks import REPORTS, generator, tiny_family


@pytest.fixture(scope="module")
def family():
    return tiny_family()


@pytest.fixture
def space(family):
    torch.manual_seed(0)
    return family.build_shared_space()


@pytest.fixture(scope="module")
def values(family):
    """Value batches of six rows."""
    table = torch.full((ROWS, len(family.modality("tabular").schema.columns)), float("nan"))
    table[:, 0] = torch.tensor([0.0, 1.0] * 3)
    images = torch.rand(ROWS, 1, SIZE, SIZE, generator=generator()) * 2 - 1
    return {"frontal": images, "lateral": -images, "report": REPORTS * 2, "tabular": table}


def pair(space, both, seed=1, keys=None):
    keys = (torch.arange(ROWS), torch.arange(ROWS)) if keys is None else keys
    return space.pair_loss(
        (unit(ROWS, 4, seed), unit(ROWS, 4, seed + 1)), keys, torch.tensor(both, dtype=torch.bool)
    )


def test_rows_without_both_sides_are_ignored(space):
    both = [1, 1, 0, 1, 0, 1]
    rows = [i for i, b in enumerate(both) if b]
    expected = infonce(unit(ROWS, 4, 1)[rows], unit(ROWS, 4, 2)[rows], space.scale, own(4))
    torch.testing.assert_close(
        pair(space, both), expected, rtol=1e-6, atol=1e-7
    )  # the order of the sums differs
    embeds = unit(ROWS, 4, 1)
    embeds[2] = float("nan")
    embeds.requires_grad_()
    loss = space.pair_loss(
        (embeds, unit(ROWS, 4, 2)), (torch.arange(ROWS),) * 2, torch.tensor(both, dtype=torch.bool)
    )
    assert torch.equal(loss, pair(space, both))
    loss.backward()
    assert (
        embeds.grad.isfinite().all()
        and not embeds.grad[[2, 4]].any()
        and embeds.grad[rows].any(dim=1).all()
    )


def test_a_mask_says_what_a_selection_says():
    """Loss and gradients; with all rows kept to the bit, as torch's cross entropy has it."""
    keep = torch.tensor([True, False, True, True, False, True])
    keys = torch.tensor([1, 1, 2, 1, 3, 4]), torch.arange(6)
    for rows, kept, exact in (
        (keep.nonzero().squeeze(1), keep, False),
        (torch.arange(6), keep | True, True),
    ):
        found = []
        for selected in (True, False):
            a, b, scale = unit(6, 4, 1), unit(6, 4, 2), torch.tensor(7.0)
            leaves = [x.requires_grad_() for x in (a, b, scale)]
            if selected:
                positive = positives(*(k[rows] for k in keys))
                logits = scale * a[rows] @ b[rows].T
                targets = [p.float() / p.sum(dim=1, keepdim=True) for p in (positive, positive.T)]
                loss = 0.5 * (
                    F.cross_entropy(logits, targets[0]) + F.cross_entropy(logits.T, targets[1])
                )
                other = sigmoid_loss(a[rows], b[rows], scale, torch.tensor(-2.0), positive)
            else:
                loss = infonce(a, b, scale, positives(*keys), kept)
                other = sigmoid_loss(a, b, scale, torch.tensor(-2.0), positives(*keys), kept)
            found.append(
                [
                    loss,
                    *torch.autograd.grad(loss, leaves),
                    other,
                    *torch.autograd.grad(other, leaves),
                ]
            )
        tolerance = {"rtol": 0.0, "atol": 0.0} if exact else {"rtol": 1e-5, "atol": 1e-7}
        torch.testing.assert_close(found[0], found[1], **tolerance)


def test_fewer_than_two_rows_say_nothing(space):
    assert pair(space, [0] * ROWS).item() == 0 and pair(space, [0, 1, 0, 0, 0, 0]).item() == 0
    assert pair(space, [0, 1, 0, 0, 1, 0]) > 0


def test_keys_reach_the_loss(space):
    assert not torch.equal(
        pair(space, [1] * ROWS), pair(space, [1] * ROWS, keys=(torch.zeros(ROWS).long(),) * 2)
    )


def test_the_scale_is_learned_and_capped(space):
    assert space.scale.item() == pytest.approx(1 / 0.07, rel=1e-5)
    pair(space, [1] * ROWS).backward()
    assert space.logit_scale.grad.abs() > 0
    with torch.no_grad():
        space.logit_scale.fill_(9.0)
    assert space.scale.item() == 100.0


def test_the_sigmoid_space_has_a_bias_and_the_loss_is_checked(family):
    space = SharedSpace({}, {}, "sigmoid")
    expected = sigmoid_loss(
        unit(ROWS, 4, 1), unit(ROWS, 4, 2), space.scale, space.logit_bias, own(ROWS)
    )
    assert torch.equal(pair(space, [1] * ROWS), expected)
    pair(space, [1] * ROWS).backward()
    assert space.logit_bias.grad.abs() > 0 and space.logit_scale.grad.abs() > 0
    assert SharedSpace({}, {}).logit_bias is None
    with pytest.raises(ValueError, match="must be 'infonce' or 'sigmoid', got 'clip'"):
        SharedSpace({}, {}, "clip")


@pytest.mark.parametrize("name", ["frontal", "report", "tabular"])
def test_encodings_have_unit_norm_and_a_fixed_number_of_tokens(space, values, name):
    encoder = space.encoder(name).eval()
    encoding = encoder(values[name])
    assert torch.allclose(encoding.embeds.norm(dim=-1), torch.ones(ROWS), atol=1e-5)
    assert (
        encoding.tokens.shape == (ROWS, encoder.num_tokens, encoder.token_dim)
        and encoder.num_tokens <= 32
    )
    assert encoding.mask.shape == (ROWS, encoder.num_tokens) and encoding.mask.all()
    first = values[name][:1]
    alone = encoder(first)
    assert torch.allclose(
        alone.tokens, encoding.tokens[:1], atol=1e-5
    )  # a row does not depend on its batch
    assert not torch.allclose(encoding.embeds[0], encoding.embeds[1], atol=1e-4)


def test_names_of_a_group_share_their_encoder(space, values):
    assert space.encoder("frontal") is space.encoder("lateral") is not space.encoder("report")
    assert set(space.encoders) == {"radiograph", "report", "tabular"}
    with torch.no_grad():
        first = space.encode("frontal", values["frontal"]).embeds
        assert torch.equal(first, space.encode("lateral", values["frontal"]).embeds)


def test_the_contrastive_loss_trains_encoders_of_the_pair_only(space, values):
    embeds = tuple(space.encode(n, values[n]).embeds for n in ("frontal", "report"))
    space.pair_loss(
        embeds, (torch.arange(ROWS),) * 2, torch.ones(ROWS, dtype=torch.bool)
    ).backward()
    trained = {
        n: all(p.grad is not None for p in e.parameters()) for n, e in space.encoders.items()
    }
    assert trained == {"radiograph": True, "report": True, "tabular": False}
    assert all(p.grad is None for p in space.encoders["tabular"].parameters())


@pytest.mark.parametrize(
    ("tokens", "pooling", "message"),
    [
        (33, "attention", r"num_tokens must be in 1\.\.32, got 33"),
        (0, "grid", r"in 1\.\.32"),
        (
            4,
            "mean",
            r"pooling must be one of \['attention', 'first', 'grid', 'last', 'spans'\], got 'mean'",
        ),
    ],
)
def test_user_errors_are_named(space, values, tokens, pooling, message):
    with pytest.raises(ValueError, match=message):
        PromptEncoder(torch.nn.Identity(), 8, 4, tokens, pooling)
    with pytest.raises(ValueError, match=r"expected images \(B, 1, 16, 16\), got \(6, 1, 16, 8\)"):
        space.encode("frontal", values["frontal"][..., :8])
