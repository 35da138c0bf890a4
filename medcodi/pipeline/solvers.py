"""Schedulers for a call: any diffusers scheduler that can follow the model is made to fit it, any
other is refused.

A diffusers scheduler takes over what it knows of another one's config and fills the rest with
defaults. For a flow model that gives the noise schedule and the prediction type of another kind of
model, and garbage without an error. Therefore a call never uses a scheduler as it was given:
`fit_scheduler` says what the model needs, and raises where a class cannot do it.

tests/pipeline/test_solvers.py runs every scheduler class of the installed diffusers on a model
whose samples are known in closed form.
"""

import copy
import inspect
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    SchedulerMixin,
    UniPCMultistepScheduler,
)

from medcodi.config_io import unknown_key

logger = logging.getLogger(__name__)

# Class -> what it needs besides the model's noise schedule and prediction type.
OF_BETAS: dict[str, dict[str, Any]] = {
    "CogVideoXDDIMScheduler": {"snr_shift_scale": 1.0},
    "DDIMParallelScheduler": {},
    "DDIMScheduler": {},
    "DDPMParallelScheduler": {},
    "DDPMScheduler": {},
    "DEISMultistepScheduler": {},
    "DPMSolverMultistepScheduler": {},
    "DPMSolverSinglestepScheduler": {},
    "EulerAncestralDiscreteScheduler": {},
    "EulerDiscreteScheduler": {"timestep_type": "discrete"},
    "HeunDiscreteScheduler": {},
    "KDPM2AncestralDiscreteScheduler": {},
    "KDPM2DiscreteScheduler": {},
    "LMSDiscreteScheduler": {},
    "PNDMScheduler": {},
    "SASolverScheduler": {},
    "UniPCMultistepScheduler": {},
}
FLOW_SIGMAS = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}
OF_FLOW: dict[str, dict[str, Any]] = {
    "DEISMultistepScheduler": FLOW_SIGMAS,
    "DPMSolverMultistepScheduler": FLOW_SIGMAS,
    "DPMSolverSinglestepScheduler": FLOW_SIGMAS,
    "FlowMapEulerDiscreteScheduler": {},
    "FlowMatchEulerDiscreteScheduler": {},
    "FlowMatchHeunDiscreteScheduler": {},
    "LTXEulerAncestralRFScheduler": {},
    "SASolverScheduler": FLOW_SIGMAS,
    "UniPCMultistepScheduler": FLOW_SIGMAS,
}
DISTILLED = "it is for models that were distilled into a few large steps"
OWN_SCHEDULE = "it has a noise schedule of its own, which this model was not trained with"
DISCRETE = "it is for tokens, not for latents"
INVERSE = "it runs from a sample to its noise"
REFUSED = {
    "AmusedScheduler": DISCRETE,
    "BlockRefinementScheduler": DISCRETE,
    "CMStochasticIterativeScheduler": DISTILLED,
    "CogVideoXDPMScheduler": "its step wants predictions of two steps",
    "CosineDPMSolverMultistepScheduler": OWN_SCHEDULE,
    "DDIMInverseScheduler": INVERSE,
    "DDPMWuerstchenScheduler": OWN_SCHEDULE,
    "DPMSolverMultistepInverseScheduler": INVERSE,
    "DPMSolverSDEScheduler": "its noise does not come from a generator: seeds could not repeat it",
    "DiscreteDDIMScheduler": DISCRETE,
    "EDMDPMSolverMultistepScheduler": OWN_SCHEDULE,
    "EDMEulerScheduler": OWN_SCHEDULE,
    "EntropyBoundScheduler": DISCRETE,
    "FlowMatchLCMScheduler": DISTILLED,
    "HeliosDMDScheduler": DISTILLED,
    "HeliosScheduler": OWN_SCHEDULE,
    "IPNDMScheduler": OWN_SCHEDULE,
    "KarrasVeScheduler": OWN_SCHEDULE,
    "LCMScheduler": DISTILLED,
    "MiniMaxH3Scheduler": OWN_SCHEDULE,
    "PiflowScheduler": DISTILLED,
    "RFD4ProteinaScheduler": OWN_SCHEDULE,
    "RePaintScheduler": "its step wants an image and a mask",
    "SCMScheduler": DISTILLED,
    "ScoreSdeVeScheduler": OWN_SCHEDULE,
    "TCDScheduler": DISTILLED,
    "UnCLIPScheduler": OWN_SCHEDULE,
    "VQDiffusionScheduler": DISCRETE,
}
# What the training fixed, and what is wrong for latents, which have no bounds.
NOISE_SCHEDULE = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule")
FIXED = {
    "trained_betas": None,
    "rescale_betas_zero_snr": False,
    "clip_sample": False,
    "thresholding": False,
}
# Sigmas that are not those of a flow; FlowMatch schedulers reshape their own flow sigmas by them.
OTHER_SIGMAS = (
    "use_karras_sigmas",
    "use_exponential_sigmas",
    "use_beta_sigmas",
    "use_lu_lambdas",
)
CANNOT: dict[str, tuple[Any, str]] = {  # option -> the value that is refused, why
    "stochastic_sampling": (True, "it renews all of the noise in every step and narrows samples"),
    "invert_sigmas": (True, "it runs from a sample to its noise"),
    "use_dynamic_shifting": (True, "the shift of this model does not depend on the resolution"),
    "variance_type": ("learned", "this model predicts no variance"),
}

# They walk 1000 // num_inference_steps timesteps a step, whatever the distance to the next one.
WHOLE_STEPS = (
    "CogVideoXDDIMScheduler",
    "DDIMParallelScheduler",
    "DDIMScheduler",
    "PNDMScheduler",
)
LEAST_COVER = 0.95  # share of the timesteps that they must cover; below it samples drift

SOLVERS: dict[str, tuple[type[SchedulerMixin], dict[str, Any]]] = {
    "ddim": (DDIMScheduler, {"set_alpha_to_one": False}),  # Song et al. 2021
    "euler": (FlowMatchEulerDiscreteScheduler, {}),
    # Lu et al. 2022
    "dpm++": (DPMSolverMultistepScheduler, {"algorithm_type": "dpmsolver++", "solver_order": 2}),
    "unipc": (UniPCMultistepScheduler, {"solver_order": 2}),  # Zhao et al. 2023
}


def build_solver(name: str, reference: SchedulerMixin) -> SchedulerMixin:
    """The solver `name` for the model whose scheduler is `reference`.

    Raises ValueError for an unknown name, and for "ddim" of a flow model or "euler" of another one.
    """
    if name not in SOLVERS:
        raise unknown_key(name, SOLVERS, "the solvers")
    scheduler_class, options = SOLVERS[name]
    if scheduler_class.__name__ not in followers(reference):
        default = "euler" if is_flow(reference) else "ddim"
        raise ValueError(
            f"solver {name!r} does not suit this model's prediction; take {default!r}, dpm++ or "
            "unipc"
        )
    return fit_scheduler(scheduler_class.from_config(reference.config, **options), reference)


def is_flow(scheduler: SchedulerMixin) -> bool:
    """Whether a scheduler integrates flow velocities."""
    config = scheduler.config
    return "base_shift" in config or bool(config.get("use_flow_sigmas", False))


def followers(reference: SchedulerMixin) -> dict[str, dict[str, Any]]:
    """Classes that can follow the model of `reference`, with what they need."""
    return OF_FLOW if is_flow(reference) else OF_BETAS


def fit_scheduler(scheduler: SchedulerMixin, reference: SchedulerMixin) -> SchedulerMixin:
    """A copy of `scheduler` that follows the model whose own scheduler is `reference`: noise
    schedule, prediction type and, where it was left at its default, shift are those of the model.

    Options that change how the way is walked (order, spacing, Karras sigmas, shift) stay. An option
    that was given and contradicts the model is replaced with a warning. Raises ValueError for a
    class or an option that cannot follow the model.
    """
    name, options = _known(scheduler, reference)
    _refuse_options(scheduler, name, options)
    arguments = inspect.signature(type(scheduler).__init__).parameters
    needed = {key: reference.config[key] for key in NOISE_SCHEDULE if key in reference.config}
    needed |= FIXED | {"prediction_type": reference.config.get("prediction_type")} | options
    needed = {key: value for key, value in needed.items() if key in arguments}
    defaults = scheduler.config.get("_use_default_values", ())
    shift = reference.config.get("flow_shift", reference.config.get("shift", 1.0))
    needed |= {
        key: shift for key in ("flow_shift", "shift") if key in arguments and key in defaults
    }
    changed = {
        k: v for k, v in needed.items() if scheduler.config.get(k, arguments[k].default) != v
    }
    for key in changed:
        if key in scheduler.config and key not in defaults:
            logger.warning(
                "%s: %s is %r, but this model needs %r, which is used",
                *(name, key, scheduler.config[key], changed[key]),
            )
    if not changed:
        return copy.deepcopy(scheduler)
    known = {key: value for key, value in scheduler.config.items() if key in arguments}
    return type(scheduler).from_config(known | changed)


def _known(scheduler: SchedulerMixin, reference: SchedulerMixin) -> tuple[str, dict[str, Any]]:
    """Name of the first class of `scheduler`'s ancestry that is in the tables, and its options."""
    if not isinstance(scheduler, SchedulerMixin):
        raise ValueError(f"expected a diffusers scheduler, got {type(scheduler).__name__}")
    known, kind = followers(reference), "flow" if is_flow(reference) else "noise schedule of betas"
    names = [c.__name__ for c in type(scheduler).__mro__]
    for name in names:
        if name in known:
            return name, known[name]
        if name in REFUSED:
            raise ValueError(
                f"{name} cannot sample from this model: {REFUSED[name]}. Schedulers that can: "
                f"{', '.join(known)}"
            )
        if name in OF_BETAS or name in OF_FLOW:
            break
    raise ValueError(
        f"{names[0]} cannot sample from this model: it does not follow its prediction ({kind}). "
        f"Schedulers that can: {', '.join(known)}"
    )


def _refuse_options(scheduler: SchedulerMixin, name: str, needs: Mapping[str, Any]) -> None:
    refused = dict(CANNOT)
    if "use_flow_sigmas" in needs:
        refused |= dict.fromkeys(OTHER_SIGMAS, (True, "flow models need flow sigmas"))
    for key, (value, reason) in refused.items():
        found = scheduler.config.get(key)
        if found == value or (isinstance(found, str) and found.startswith(str(value))):
            raise ValueError(f"{name} with {key}={found!r} cannot sample from this model: {reason}")


def check_num_steps(scheduler: SchedulerMixin, num_inference_steps: int) -> None:
    """ValueError for more steps than there are timesteps, and where a scheduler of whole steps
    would stop far from its last timestep."""
    total, name = scheduler.config.num_train_timesteps, type(scheduler).__name__
    if num_inference_steps > total:
        raise ValueError(
            f"num_inference_steps must be at most the {total} timesteps of the training, got "
            f"{num_inference_steps}"
        )
    whole = any(c.__name__ in WHOLE_STEPS for c in type(scheduler).__mro__)
    cover = [n * (total // n) / total for n in range(1, total + 1)]
    if whole and cover[num_inference_steps - 1] < LEAST_COVER:
        fine = [n for n in range(1, total + 1) if cover[n - 1] >= LEAST_COVER]
        below = max(n for n in fine if n < num_inference_steps)
        above = min(n for n in fine if n > num_inference_steps)
        raise ValueError(
            f"{name} walks whole timesteps: {num_inference_steps} steps of "
            f"{total // num_inference_steps} cover {cover[num_inference_steps - 1]:.0%} of "
            f"{total}. Take {below} or {above} steps, or another scheduler"
        )


class Solver:
    """One scheduler in one call: a fresh copy, with one random generator a sample, so that noise of
    stochastic schedulers belongs to a sample and not to its batch.

    Legend: B samples. Raises ValueError for a number of steps that the scheduler cannot take, and
    where `eta` is given to a scheduler that has none.
    """

    def __init__(
        self,
        scheduler: SchedulerMixin,
        num_inference_steps: int,
        generators: Sequence[torch.Generator],
        eta: float = 0.0,
    ) -> None:
        check_num_steps(scheduler, num_inference_steps)
        self.scheduler = copy.deepcopy(scheduler)
        self.scheduler.set_timesteps(num_inference_steps)
        if not torch.isfinite(torch.as_tensor(self.timesteps)).all():
            name = type(scheduler).__name__
            raise ValueError(f"{name}: the options give timesteps that are not finite")
        accepted = inspect.signature(self.scheduler.step).parameters
        if eta and "eta" not in accepted:
            raise ValueError(
                f"eta is an option of DDIM schedulers; {type(scheduler).__name__} has none"
            )
        given = {"generator": list(generators), "eta": eta}
        self._arguments = {key: value for key, value in given.items() if key in accepted}

    @property
    def timesteps(self) -> torch.Tensor:
        return self.scheduler.timesteps

    def start(self, noise: torch.Tensor) -> torch.Tensor:
        """Noise (B, *latent_shape) of unit variance -> what the first step begins with."""
        return noise * getattr(self.scheduler, "init_noise_sigma", 1.0)

    def model_input(self, latents: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        """z_t as the model knows it; some schedulers keep it at another scale."""
        if hasattr(self.scheduler, "scale_model_input"):
            return self.scheduler.scale_model_input(latents, timestep)
        return latents

    def step(
        self, prediction: torch.Tensor, timestep: torch.Tensor, latents: torch.Tensor
    ) -> torch.Tensor:
        return self.scheduler.step(prediction, timestep, latents, **self._arguments).prev_sample
