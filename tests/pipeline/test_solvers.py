"""Every scheduler class of the installed diffusers, on a model whose samples are known in closed
form.

z_0 ~ N(MEAN, STD^2), so that E[z_0 | z_t] and with it the perfect prediction is known, and the
samples must have MEAN and STD. Legend: B samples.
"""

import functools
import inspect

import diffusers
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    LTXEulerAncestralRFScheduler,
    PNDMScheduler,
    SASolverScheduler,
    SchedulerMixin,
    UniPCMultistepScheduler,
)

from medcodi.pipeline.solvers import OF_BETAS, OF_FLOW, REFUSED, Solver, fit_scheduler
from tests.networks import objective

MEAN, STD, STEPS = 1.5, 0.5, 200


def scheduler_classes() -> list[type[SchedulerMixin]]:
    """Those that the installed packages can build; the others want one that is not here."""
    named = [getattr(diffusers, n) for n in sorted(dir(diffusers)) if n.endswith("Scheduler")]
    return [c for c in named if isinstance(c, type) and issubclass(c, SchedulerMixin)]


@functools.cache
def of_kind(kind):
    return objective(kind)


def perfect_prediction(kind, z_t, timestep):
    """What a network that knows the data would predict."""
    alpha, sigma = (float(x) for x in of_kind(kind).alpha_sigma(timestep.reshape(1)))
    z_t = z_t.double()
    gain = alpha * STD**2 / (alpha**2 * STD**2 + sigma**2)
    z_0 = MEAN + gain * (z_t - alpha * MEAN)
    noise = (z_t - alpha * z_0) / max(sigma, 1e-8)
    target = {"epsilon": noise, "v_prediction": alpha * noise - sigma * z_0, "flow": noise - z_0}
    return target[kind].float()


def sample(kind, scheduler, seeds=range(8), steps=STEPS, eta=0.0):
    """(B, 2, 16, 16) samples."""
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    noise = torch.stack([torch.randn(2, 16, 16, generator=g) for g in generators])
    solver = Solver(fit_scheduler(scheduler, of_kind(kind).scheduler()), steps, generators, eta)
    latents = solver.start(noise)
    for timestep in solver.timesteps:
        known = solver.model_input(latents, timestep)
        latents = solver.step(perfect_prediction(kind, known, timestep), timestep, latents)
    return latents


def swapped(scheduler_class, kind, **options):
    """As users swap: the new class takes the config of the old scheduler."""
    return scheduler_class.from_config(of_kind(kind).scheduler().config, **options)


def assert_right(samples):
    assert abs(samples.mean() - MEAN) < 0.05 * MEAN
    assert abs(samples.std() - STD) < 0.05 * STD


@pytest.mark.parametrize(
    "kind", ["epsilon", pytest.param("v_prediction", marks=pytest.mark.slow), "flow"]
)
@pytest.mark.parametrize("scheduler_class", scheduler_classes(), ids=lambda c: c.__name__)
def test_every_scheduler_samples_right_or_is_refused(scheduler_class, kind):
    follows = OF_FLOW if kind == "flow" else OF_BETAS
    required = [
        name
        for name, p in inspect.signature(scheduler_class.__init__).parameters.items()
        if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD and name != "self"
    ]
    if required:
        assert scheduler_class.__name__ in REFUSED
        return
    try:
        scheduler = swapped(scheduler_class, kind)
    except ValueError:  # the class itself refuses this noise schedule
        assert scheduler_class.__name__ in REFUSED
        return
    if scheduler_class.__name__ in follows:
        assert_right(sample(kind, scheduler))
    else:
        with pytest.raises(ValueError, match=f"{scheduler_class.__name__} cannot sample from"):
            sample(kind, scheduler)


def test_the_tables_know_every_class():
    names = {c.__name__ for c in scheduler_classes()}
    assert names <= {*OF_BETAS, *OF_FLOW, *REFUSED}
    assert not set(REFUSED) & {*OF_BETAS, *OF_FLOW}
    assert {*OF_BETAS, *OF_FLOW} <= names


@pytest.mark.parametrize(
    ("kind", "scheduler_class", "options"),
    [
        ("epsilon", DDPMScheduler, {}),  # by default it clips to [-1, 1]
        ("epsilon", UniPCMultistepScheduler, {"beta_start": 0.1, "beta_end": 0.2}),
        ("v_prediction", EulerDiscreteScheduler, {"timestep_type": "continuous"}),
        ("v_prediction", DPMSolverMultistepScheduler, {"prediction_type": "sample"}),
        ("flow", UniPCMultistepScheduler, {"num_train_timesteps": 500}),
        ("epsilon", DDIMScheduler, {"rescale_betas_zero_snr": True}),
    ],
)
def test_a_fresh_scheduler_gets_what_the_training_fixed(kind, scheduler_class, options, caplog):
    """Built from nothing, with another schedule: options that contradict the model are named."""
    assert_right(sample(kind, scheduler_class(**options)))
    assert [key for key in options if f": {key} is" in caplog.text] == list(options)


@pytest.mark.parametrize(
    ("kind", "scheduler_class", "options", "match"),
    [
        ("flow", UniPCMultistepScheduler, {"use_karras_sigmas": True}, "need flow sigmas"),
        ("flow", FlowMatchEulerDiscreteScheduler, {"stochastic_sampling": True}, "narrows samples"),
        ("flow", FlowMatchEulerDiscreteScheduler, {"invert_sigmas": True}, "to its noise"),
        ("flow", FlowMatchEulerDiscreteScheduler, {"use_dynamic_shifting": True}, "the shift of"),
        ("epsilon", DDPMScheduler, {"variance_type": "learned_range"}, "predicts no variance"),
    ],
)
def test_an_option_that_the_model_cannot_follow_is_refused(kind, scheduler_class, options, match):
    with pytest.raises(ValueError, match=rf"{scheduler_class.__name__} with .*{match}"):
        sample(kind, swapped(scheduler_class, kind, **options))


def test_options_of_the_way_stay():
    scheduler = swapped(DPMSolverMultistepScheduler, "v_prediction", use_karras_sigmas=True)
    fitted = fit_scheduler(scheduler, of_kind("v_prediction").scheduler())
    assert fitted.config.use_karras_sigmas and fitted is not scheduler
    assert_right(sample("v_prediction", scheduler))


def test_the_shift_is_the_models_unless_it_is_given():
    reference = FlowMatchEulerDiscreteScheduler(shift=3.0)
    for fresh, key in (
        (UniPCMultistepScheduler.from_config(reference.config), "flow_shift"),
        (UniPCMultistepScheduler(), "flow_shift"),
        (FlowMatchEulerDiscreteScheduler(), "shift"),
    ):
        assert fit_scheduler(fresh, reference).config[key] == 3.0
    given = UniPCMultistepScheduler(flow_shift=2.0)
    assert fit_scheduler(given, reference).config.flow_shift == 2.0


def test_a_subclass_counts_as_what_it_is():
    class Mine(UniPCMultistepScheduler):
        pass

    fitted = fit_scheduler(Mine(), of_kind("flow").scheduler())
    assert type(fitted) is Mine and fitted.config.use_flow_sigmas
    with pytest.raises(ValueError, match="expected a diffusers scheduler, got str"):
        fit_scheduler("unipc", of_kind("flow").scheduler())


STOCHASTIC = [
    ("epsilon", DDPMScheduler, {}, 0.0),
    ("v_prediction", EulerAncestralDiscreteScheduler, {}, 0.0),
    ("v_prediction", DDIMScheduler, {}, 1.0),
    ("epsilon", DPMSolverMultistepScheduler, {"algorithm_type": "sde-dpmsolver++"}, 0.0),
    ("flow", DPMSolverMultistepScheduler, {"algorithm_type": "sde-dpmsolver++"}, 0.0),
    ("flow", SASolverScheduler, {}, 0.0),
    ("flow", LTXEulerAncestralRFScheduler, {}, 0.0),
]


@pytest.mark.parametrize(("kind", "scheduler_class", "options", "eta"), STOCHASTIC)
def test_noise_belongs_to_a_sample_and_not_to_its_batch(kind, scheduler_class, options, eta):
    """Sample i comes out equal to the bit, alone and among others; and noise is really drawn."""
    scheduler = swapped(scheduler_class, kind, **options)
    whole = sample(kind, scheduler, range(6), 10, eta)
    for seeds in ([0], [4], [5, 3], [2, 1, 0, 4]):
        part = sample(kind, scheduler, seeds, 10, eta)
        assert torch.equal(part, whole[seeds])
    torch.manual_seed(1)
    assert torch.equal(sample(kind, scheduler, range(6), 10, eta), whole)
    assert not torch.equal(sample(kind, scheduler, [6], 10, eta), whole[:1])


def test_eta_is_refused_where_it_does_nothing():
    with pytest.raises(ValueError, match=r"eta is an option of DDIM schedulers; UniPC.* has none"):
        sample("epsilon", UniPCMultistepScheduler(), eta=0.5)


@pytest.mark.parametrize("scheduler_class", [DDIMScheduler, PNDMScheduler])
def test_steps_that_stop_far_from_the_end_are_refused(scheduler_class):
    """DDIM walks 1000 // 600 = 1 timestep 600 times: samples of another distribution."""
    scheduler = swapped(scheduler_class, "epsilon")
    for steps, near in ((150, "142 or 159"), (600, "500 or 950")):
        with pytest.raises(ValueError, match=f"{steps} steps of .* Take {near} steps"):
            sample("epsilon", scheduler, steps=steps)
    assert_right(sample("epsilon", scheduler, range(2), steps=83))
    with pytest.raises(ValueError, match="at most the 1000 timesteps of the training, got 1001"):
        sample("epsilon", scheduler, steps=1001)
