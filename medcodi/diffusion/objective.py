"""How latents become noisy and what a denoiser predicts of them, one class a prediction type.

Noise schedules are those of diffusers. Legend: B batch, z_0 clean latents, e noise, t timestep in
[0, 1000), a_t = alpha-bar_t.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from diffusers import DDIMScheduler, DDPMScheduler, FlowMatchEulerDiscreteScheduler, SchedulerMixin

from medcodi.config import DiffusionConfig

MIN_SNR_GAMMA = 5.0


def expand_as(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """(B,) -> (B, 1, ...) with the rank of `like`."""
    return values.view(-1, *([1] * (like.ndim - 1)))


@dataclass
class NoisySample:
    """Latents with noise, as a training step sees them: z_t `latents` (B, *latent_shape), their
    `timesteps` (B,) and `noise_level` (B,) in [0, 1], the `target` (B, *latent_shape) of the
    prediction and the `weight` (B,) of each row in the loss."""

    latents: torch.Tensor
    timesteps: torch.Tensor
    noise_level: torch.Tensor
    target: torch.Tensor
    weight: torch.Tensor

    def __getitem__(self, rows: torch.Tensor) -> "NoisySample":
        return NoisySample(**{name: value[rows] for name, value in vars(self).items()})

    def losses(self, prediction: torch.Tensor) -> torch.Tensor:
        """Weighted mean squared error of each row (B,), in float32."""
        error = (prediction.float() - self.target).square()
        return self.weight * error.flatten(1).mean(dim=1)


class Objective(ABC):
    """A path z_t = alpha_t z_0 + sigma_t e from data to noise, and the `target` of the prediction.

    Training:

        t = objective.timesteps(uniform)            # (B,) in (0, 1) -> timesteps
        noisy = objective.sample(z_0, noise, t)
        loss = noisy.losses(denoiser(noisy.latents, noisy.timesteps, context)).mean()

    Sampling takes `scheduler()`, or any other diffusers scheduler of the same family. A subclass
    says `alpha_sigma`, `target`, `to_sample` and `scheduler`.
    """

    is_flow = False

    def __init__(self, config: DiffusionConfig) -> None:
        self.config, self.num_train_timesteps = config, config.num_train_timesteps

    @abstractmethod
    def scheduler(self) -> SchedulerMixin:
        """The default sampling scheduler."""

    @abstractmethod
    def alpha_sigma(self, timesteps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Timesteps (B,) -> weights (B,) of z_0 and of e in z_t."""

    @abstractmethod
    def target(
        self, latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor
    ) -> torch.Tensor:
        """What the network should return for z_0 and e (B, ...), shaped as they are."""

    @abstractmethod
    def to_sample(
        self, prediction: torch.Tensor, noisy: torch.Tensor, timesteps: torch.Tensor
    ) -> torch.Tensor:
        """Estimate of z_0 from a prediction at z_t: inverse of `target`."""

    def to_prediction(
        self, latents: torch.Tensor, noisy: torch.Tensor, timesteps: torch.Tensor
    ) -> torch.Tensor:
        """The prediction at z_t whose `to_sample` is z_0: inverse of it."""
        alpha, sigma = (expand_as(x, noisy) for x in self.alpha_sigma(timesteps))
        return self.target(latents, (noisy - alpha * latents) / sigma, timesteps)

    def timesteps(self, uniform: torch.Tensor) -> torch.Tensor:
        """(B,) in (0, 1) -> timesteps (B,), as floats.

        `shift` moves them to more noise, as the scheduler does in sampling (Esser et al. 2024, eq.
        23): what a prompt decides, such as a side, is decided where large structures are still
        hidden.
        """
        if self.config.timestep_sampling == "logit_normal":
            uniform = torch.sigmoid(torch.special.ndtri(uniform.clamp(1e-6, 1 - 1e-6)))
        uniform = self.config.shift * uniform / (1 + (self.config.shift - 1) * uniform)
        return uniform * self.num_train_timesteps

    def noise_level(self, timesteps: torch.Tensor) -> torch.Tensor:
        """sigma_t (B,) in [0, 1]: 0 is clean, 1 is noise. What the environment encoders see."""
        return self.alpha_sigma(timesteps)[1]

    def add_noise(
        self, latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor
    ) -> torch.Tensor:
        """z_t, shaped as z_0."""
        alpha, sigma = (expand_as(x, latents) for x in self.alpha_sigma(timesteps))
        return alpha * latents + sigma * noise

    def weight(self, timesteps: torch.Tensor) -> torch.Tensor:
        """Loss weight (B,)."""
        return torch.ones_like(timesteps, dtype=torch.float32)

    def sample(
        self, latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor
    ) -> NoisySample:
        """z_0 and e (B, *latent_shape) at timesteps (B,)."""
        return NoisySample(
            self.add_noise(latents, noise, timesteps),
            timesteps,
            self.noise_level(timesteps),
            self.target(latents, noise, timesteps),
            self.weight(timesteps),
        )


class Flow(Objective):
    """Velocity of a straight path (rectified flow, Lipman et al. 2023):

    z_t = (1 - s) z_0 + s e,  s = t / 1000;  target e - z_0
    """

    is_flow = True

    def scheduler(self) -> FlowMatchEulerDiscreteScheduler:
        return FlowMatchEulerDiscreteScheduler(
            num_train_timesteps=self.num_train_timesteps, shift=self.config.shift
        )

    def alpha_sigma(self, timesteps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        sigma = timesteps.float() / self.num_train_timesteps
        return 1 - sigma, sigma

    def target(
        self, latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor
    ) -> torch.Tensor:
        return noise - latents

    def to_sample(
        self, prediction: torch.Tensor, noisy: torch.Tensor, timesteps: torch.Tensor
    ) -> torch.Tensor:
        return noisy - expand_as(self.noise_level(timesteps), noisy) * prediction


class VariancePreserving(Objective):
    """z_t = sqrt(a_t) z_0 + sqrt(1 - a_t) e at whole timesteps (Ho et al. 2020)."""

    def __init__(self, config: DiffusionConfig) -> None:
        super().__init__(config)
        self.alphas_cumprod = DDPMScheduler(**self._betas()).alphas_cumprod  # (1000,)
        # by device: a copy a call would make the host wait
        self._on_device: dict[torch.device, torch.Tensor] = {}

    def _betas(self) -> dict:
        return {
            "num_train_timesteps": self.num_train_timesteps,
            "beta_schedule": self.config.beta_schedule,
            "beta_start": self.config.beta_start,
            "beta_end": self.config.beta_end,
        }

    def scheduler(self) -> DDIMScheduler:
        return DDIMScheduler(
            **self._betas(),
            prediction_type=self.config.prediction_type,
            clip_sample=False,
            set_alpha_to_one=False,
            steps_offset=0,
            timestep_spacing="trailing",
        )

    def timesteps(self, uniform: torch.Tensor) -> torch.Tensor:
        return super().timesteps(uniform).floor().clamp(max=self.num_train_timesteps - 1)

    def alpha_sigma(self, timesteps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        device = timesteps.device
        if device not in self._on_device:
            self._on_device[device] = self.alphas_cumprod.to(device)
        alpha_bar = self._on_device[device][timesteps.long()]
        return alpha_bar.sqrt(), (1 - alpha_bar).sqrt()

    def weight(self, timesteps: torch.Tensor) -> torch.Tensor:
        """min_snr (Hang et al. 2023): min(SNR, 5) over `_snr_share`."""
        if self.config.loss_weighting == "none":
            return super().weight(timesteps)
        alpha, sigma = self.alpha_sigma(timesteps)
        snr = (alpha / sigma) ** 2
        return snr.clamp(max=MIN_SNR_GAMMA) / self._snr_share(snr)

    @abstractmethod
    def _snr_share(self, snr: torch.Tensor) -> torch.Tensor:
        """(B,): the weight of an error of z_0 that an unweighted loss of this target has."""


class Epsilon(VariancePreserving):
    """The noise e itself (Ho et al. 2020)."""

    def target(
        self, latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor
    ) -> torch.Tensor:
        return noise

    def to_sample(
        self, prediction: torch.Tensor, noisy: torch.Tensor, timesteps: torch.Tensor
    ) -> torch.Tensor:
        alpha, sigma = (expand_as(x, noisy) for x in self.alpha_sigma(timesteps))
        return (noisy - sigma * prediction) / alpha

    def _snr_share(self, snr: torch.Tensor) -> torch.Tensor:
        return snr


class VPrediction(VariancePreserving):
    """v = alpha e - sigma z_0 (Salimans and Ho 2022)."""

    def target(
        self, latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor
    ) -> torch.Tensor:
        alpha, sigma = (expand_as(x, latents) for x in self.alpha_sigma(timesteps))
        return alpha * noise - sigma * latents

    def to_sample(
        self, prediction: torch.Tensor, noisy: torch.Tensor, timesteps: torch.Tensor
    ) -> torch.Tensor:
        alpha, sigma = (expand_as(x, noisy) for x in self.alpha_sigma(timesteps))
        return alpha * noisy - sigma * prediction

    def _snr_share(self, snr: torch.Tensor) -> torch.Tensor:
        return snr + 1


OBJECTIVES: dict[str, type[Objective]] = {
    "epsilon": Epsilon,
    "v_prediction": VPrediction,
    "flow": Flow,
}


def build_objective(config: DiffusionConfig) -> Objective:
    """The objective of a recipe. ValueError for an unknown word, or for words that do not go
    together."""
    kind = config.prediction_type
    for key, value, valid in (
        ("prediction_type", kind, tuple(OBJECTIVES)),
        ("loss_weighting", config.loss_weighting, ("none", "min_snr")),
        ("timestep_sampling", config.timestep_sampling, ("uniform", "logit_normal")),
    ):
        if value not in valid:
            raise ValueError(f"{key} must be one of {valid}, got {value!r}")
    objective = OBJECTIVES[kind]
    if objective.is_flow and config.loss_weighting == "min_snr":
        raise ValueError(
            "loss_weighting 'min_snr' is defined for epsilon and v_prediction, not for flow"
        )
    if config.shift <= 0 or (config.shift != 1 and not objective.is_flow):
        raise ValueError(
            f"shift must be positive, and 1 for any prediction_type but flow, got {config.shift}"
        )
    return objective(config)
