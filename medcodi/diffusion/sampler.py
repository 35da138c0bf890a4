"""The joint sampler: one loop, all outputs step together, each with its own scheduler and guidance
scale.

Legend: B batch of studies.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from diffusers import SchedulerMixin
from torch import nn

from medcodi.diffusion.coupling import JointState, coupling_for, environment_codes, innovations
from medcodi.diffusion.ldm import Condition, LatentDiffusion
from medcodi.diffusion.objective import Objective
from medcodi.encoders.base import PromptEncoding

# raised when the same weights, prompts and seeds give other samples: caches of samples ask for it
SAMPLER_VERSION = 2


@dataclass
class Conditions:
    """What is given. `encodings[name]` holds B rows; `given[name]` (B,) bool says which rows really
    have the prompt; `clean[name]` holds latents of given values that condition through the coupling
    at noise level 0."""

    encodings: dict[str, PromptEncoding] = field(default_factory=dict)
    given: dict[str, torch.Tensor] = field(default_factory=dict)
    clean: dict[str, torch.Tensor] = field(default_factory=dict)
    weights: dict[str, float] | None = None

    def __getitem__(self, rows: torch.Tensor) -> "Conditions":
        return Conditions(
            {n: e[rows] for n, e in self.encodings.items()},
            {n: g[rows] for n, g in self.given.items()},
            {n: x[rows] for n, x in self.clean.items()},
            self.weights,
        )


def condition_rows(
    models: dict[str, LatentDiffusion],
    conditions: Conditions,
    rows: int,
    device: torch.device,
    guided: bool,
) -> dict[str, Condition]:
    """The prompts of each output, the same at every step: `rows` rows, or twice as many, [null,
    prompt], when guided."""
    found = {}
    for name, model in models.items():
        columns = model.fusion.names
        given = {n: e for n, e in conditions.encodings.items() if n in columns}
        keep = torch.zeros(rows, len(columns), dtype=torch.bool, device=device)
        for n in given:
            keep[:, columns.index(n)] = conditions.given[n]
        if guided:
            given = {n: e.map(lambda x: torch.cat([x, x])) for n, e in given.items()}
            keep = torch.cat([torch.zeros_like(keep), keep])
        found[name] = model.condition(given, keep, conditions.weights)
    return found


def is_guided(guidance_scale: dict[str, float], conditions: Conditions) -> bool:
    """Whether the null pass is needed: some scale is not 1, and there are prompts."""
    return any(scale != 1.0 for scale in guidance_scale.values()) and bool(conditions.given)


def clean_members(conditions: Conditions) -> dict[str, JointState]:
    """The given values whose latents condition, at noise level 0: the same at every step, and so
    are their codes."""
    return {
        name: JointState(
            value, torch.zeros(len(value), device=value.device), conditions.given[name]
        )
        for name, value in conditions.clean.items()
    }


def predict(
    models: dict[str, LatentDiffusion],
    environments: nn.ModuleDict | None,
    objective: Objective,
    latents: dict[str, torch.Tensor],
    timesteps: dict[str, torch.Tensor],
    conditions: Conditions,
    guidance_scale: dict[str, float],
    prompted: dict[str, Condition] | None = None,
    clean_codes: dict[str, torch.Tensor] | None = None,
) -> dict[str, torch.Tensor]:
    """Guided predictions of all outputs at their timesteps (one number each). Where they are at
    hand: `prompted`, the `condition_rows` of these outputs, and `clean_codes`, the
    `environment_codes` of the `clean_members`.

    Classifier-free guidance (Ho and Salimans 2022): p = p_null + g (p_prompt - p_null); the null
    pass sees neither the prompts nor the clean members, but still its noisy partners. g = 1 is the
    prompt pass alone. What partners add in closed
    form is that of the prompt pass in both: it is not guided. Without prompts partners tell each
    other more than with them, so that g > 1 would turn their share around.
    """
    first = next(iter(latents.values()))
    batch, device = len(first), first.device
    guided = is_guided({m: guidance_scale[m] for m in latents}, conditions)
    stack = (lambda x: torch.cat([x, x])) if guided else (lambda x: x)
    prompt_half = torch.ones(2 * batch if guided else batch, dtype=torch.bool, device=device)
    if guided:
        prompt_half[:batch] = False
    prompted = prompted or condition_rows(models, conditions, batch, device, guided)

    codes, states = {}, {}
    if environments is not None and len(latents) + len(conditions.clean) > 1:
        for name, value in latents.items():
            level = objective.noise_level(timesteps[name].expand(batch).to(device))
            states[name] = JointState(
                value, level, torch.ones(batch, dtype=torch.bool, device=device)
            )
        clean = clean_members(conditions)
        codes = environment_codes(environments, states) | (
            clean_codes or environment_codes(environments, clean)
        )
        codes, states = {name: stack(code) for name, code in codes.items()}, states | clean
        for name, state in states.items():
            state.present = stack(state.present) & (
                prompt_half if name in conditions.clean else True
            )

    steps = {name: timesteps[name].expand(len(prompt_half)).to(device) for name in models}
    noisy = {name: stack(latents[name]) for name in models}
    added = {}
    if environments is not None:
        outputs = {
            name: JointState(latents[name], steps[name][:batch], prompt_half[-batch:])
            for name in models
        }
        given = {
            name: condition[batch:] if guided else condition for name, condition in prompted.items()
        }
        added = {
            name: stack(x)
            for name, x in innovations(
                models, outputs, {n: t[:batch] for n, t in steps.items()}, given
            ).items()
        }

    predictions = {}
    for name, model in models.items():
        coupling, mask = coupling_for(name, codes, states)
        out = model(noisy[name], steps[name], prompted[name], coupling, mask, added.get(name))
        if guided:
            null, with_prompts = out.chunk(2)
            out = null + guidance_scale[name] * (with_prompts - null)
        predictions[name] = out
    return predictions


def scale_at(
    guidance_scale: dict[str, float],
    guidance_interval: dict[str, Sequence[float]],
    noise_level: dict[str, float],
) -> dict[str, float]:
    """Guidance in a limited interval (Kynkaanniemi et al. 2024): outside its noise levels [low,
    high], 0 clean and 1 noise, an output takes the prompt pass alone. When all are outside, the
    null pass is not computed."""
    scales = dict(guidance_scale)
    for name, interval in guidance_interval.items():
        if len(interval) != 2 or not 0 <= interval[0] < interval[1] <= 1:
            raise ValueError(
                f"guidance_interval of {name!r} must be [low, high] with 0 <= low < high <= 1, got "
                f"{interval}"
            )
        if not interval[0] <= noise_level[name] <= interval[1]:
            scales[name] = 1.0
    return scales


@torch.no_grad()
def joint_sample(
    models: dict[str, LatentDiffusion],
    environments: nn.ModuleDict | None,
    objective: Objective,
    schedulers: dict[str, SchedulerMixin],
    noise: dict[str, torch.Tensor],
    conditions: Conditions,
    guidance_scale: dict[str, float],
    num_inference_steps: int,
    callback: Callable[[int, dict[str, torch.Tensor]], dict[str, torch.Tensor] | None]
    | None = None,
    guidance_interval: dict[str, Sequence[float]] | None = None,
) -> dict[str, torch.Tensor]:
    """From noise to latents of all outputs. `noise[m]` (B, *latent_shape) of unit variance; pass
    `environments=None` to generate independently. `callback(step, latents)` may return changed
    latents. `guidance_interval[m]`: see `scale_at`; an output without one is guided at every step.
    """
    latents = {}
    for name, scheduler in schedulers.items():
        scheduler.set_timesteps(num_inference_steps)
        latents[name] = noise[name] * getattr(scheduler, "init_noise_sigma", 1.0)
    lengths = {name: len(s.timesteps) for name, s in schedulers.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(
            f"jointly sampled outputs must step together, but their schedulers take {lengths} steps"
        )
    prompted: dict[bool, dict[str, Condition]] = {}
    clean_codes = (
        environment_codes(environments, clean_members(conditions))
        if environments is not None
        else None
    )
    first = next(iter(noise.values()))
    for step in range(next(iter(lengths.values()))):
        timesteps = {name: s.timesteps[step] for name, s in schedulers.items()}
        scaled = {
            name: schedulers[name].scale_model_input(x, timesteps[name])
            if hasattr(schedulers[name], "scale_model_input")
            else x
            for name, x in latents.items()
        }
        scales = guidance_scale
        if guidance_interval:
            levels = {
                n: float(objective.noise_level(timesteps[n].reshape(1))) for n in guidance_interval
            }
            scales = scale_at(guidance_scale, guidance_interval, levels)
        guided = is_guided({m: scales[m] for m in models}, conditions)
        if guided not in prompted:
            prompted[guided] = condition_rows(models, conditions, len(first), first.device, guided)
        predictions = predict(
            models,
            environments,
            objective,
            scaled,
            timesteps,
            conditions,
            scales,
            prompted[guided],
            clean_codes,
        )
        for name, scheduler in schedulers.items():
            latents[name] = scheduler.step(
                predictions[name], timesteps[name], latents[name]
            ).prev_sample
        if callback is not None:
            latents = callback(step, latents) or latents
    return latents
