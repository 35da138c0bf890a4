"""The joint sampler: one loop, all outputs step together, each with its own scheduler and guidance
scale.

Legend: B batch of studies.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from diffusers import SchedulerMixin

from medcodi.diffusion.joint import JointModel, Prompts
from medcodi.diffusion.ldm import Context, Partners

# raised when the same weights, prompts and seeds give other samples: caches of samples ask for it
SAMPLER_VERSION = 5

Latents = dict[str, torch.Tensor]


def check_interval(interval: Sequence[float] | None, where: str) -> None:
    """ValueError unless `interval` is None (everywhere) or noise levels [low, high], 0 clean and 1
    noise."""
    if interval is None:
        return
    if len(interval) != 2 or not 0 <= interval[0] < interval[1] <= 1:
        raise ValueError(
            f"{where} must be [low, high] with 0 <= low < high <= 1, got {list(interval)}"
        )


class GuidedPrediction:
    """Predictions of all outputs under classifier-free guidance (Ho and Salimans 2022), of prompts
    and of partners:

    p = p_null + g (p_prompt - p_null) + (w - 1) (p_prompt - p_apart)

    The null pass sees neither prompts nor given values, but still its noisy partners; where there
    are `negative` prompts, it sees those. g = 1 is the prompt pass alone. What partners add to
    the mean is that of the prompt pass in both: g does not guide it. Without prompts partners tell
    each other more than with them, so that g > 1 would turn their share around.

    w = `coupling_scale[m]` does for the other outputs of the call what g does for prompts (ours):
    p_apart is the prompt pass without the other outputs, with given values as they are. w = 1 is
    the coupling as trained, and needs no pass; an output that is generated alone has none either.
    At the highest noise levels partners know little of each other, and w mostly makes samples
    differ more than real ones do: `coupling_interval[m]` leaves them out.

    `interval[m]` guides output m at noise levels [low, high] alone (Kynkaanniemi et al. 2024). When
    no output is guided, the null pass is not computed. What is the same at every step, the contexts
    and the codes of given values, is computed once.
    """

    def __init__(
        self,
        joint: JointModel,
        prompts: Prompts,
        scale: Mapping[str, float],
        interval: Mapping[str, Sequence[float]] | None = None,
        negative: Prompts | None = None,
        coupling_scale: Mapping[str, float] | None = None,
        coupling_interval: Mapping[str, Sequence[float]] | None = None,
    ) -> None:
        self.joint, self.prompts = joint, prompts
        self.negative = Prompts() if negative is None else negative
        self.scale, self.interval = scale, interval or {}
        plain = dict.fromkeys(joint.diffusions, 1.0)
        self.coupling_scale = plain | dict(coupling_scale or {})
        self.coupling_interval = coupling_interval or {}
        for what, by_name in (
            ("guidance_interval", self.interval),
            ("coupling_interval", self.coupling_interval),
        ):
            for name, levels in by_name.items():
                check_interval(levels, f"{what} of {name!r}")
        self.clean = joint.clean_states(prompts)
        self.clean_codes = joint.codes(self.clean)
        self._contexts: dict[bool, dict[str, Context]] = {}  # by whether there is a null pass

    def scales_at(
        self,
        timesteps: Mapping[str, torch.Tensor],
        scale: Mapping[str, float],
        interval: Mapping[str, Sequence[float]],
    ) -> dict[str, float]:
        """The scale of each output at its timestep (one number): 1 outside its interval."""
        scales = {}
        for name in self.joint.diffusions:
            level = float(self.joint.objective.noise_level(timesteps[name].reshape(1)))
            levels = interval.get(name)
            inside = levels is None or levels[0] <= level <= levels[1]
            scales[name] = scale[name] if inside else 1.0
        return scales

    def __call__(
        self,
        latents: Latents,
        timesteps: Mapping[str, torch.Tensor],
        names: Sequence[str] | None = None,
    ) -> Latents:
        """Noisy latents (B, *latent_shape) and one timestep an output -> guided predictions, of
        `names` alone where they are given."""
        first = next(iter(latents.values()))
        batch, device = len(first), first.device
        scales = self.scales_at(timesteps, self.scale, self.interval)
        coupling = self.scales_at(timesteps, self.coupling_scale, self.coupling_interval)
        told = bool(self.prompts.given or self.negative.given)
        guided = told and any(scale != 1.0 for scale in scales.values())
        if guided not in self._contexts:
            null = self.negative if guided else None
            with torch.no_grad():
                self._contexts[guided] = self.joint.contexts(self.prompts, batch, device, null)
        contexts = self._contexts[guided]

        # what the members tell each other
        states = {
            name: self.joint.noisy_state(x, timesteps[name].expand(batch).to(device))
            for name, x in latents.items()
        }
        members = states | self.clean
        prompted = {n: c[batch:] if guided else c for n, c in contexts.items()}
        codes = None
        if len(members) > 1:
            codes = self.joint.codes(states) | self.clean_codes
        partners = self.joint.partners(members, prompted, codes)

        # one pass of every denoiser, with [null, prompt] side by side when guided
        twice = (lambda x: torch.cat([x, x])) if guided else (lambda x: x)
        predictions = {}
        for name in self.joint.diffusions if names is None else names:
            model, told = self.joint.diffusions[name], partners.get(name)
            if guided and told is not None:
                told = _with_null(told)
            t = states[name].timesteps
            out = with_prompts = model(twice(latents[name]), twice(t), contexts[name], told)
            if guided:
                null, with_prompts = out.chunk(2)
                out = null + scales[name] * (with_prompts - null)
            stronger = coupling[name] - 1.0
            if stronger and told is not None and len(latents) > 1:
                alone = self.joint.partners({name: states[name]} | self.clean, prompted, codes)
                apart = model(latents[name], t, prompted[name], alone.get(name))
                out = out + stronger * (with_prompts - apart)
            predictions[name] = out
        return predictions


def _with_null(partners: Partners) -> Partners:
    """(2 B, ...): the null pass does not see given values."""
    twice = lambda x: None if x is None else torch.cat([x, x])
    return Partners(
        twice(partners.tokens),
        twice(partners.noisy),
        torch.cat([torch.zeros_like(partners.clean), partners.clean]),
        twice(partners.innovation),
    )


@torch.no_grad()
def joint_sample(
    joint: JointModel,
    schedulers: Mapping[str, SchedulerMixin],
    noise: Latents,
    prompts: Prompts,
    guidance_scale: Mapping[str, float],
    num_inference_steps: int,
    callback: Callable[[int, Latents], Latents | None] | None = None,
    guidance_interval: Mapping[str, Sequence[float]] | None = None,
    coupling_scale: Mapping[str, float] | None = None,
    coupling_interval: Mapping[str, Sequence[float]] | None = None,
) -> Latents:
    """From noise to latents of all outputs. `noise[m]` (B, *latent_shape) of unit variance.
    `callback(step, latents)` may return changed latents. `guidance_interval[m]`: see
    GuidedPrediction; an output without one is guided at every step. `coupling_scale[m]` and
    `coupling_interval[m]`: there.
    """
    # 1. Timesteps, and noise in the scale of each scheduler
    latents = start(schedulers, noise, num_inference_steps)
    predict = GuidedPrediction(
        joint, prompts, guidance_scale, guidance_interval, None, coupling_scale, coupling_interval
    )
    for step in range(len(next(iter(schedulers.values())).timesteps)):
        timesteps = {name: s.timesteps[step] for name, s in schedulers.items()}
        # 2. What the denoisers see
        inputs = {n: scaled_input(schedulers[n], x, timesteps[n]) for n, x in latents.items()}
        # 3. Predictions, joint and guided
        predictions = predict(inputs, timesteps)
        # 4. One step of each output along its own schedule
        for name, scheduler in schedulers.items():
            stepped = scheduler.step(predictions[name], timesteps[name], latents[name])
            latents[name] = stepped.prev_sample
        # 5. The caller's word
        if callback is not None:
            latents = callback(step, latents) or latents
    return latents


def start(
    schedulers: Mapping[str, SchedulerMixin], noise: Latents, num_inference_steps: int
) -> Latents:
    """Set the timesteps of all schedulers; noise (B, ...) -> first latents. ValueError when the
    schedulers take different numbers of steps."""
    latents = {}
    for name, scheduler in schedulers.items():
        scheduler.set_timesteps(num_inference_steps)
        latents[name] = noise[name] * getattr(scheduler, "init_noise_sigma", 1.0)
    lengths = {name: len(s.timesteps) for name, s in schedulers.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(
            f"jointly sampled outputs must step together, but their schedulers take {lengths} steps"
        )
    return latents


def scaled_input(
    scheduler: SchedulerMixin, latents: torch.Tensor, timestep: torch.Tensor
) -> torch.Tensor:
    """What the denoiser sees of latents (B, ...), in the scale of its training."""
    if hasattr(scheduler, "scale_model_input"):
        return scheduler.scale_model_input(latents, timestep)
    return latents
