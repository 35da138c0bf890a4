"""The joint sampler: guidance, schedulers, clean members, and rows that do not know each other."""

import copy

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    HeunDiscreteScheduler,
    UniPCMultistepScheduler,
)
from torch import nn

from medcodi.diffusion.joint import JointModel, Prompts
from medcodi.diffusion.ldm import Partners
from medcodi.diffusion.sampler import GuidedPrediction, joint_sample
from tests.networks import SHAPES, diffusion, encoding, environments, normal, objective, wake

BATCH, STEPS = 3, 4
GIVEN = {"p": torch.tensor([True, True, False]), "q": torch.tensor([True, False, False])}


def prompts(rows=slice(None), **changes) -> Prompts:
    values = {
        "encodings": {n: encoding(BATCH, i)[rows] for i, n in enumerate(GIVEN)},
        "given": {n: g[rows] for n, g in GIVEN.items()},
    }
    return Prompts(**(values | changes))


def noise(rows=slice(None)) -> dict[str, torch.Tensor]:
    return {
        name: normal(BATCH, *shape, seed=i)[rows] for i, (name, shape) in enumerate(SHAPES.items())
    }


@pytest.fixture(scope="module")
def models():
    """Coupled, with open coupling."""
    return {
        name: wake(diffusion(name, coupled=True, seed=i), seed=i) for i, name in enumerate(SHAPES)
    }


@pytest.fixture(scope="module")
def codes_of():
    return environments()


def sample(
    models,
    codes_of=None,
    given=None,
    guidance=1.0,
    names=tuple(SHAPES),
    kind="flow",
    rows=slice(None),
    schedulers=None,
    **kwargs,
):
    of_type = objective(kind)
    return joint_sample(
        JointModel({n: models[n] for n in names}, codes_of, of_type),
        schedulers or {n: of_type.scheduler() for n in names},
        {n: x for n, x in noise(rows).items() if n in names},
        given or prompts(rows),
        guidance if isinstance(guidance, dict) else dict.fromkeys(names, guidance),
        STEPS,
        **kwargs,
    )


def close(a, b, atol=1e-5) -> bool:
    return all(torch.allclose(a[n], b[n], atol=atol) for n in a)


def one_prediction(models, given, guidance, codes_of=None):
    latents, steps = {n: noise()[n] for n in models}, dict.fromkeys(models, torch.tensor(600.0))
    with torch.no_grad():
        joint = JointModel(models, codes_of, objective())
        return GuidedPrediction(joint, given, dict.fromkeys(models, guidance))(latents, steps)


def test_guidance_one_is_the_conditional_pass_and_zero_the_unconditional(models):
    keep = torch.stack(list(GIVEN.values()), 1)
    steps = torch.full((BATCH,), 600.0)
    for name, model in models.items():
        with torch.no_grad():
            prompted = model(noise()[name], steps, model.context(prompts().encodings, keep))
            null = model(noise()[name], steps, model.context({}, torch.zeros_like(keep)))
        assert torch.equal(one_prediction(models, prompts(), 1.0)[name], prompted)
        assert torch.allclose(one_prediction(models, prompts(), 0.0)[name], null, atol=1e-5)
        expected = null + 2.5 * (prompted - null)  # Ho and Salimans 2022
        assert torch.allclose(one_prediction(models, prompts(), 2.5)[name], expected, atol=1e-5)
        assert not torch.allclose(prompted[0], null[0], atol=1e-3)
        assert torch.allclose(prompted[2], null[2], atol=1e-5)  # row 2 has no prompt


def test_no_prompts_with_guidance_is_unconditional(models, codes_of):
    """Published fault 9: an empty prompt works, and so does guidance 1 without a prompt."""
    for environment in (None, codes_of):
        plain = sample(models, environment, Prompts(), 1.0)
        assert close(sample(models, environment, Prompts(), 4.0), plain)
        absent = prompts(given=dict.fromkeys(GIVEN, torch.zeros(BATCH, dtype=torch.bool)))
        assert close(sample(models, environment, absent, 4.0), plain, atol=1e-4)
        assert not close(sample(models, environment, prompts(), 4.0), plain, atol=1e-2)


def test_without_a_prompt_there_is_no_second_pass(models):
    rows = []
    handles = [
        m.register_forward_pre_hook(lambda _m, args: rows.append(len(args[0])))
        for m in models.values()
    ]
    for given in (Prompts(), prompts()):
        one_prediction(models, given, 4.0)
    for handle in handles:
        handle.remove()
    assert rows == [BATCH, BATCH, 2 * BATCH, 2 * BATCH]


def test_every_output_has_its_own_guidance(models):
    both = sample(models, guidance={"grid": 1.0, "slots": 3.0})
    assert torch.allclose(both["grid"], sample(models, guidance=1.0)["grid"], atol=1e-4)
    assert torch.allclose(both["slots"], sample(models, guidance=3.0)["slots"], atol=1e-5)
    assert not torch.allclose(both["slots"], sample(models, guidance=1.0)["slots"], atol=1e-2)


def test_joint_generation_of_one_output_is_single_generation(models, codes_of):
    for name in SHAPES:
        alone = sample(models, codes_of, names=(name,))
        assert torch.equal(alone[name], sample(models, None, names=(name,))[name])
        assert torch.allclose(
            alone[name], sample(models, None)[name], atol=1e-6
        )  # side by side, not coupled
        assert not torch.allclose(alone[name], sample(models, codes_of)[name], atol=1e-3)


def test_new_coupling_samples_as_independent_generation_does(codes_of):
    fresh = {name: diffusion(name, coupled=True, seed=i) for i, name in enumerate(SHAPES)}
    together, apart = sample(fresh, codes_of, guidance=2.0), sample(fresh, None, guidance=2.0)
    assert all(torch.equal(together[n], apart[n]) for n in SHAPES)


def test_coupling_scale_leads_away_from_the_pass_without_partners(models, codes_of):
    latents, steps = noise(), dict.fromkeys(models, torch.tensor(600.0))

    def predict(scale, codes=codes_of, names=tuple(SHAPES), guidance=1.0, interval=(0, 1)):
        joint = JointModel({n: models[n] for n in names}, codes, objective("flow"))
        by_name = [dict.fromkeys(names, value) for value in (guidance, scale, interval)]
        predict = GuidedPrediction(joint, prompts(), by_name[0], None, None, *by_name[1:])
        with torch.no_grad():
            return predict({n: latents[n] for n in names}, {n: steps[n] for n in names})

    together, apart = predict(1.0), predict(1.0, None)
    for scale in (0.0, 3.0):
        for name, found in predict(scale).items():
            expected = apart[name] + scale * (together[name] - apart[name])
            assert torch.allclose(found, expected, atol=1e-5)
    assert not close(together, apart, atol=1e-3)
    # beside guidance by prompts
    guided, both = predict(1.0, guidance=2.5), predict(3.0, guidance=2.5)
    for name in SHAPES:
        expected = guided[name] + 2 * (together[name] - apart[name])
        assert torch.allclose(both[name], expected, atol=1e-5)
    # at the noise levels of its interval alone; t = 600 of 1,000 is level .6 of a flow
    for levels, expected in (((0.0, 0.5), together), ((0.5, 0.9), predict(3.0))):
        assert close(predict(3.0, interval=levels), expected)
    # nothing to follow: generated alone, or not coupled
    assert close(predict(3.0, None), apart, atol=0)
    for name in SHAPES:
        alone = predict(3.0, names=(name,))
        assert torch.equal(alone[name], predict(1.0, names=(name,))[name])


def test_coupling_scale_leaves_given_values_as_they_are(models, codes_of):
    """What a clean member tells is no part of what outputs tell each other."""
    members = nn.ModuleDict({**codes_of, "r": codes_of["slots"]})
    here = {"r": torch.ones(BATCH, dtype=torch.bool)}
    given = prompts(clean={"r": noise()["slots"] + 1.0}, given=GIVEN | here)

    def predict(scale, names=tuple(SHAPES)):
        joint = JointModel({n: models[n] for n in names}, members, objective())
        scales = [dict.fromkeys(names, value) for value in (1.0, scale)]
        predict = GuidedPrediction(joint, given, scales[0], coupling_scale=scales[1])
        steps = dict.fromkeys(names, torch.tensor(600.0))
        with torch.no_grad():
            return predict({n: noise()[n] for n in names}, steps)

    together, stronger = predict(1.0), predict(3.0)
    for name in SHAPES:
        alone = predict(1.0, (name,))[name]  # with the given value, without the other output
        assert not torch.allclose(together[name], alone, atol=1e-3)
        expected = together[name] + 2 * (together[name] - alone)
        assert torch.allclose(stronger[name], expected, atol=1e-5)


SWAPS = [
    ("epsilon", c) for c in (DDIMScheduler, DPMSolverMultistepScheduler, UniPCMultistepScheduler)
]
SWAPS += [("v_prediction", c) for _, c in SWAPS] + [("flow", FlowMatchEulerDiscreteScheduler)]


@pytest.mark.parametrize(("kind", "scheduler"), SWAPS, ids=lambda x: getattr(x, "__name__", x))
def test_schedulers_swap(models, codes_of, kind, scheduler):
    """Each takes the config of the default, one instance an output, on the same trajectory."""
    of_type = objective(kind)
    built = {n: scheduler.from_config(of_type.scheduler().config) for n in SHAPES}
    out = sample(models, codes_of, kind=kind, schedulers=built)
    assert all(torch.isfinite(x).all() and x.std() > 0 for x in out.values())
    default = sample(models, codes_of, kind=kind)
    assert close(out, default) == (type(of_type.scheduler()) is scheduler)
    mixed = sample(
        models,
        codes_of,
        kind=kind,
        schedulers={"grid": built["grid"], "slots": of_type.scheduler()},
    )
    assert all(torch.isfinite(x).all() for x in mixed.values())


def test_a_used_scheduler_can_be_used_again(models):
    schedulers = {
        n: UniPCMultistepScheduler.from_config(objective("epsilon").scheduler().config)
        for n in SHAPES
    }
    first = sample(models, kind="epsilon", schedulers=schedulers)
    assert close(sample(models, kind="epsilon", schedulers=schedulers), first)


def test_outputs_must_step_together(models):
    default = objective("epsilon").scheduler()
    schedulers = {"grid": default, "slots": HeunDiscreteScheduler.from_config(default.config)}
    with pytest.raises(
        ValueError, match=r"must step together, .* take \{'grid': 4, 'slots': 7\} steps"
    ):
        sample(models, kind="epsilon", schedulers=schedulers)


def test_clean_members_condition_with_their_latent(models, codes_of):
    """A given value conditions through the coupling; its latent matters where the row has it, and
    only there."""
    given = {
        "clean": {"slots": noise()["slots"]},
        "given": GIVEN | {"slots": torch.tensor([True, False, True])},
    }
    changed = given | {"clean": {"slots": noise()["slots"] + 1.0}}
    out, other = (
        sample(models, codes_of, prompts(**c), names=("grid",))["grid"] for c in (given, changed)
    )
    difference = (out - other).abs().flatten(1).amax(1)
    assert difference[0] > 1e-3 and difference[2] > 1e-3 and difference[1] < 1e-5
    assert torch.allclose(out[1], sample(models, None, names=("grid",))["grid"][1], atol=1e-5)
    closed = {"grid": diffusion("grid", coupled=True)}
    out, other = (
        sample(closed, codes_of, prompts(**c), names=("grid",))["grid"] for c in (given, changed)
    )
    assert torch.equal(out, other)


def test_clean_members_are_encoded_at_noise_level_zero(models, codes_of):
    clean, here = noise()["slots"], torch.ones(BATCH, dtype=torch.bool)
    given = prompts(clean={"slots": clean}, given=GIVEN | {"slots": here})
    with torch.no_grad():
        tokens = codes_of["slots"](clean, torch.zeros(BATCH))
        keep, mask = (
            torch.stack(list(GIVEN.values()), 1),
            torch.ones(tokens.shape[:2], dtype=torch.bool),
        )
        context = models["grid"].context(given.encodings, keep)
        told = Partners(tokens, torch.zeros_like(mask), mask)
        expected = models["grid"](noise()["grid"], torch.full((BATCH,), 600.0), context, told)
    assert torch.allclose(
        one_prediction({"grid": models["grid"]}, given, 1.0, codes_of)["grid"], expected, atol=1e-6
    )


def test_clean_members_are_encoded_once(models, codes_of):
    """Not at every step: noise level 0 stays, and a step sees what one prediction alone sees."""
    levels = []
    handle = codes_of["slots"].register_forward_pre_hook(
        lambda _module, args: levels.append(float(args[1].max()))
    )
    given = prompts(
        clean={"slots": noise()["slots"]},
        given=GIVEN | {"slots": torch.tensor([True, False, True])},
    )
    sampled = sample(models, codes_of, given, 2.0, ("grid",))["grid"]
    assert levels == [0.0]
    scheduler, latents = objective().scheduler(), noise()["grid"]
    scheduler.set_timesteps(STEPS)
    for step in scheduler.timesteps:
        with torch.no_grad():
            joint = JointModel({"grid": models["grid"]}, codes_of, objective())
            out = GuidedPrediction(joint, given, {"grid": 2.0})({"grid": latents}, {"grid": step})
        latents = scheduler.step(out["grid"], step, latents).prev_sample
    handle.remove()
    assert torch.equal(sampled, latents)


def test_the_null_pass_of_guidance_does_not_see_clean_members(models, codes_of):
    single = {"grid": models["grid"]}
    given = prompts(
        clean={"slots": noise()["slots"]},
        given=GIVEN | {"slots": torch.ones(BATCH, dtype=torch.bool)},
    )
    null = one_prediction(single, given, 0.0, codes_of)["grid"]
    assert torch.allclose(null, one_prediction(single, Prompts(), 1.0)["grid"], atol=1e-5)
    prompted = one_prediction(single, given, 1.0, codes_of)["grid"]
    assert not torch.allclose(
        prompted, one_prediction(single, given, 1.0)["grid"], atol=1e-3
    )  # the prompt pass does


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_a_row_does_not_depend_on_its_batch(models, codes_of, guidance):
    present = torch.tensor([True, False, True])
    with_clean = lambda rows: prompts(
        rows,
        given={n: g[rows] for n, g in GIVEN.items()} | {"slots": present[rows]},
        clean={"slots": noise()["slots"][rows]},
    )
    for names, given in ((tuple(SHAPES), prompts), (("grid",), with_clean)):
        together = sample(models, codes_of, given(slice(None)), guidance, names)
        for row in range(BATCH):
            rows = slice(row, row + 1)
            alone = sample(models, codes_of, given(rows), guidance, names, rows=rows)
            assert close(alone, {n: x[rows] for n, x in together.items()}, atol=1e-4)


def test_the_callback_sees_every_step_and_may_change_latents(models):
    seen = []
    plain = sample(models)
    assert close(sample(models, callback=lambda step, latents: seen.append(step)), plain)
    assert seen == list(range(STEPS))
    zeroed = sample(
        models,
        callback=lambda step, x: {n: v * 0 for n, v in x.items()} if step == STEPS - 1 else None,
    )
    assert all(not x.any() for x in zeroed.values())


def test_inputs_are_not_changed(models, codes_of):
    given, start = prompts(), noise()
    before, start_before = copy.deepcopy(given), copy.deepcopy(start)
    of_type = objective()
    joint_sample(
        JointModel(models, codes_of, of_type),
        {n: of_type.scheduler() for n in SHAPES},
        start,
        given,
        dict.fromkeys(SHAPES, 2.0),
        STEPS,
    )
    assert close(start, start_before, atol=0)
    assert all(torch.equal(given.encodings[n].tokens, before.encodings[n].tokens) for n in GIVEN)
    assert all(torch.equal(given.given[n], before.given[n]) for n in GIVEN)


def test_guidance_outside_its_interval_is_the_prompt_pass(models):
    """The interval of everything changes nothing; one that no step falls into equals guidance 1,
    without the null pass."""
    everywhere, nowhere = dict.fromkeys(SHAPES, (0.0, 1.0)), dict.fromkeys(SHAPES, (0.8, 0.9))
    guided, plain = sample(models, guidance=3.0), sample(models, guidance=1.0)
    assert not close(guided, plain, atol=1e-2)
    assert close(sample(models, guidance=3.0, guidance_interval=everywhere), guided, atol=0)
    assert close(sample(models, guidance=3.0, guidance_interval=nowhere), plain, atol=0)
    rows = []
    handle = models["grid"].register_forward_pre_hook(
        lambda module, args: rows.append(len(args[0]))
    )
    half = sample(models, guidance=3.0, guidance_interval=dict.fromkeys(SHAPES, (0.3, 0.9)))
    handle.remove()
    # flow steps at noise levels 1, .667, .334, .001: two of four are guided
    assert rows == [BATCH, 2 * BATCH, 2 * BATCH, BATCH]
    assert not close(half, guided, atol=1e-3) and not close(half, plain, atol=1e-3)


def test_an_interval_of_one_output_leaves_the_others_guided(models):
    guided, plain = sample(models, guidance=3.0), sample(models, guidance=1.0)
    mixed = sample(models, guidance=3.0, guidance_interval={"grid": [0.8, 0.9]})
    assert torch.allclose(mixed["grid"], plain["grid"], atol=1e-5)
    assert torch.allclose(mixed["slots"], guided["slots"], atol=1e-5)


@pytest.mark.parametrize("interval", [[0.5, 0.5], [0.2, 1.1], [-0.1, 0.5], [0.5]])
def test_a_guidance_interval_that_is_none_is_refused(models, interval):
    with pytest.raises(ValueError, match="guidance_interval of 'grid' must be"):
        sample(models, guidance=3.0, guidance_interval={"grid": interval})
