"""Multi-prompt: which prompts are drawn, and how they become the context. Legend: P prompts, S the
drawn subset."""

from collections import Counter

import pytest
import torch

from medcodi.diffusion.environment import EnvironmentEncoder
from medcodi.diffusion.multiprompt import PromptFusion, draw_subsets
from medcodi.encoders.base import PromptEncoding
from tests.networks import EMBED, TOKEN, denoiser, diffusion, encoding, fusion, generator, normal

MANY = 40_000


def draw(available: list[bool], **kwargs) -> torch.Tensor:
    rows = torch.tensor([available]).expand(MANY, -1)
    return draw_subsets(rows, torch.rand(MANY, generator=generator()), **kwargs)


def counts(chosen: torch.Tensor) -> Counter:
    return Counter(tuple(row) for row in chosen.tolist())


@pytest.mark.parametrize("available", [[1, 1, 1, 1], [1, 0, 1, 1], [0, 1, 0, 1], [0, 0, 1, 0]])
def test_subsets_are_uniform_over_the_non_empty_ones(available):
    available = [bool(a) for a in available]
    found = counts(draw(available))
    number = 2 ** sum(available) - 1
    assert len(found) == number and (False,) * 4 not in found
    assert all(
        not (bit and not there)
        for subset in found
        for bit, there in zip(subset, available, strict=True)
    )
    expected = MANY / number
    chi_square = sum((count - expected) ** 2 / expected for count in found.values())
    assert chi_square < 3 * number  # mean number - 1; the seed is fixed
    assert all(abs(count - expected) < 5 * expected**0.5 for count in found.values())


def test_every_number_in_the_unit_interval_gives_a_subset():
    edges = torch.tensor([0.0, 0.5, 1 - 2**-24])
    chosen = draw_subsets(torch.ones(3, 3, dtype=torch.bool), edges)
    assert chosen.tolist() == [[True, False, False], [False, False, True], [True, True, True]]


def test_nothing_available_stays_empty():
    empty = torch.zeros(8, 3, dtype=torch.bool)
    for multi_prompt in (True, False):
        assert not draw_subsets(empty, torch.rand(8, generator=generator()), multi_prompt).any()


def test_a_row_does_not_depend_on_the_others():
    available = torch.rand(64, 4, generator=generator(1)) < 0.6
    uniform = torch.rand(64, generator=generator(2))
    alone = torch.cat([draw_subsets(available[i : i + 1], uniform[i : i + 1]) for i in range(64)])
    assert torch.equal(draw_subsets(available, uniform), alone)


def test_single_prompt_mode_draws_one_available_prompt_uniformly():
    chosen = draw([True, False, True, True], multi_prompt=False)
    assert (chosen.sum(1) == 1).all()
    share = chosen.float().mean(0)
    assert share[1] == 0 and torch.allclose(share[[0, 2, 3]], torch.full((3,), 1 / 3), atol=0.01)


def keep(*rows: list[int]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.bool)


def test_mean_is_the_weighted_mean_of_the_kept_embeddings():
    fused, p, q = fusion("mean"), encoding(3, 1), encoding(3, 2)
    kept = keep([1, 1], [1, 0], [0, 1])
    project = lambda x: fused.projection(x)[:, None]  # (B, 1, D)
    context, mask = fused({"p": p, "q": q}, kept)
    expected = torch.cat([(p.embeds[:1] + q.embeds[:1]) / 2, p.embeds[1:2], q.embeds[2:]])
    assert (
        torch.allclose(context, project(expected), atol=1e-6)
        and mask.all()
        and mask.shape == (3, 1)
    )
    weighted, _ = fused({"p": p, "q": q}, kept, {"p": 3.0, "q": 1.0})
    expected = torch.cat([0.75 * p.embeds[:1] + 0.25 * q.embeds[:1], p.embeds[1:2], q.embeds[2:]])
    assert torch.allclose(
        weighted, project(expected), atol=1e-6
    )  # alpha sums to 1 over what is kept


def test_tokens_are_the_prompts_side_by_side_with_their_type():
    fused, p, q = fusion("tokens"), encoding(2, 1), encoding(2, 2, tokens=4)
    q.mask[:, 2:] = False
    context, mask = fused({"p": p, "q": q}, keep([1, 1], [0, 1]))
    summary = fused.summaries["q"](q.embeds) + torch.tensor([[1.0], [0.0]]) * fused.summaries["p"](
        p.embeds
    )
    assert torch.allclose(context[:, 0], summary, atol=1e-6)
    count = p.tokens.shape[1]
    assert torch.allclose(
        context[:, 1 : 1 + count],
        fused.token_projections["p"](p.tokens) + fused.types["p"],
        atol=1e-6,
    )
    padded_q = [True, True, False, False]
    assert mask.tolist() == [
        [True] + [True] * count + padded_q,
        [True] + [False] * count + padded_q,
    ]


@pytest.mark.parametrize("kind", ["mean", "tokens"])
def test_nothing_kept_is_the_null_context(kind):
    fused, prompts = fusion(kind), {"p": encoding(2, 1), "q": encoding(2, 2)}
    for given in (prompts, {"p": prompts["p"]}, {}):
        context, mask = fused(given, keep([0, 0], [0, 0]))
        assert (mask.sum(1) == 1).all()
        assert torch.equal(context[mask], fused.null[0].expand(2, -1))


@pytest.mark.parametrize("grid_or_slots", ["grid", "slots"])
@pytest.mark.parametrize("kind", ["mean", "tokens"])
def test_an_absent_prompt_changes_nothing(kind, grid_or_slots):
    """Whatever stands in the rows of a prompt that is not kept (zeros, other numbers, no entry):
    same prediction."""
    model = diffusion(grid_or_slots, fused=kind)
    latents, steps = (
        normal(2, *((2, 4, 4) if grid_or_slots == "grid" else (3, 4))),
        torch.tensor([10.0, 700.0]),
    )
    p, kept = encoding(2, 1), keep([1, 0], [1, 0])
    garbage = PromptEncoding(
        normal(2, EMBED, seed=8) * 50, normal(2, 3, TOKEN, seed=9) * 50, encoding(2).mask
    )
    out = [
        model(latents, steps, model.context(prompts, kept))
        for prompts in ({"p": p}, {"p": p, "q": encoding(2, 2)}, {"p": p, "q": garbage})
    ]
    assert torch.allclose(out[0], out[1], atol=1e-5) and torch.allclose(out[1], out[2], atol=1e-5)
    with_q = model(
        latents, steps, model.context({"p": p, "q": encoding(2, 2)}, keep([1, 1], [1, 1]))
    )
    assert not torch.allclose(out[1], with_q, atol=1e-4)


def test_the_order_of_the_given_prompts_does_not_matter():
    fused, p, q = fusion("tokens"), encoding(1, 1), encoding(1, 2)
    one, other = (
        fused(prompts, keep([1, 0]))[0] for prompts in ({"p": p, "q": q}, {"q": q, "p": p})
    )
    assert torch.equal(one, other)


def test_the_null_context_is_learned_and_each_prompt_has_its_own_type():
    fused = fusion("tokens")
    context, mask = fused({"p": encoding(1, 1), "q": encoding(1, 1)}, keep([1, 1]))
    first, second = context[:, 1:].chunk(2, dim=1)
    assert not torch.allclose(first, second)  # equal values, other type and projection
    context, mask = fused({"p": encoding(1, 1)}, keep([0, 0]))
    (context * mask[..., None]).sum().backward()
    assert fused.null.grad.abs().sum() > 0 and not fused.types["p"].grad.any()


@pytest.mark.parametrize("grid_or_slots", ["grid", "slots"])
def test_one_pooled_token_is_position_independent_and_tokens_are_not(grid_or_slots):
    """Published fault 10: softmax over one key is 1 everywhere, so one pooled token gives every
    position the same."""
    torch.manual_seed(0)
    net = denoiser(grid_or_slots)
    attention = next(
        m for n, m in net.named_modules() if n.endswith(("attn2", "context_attention"))
    )
    hidden = normal(1, 16, attention.to_q.in_features, seed=3)  # 16 positions
    for kind, spread_at_least in (("mean", None), ("tokens", 1e-3)):
        fused = fusion(kind)
        context, mask = fused({"p": encoding(1, 1), "q": encoding(1, 2)}, keep([1, 1]))
        bias = mask[:, None, :].float().sub(1).mul(10_000) if grid_or_slots == "grid" else mask
        out = attention(hidden, context, bias).detach()  # (1, 16, W)
        spread = float(out.std(dim=1).max() / out.abs().max())
        assert spread < 1e-6 if spread_at_least is None else spread > spread_at_least


def test_user_errors_are_named():
    with pytest.raises(ValueError, match=r"fusion must be one of \('mean', 'tokens'\), got 'sum'"):
        PromptFusion("sum", {"p": TOKEN}, EMBED, 8)
    with pytest.raises(
        ValueError, match=r"\['self'\] cannot stand in the context; valid prompts: \['p', 'q'\]"
    ):
        fusion()({"self": encoding(1)}, keep([0, 0]))


def test_latents_of_a_prompt_reach_the_context_only_when_it_is_kept():
    torch.manual_seed(0)
    encoders = {"p": EnvironmentEncoder((3, 4), 16)}
    fusion = PromptFusion("tokens", {"p": TOKEN}, EMBED, 16, encoders)
    prompt, other = encoding(2), encoding(2)
    prompt.latents, other.latents = torch.zeros(2, 3, 4), torch.ones(2, 3, 4)
    keep = torch.tensor([[True], [False]])
    (context, mask), (changed, _) = fusion({"p": prompt}, keep), fusion({"p": other}, keep)
    assert context.shape[1] == 1 + prompt.tokens.shape[1] + 3
    seen = mask[:, :, None]
    assert not torch.equal((context * seen)[0], (changed * seen)[0])
    assert torch.equal((context * seen)[1], (changed * seen)[1])
    with pytest.raises(ValueError, match="prompt_latents needs fusion 'tokens'"):
        PromptFusion("mean", {"p": TOKEN}, EMBED, 16, encoders)


@pytest.mark.parametrize("kind", ["mean", "tokens"])
def test_half_precision(kind):
    """A pipeline with torch_dtype has weights and encodings of that type; so has the context."""
    fused, prompts, kept = (
        fusion(kind).to(torch.bfloat16),
        {"p": encoding(2, 1), "q": encoding(2, 2)},
        keep([1, 1], [0, 1]),
    )
    half = {
        n: e.map(lambda x: x if x.dtype == torch.bool else x.bfloat16()) for n, e in prompts.items()
    }
    context, mask = fused(half, kept)
    assert context.dtype == torch.bfloat16
    exact, whole = fusion(kind)(prompts, kept)
    assert torch.equal(mask, whole) and torch.allclose(context.float(), exact, atol=0.05)


def test_the_summary_adds_up_the_kept_prompts_and_is_null_without_any():
    fused, prompts = fusion(), {n: encoding(3, i) for i, n in enumerate("pq")}
    kept = torch.tensor([[True, False], [True, True], [False, False]])
    context, mask = fused(prompts, kept)
    each = {n: fused.summaries[n](prompts[n].embeds) for n in "pq"}
    expected = torch.stack([each["p"][0], each["p"][1] + each["q"][1], fused.null[0, 0]])
    torch.testing.assert_close(context[:, 0], expected)
    assert mask[:, 0].all() and not mask[2, 1:].any()
