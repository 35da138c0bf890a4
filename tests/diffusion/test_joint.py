"""One joint step: who sees whom, at which noise level, and that outputs alone see nobody."""

import pytest
import torch

from medcodi.diffusion.joint import JointModel, JointState, Prompts
from tests.networks import SHAPES, diffusion, encoding, environments, normal, objective, wake

CPU = torch.device("cpu")


def joint(coupled: bool = True, opened: bool = True, names=tuple(SHAPES)) -> JointModel:
    models = {n: diffusion(n, coupled=True, seed=i) for i, n in enumerate(names)}
    if opened:
        models = {n: wake(m, seed=i) for i, (n, m) in enumerate(models.items())}
    return JointModel(models, environments() if coupled else None, objective())


def noisy(model: JointModel, rows: int = 2) -> dict[str, JointState]:
    times = torch.full((rows,), 600.0)
    return {n: model.noisy_state(normal(rows, *SHAPES[n]), times) for n in model.diffusions}


@pytest.mark.parametrize("opened", [False, True])
def test_joint_generation_is_joint(opened):
    """d(out_a)/d(x_b) is not zero with trained coupling, exactly zero with a new one, and there is
    none at all without environment encoders."""
    for coupled in (True, False):
        model = joint(coupled, opened)
        states = noisy(model)
        for state in states.values():
            state.latents.requires_grad_(True)
        out = model(states, model.contexts(Prompts(), 2, CPU))
        for a, b in (("grid", "slots"), ("slots", "grid")):
            (gradient,) = torch.autograd.grad(
                out[a].square().sum(), states[b].latents, retain_graph=True, allow_unused=True
            )
            if not coupled:
                assert gradient is None
            elif opened:
                assert (gradient.flatten(1).abs().sum(1) > 1e-4).all()
            else:
                assert not gradient.any()


def test_an_output_is_told_of_the_others_only():
    row = torch.tensor([True, True, False])
    states = {
        n: JointState(torch.zeros(3, 1), torch.zeros(3), torch.zeros(3), here, clean)
        for n, here, clean in (
            ("a", row, ~row),
            ("b", row & torch.tensor([True, False, True]), torch.zeros(3, dtype=torch.bool)),
            ("c", torch.zeros(3, dtype=torch.bool), row),
        )
    }
    codes = {n: torch.full((3, k, 2), float(k)) for n, k in (("a", 1), ("b", 2), ("c", 3))}
    models = dict.fromkeys(states, diffusion("grid"))
    told = JointModel(models, environments(), objective()).partners(states, {}, codes)
    expected = {"a": [2, 2, 3, 3, 3], "b": [1, 3, 3, 3], "c": [1, 2, 2]}
    assert {n: p.tokens[0, :, 0].tolist() for n, p in told.items()} == expected
    assert told["a"].noisy.tolist() == [[True] * 2 + [False] * 3, [False] * 5, [False] * 5]
    assert told["a"].clean.tolist() == [[False] * 2 + [True] * 3] * 2 + [[False] * 5]
    assert told["b"].mask[2].tolist() == [True, False, False, False]  # a is given in row 2
    rows = told["b"][torch.tensor([2, 0])]
    assert torch.equal(rows.mask, told["b"].mask[[2, 0]]) and rows.innovation is None


def test_one_output_alone_is_told_nothing():
    model = joint(names=("grid",))
    assert model.partners(noisy(model), {}) == {}


def test_given_values_are_members_at_noise_level_zero():
    given = torch.tensor([True, False])
    clean = normal(2, *SHAPES["slots"])
    model = joint(names=("grid",))
    states = model.clean_states(Prompts(given={"slots": given}, clean={"slots": clean}))
    assert not states["slots"].noise_level.any() and torch.equal(states["slots"].present, given)
    code = model.codes(states)["slots"]
    assert torch.equal(code, model.environments["slots"](clean, torch.zeros(2)))
    told = model.partners(noisy(model) | states, {})["grid"]
    assert torch.equal(told.tokens, code) and torch.equal(told.mask[:, 0], given)


def test_a_context_with_null_holds_both_passes():
    model, given = joint(), torch.tensor([True, False])
    prompts = Prompts({"p": encoding(2)}, {"p": given})
    single, double = (model.contexts(prompts, 2, CPU, null) for null in (None, Prompts()))
    for name, context in double.items():
        torch.testing.assert_close(context.tokens[2:], single[name].tokens)
        assert torch.equal(context.mask[2:], single[name].mask)
        assert not context.mask[:2, 1:].any() and context.mask[:, 0].all()
