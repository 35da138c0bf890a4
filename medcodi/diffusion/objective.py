"""What a denoiser predicts, how noise is added and how the loss is weighted, through diffusers'
schedulers.

Legend: B batch, z_0 clean latents, e noise, t timestep in [0, 1000), a_t = alpha-bar_t.
"""

import torch
from diffusers import DDIMScheduler, DDPMScheduler, FlowMatchEulerDiscreteScheduler, SchedulerMixin

from medcodi.config import DiffusionConfig

PREDICTION_TYPES = ("epsilon", "v_prediction", "flow")
MIN_SNR_GAMMA = 5.0


def expand_as(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """(B,) -> (B, 1, ...) with the rank of `like`."""
    return values.view(-1, *([1] * (like.ndim - 1)))


class Objective:
    """epsilon (Ho et al. 2020), v (Salimans and Ho 2022) or flow velocity (Lipman et al. 2023,
    rectified flow).

    epsilon, v:  z_t = sqrt(a_t) z_0 + sqrt(1 - a_t) e
    flow:        z_t = (1 - s) z_0 + s e,  s = t / 1000
    """

    def __init__(self, config: DiffusionConfig) -> None:
        if config.prediction_type not in PREDICTION_TYPES:
            raise ValueError(
                f"prediction_type must be one of {PREDICTION_TYPES}, got {config.prediction_type!r}"
            )
        if config.loss_weighting not in ("none", "min_snr"):
            raise ValueError(
                f"loss_weighting must be 'none' or 'min_snr', got {config.loss_weighting!r}"
            )
        if config.timestep_sampling not in ("uniform", "logit_normal"):
            raise ValueError(
                "timestep_sampling must be 'uniform' or 'logit_normal', got "
                f"{config.timestep_sampling!r}"
            )
        if config.prediction_type == "flow" and config.loss_weighting == "min_snr":
            raise ValueError(
                "loss_weighting 'min_snr' is defined for epsilon and v_prediction, not for flow"
            )
        if config.shift <= 0 or (config.shift != 1 and config.prediction_type != "flow"):
            raise ValueError(
                "shift must be positive, and 1 for any prediction_type but flow, got "
                f"{config.shift}"
            )
        self.config, self.is_flow = config, config.prediction_type == "flow"
        self.num_train_timesteps = config.num_train_timesteps
        if not self.is_flow:
            self.alphas_cumprod = DDPMScheduler(**self._beta_arguments()).alphas_cumprod  # (1000,)
        self._on_device: dict[
            torch.device, torch.Tensor
        ] = {}  # `alphas_cumprod`: a copy a call would make the host wait

    def _beta_arguments(self) -> dict:
        c = self.config
        return {
            "num_train_timesteps": c.num_train_timesteps,
            "beta_schedule": c.beta_schedule,
            "beta_start": c.beta_start,
            "beta_end": c.beta_end,
        }

    def scheduler(self) -> SchedulerMixin:
        """The default sampling scheduler; any diffusers scheduler of the same family may replace
        it."""
        if self.is_flow:
            return FlowMatchEulerDiscreteScheduler(
                num_train_timesteps=self.num_train_timesteps, shift=self.config.shift
            )
        return DDIMScheduler(
            **self._beta_arguments(),
            prediction_type=self.config.prediction_type,
            clip_sample=False,
            set_alpha_to_one=False,
            steps_offset=0,
            timestep_spacing="trailing",
        )

    def timesteps(self, uniform: torch.Tensor) -> torch.Tensor:
        """(B,) in (0, 1) -> timesteps (B,): float for flow, whole numbers otherwise.

        `shift` moves them to more noise, as the scheduler does in sampling (Esser et al. 2024, eq.
        23): what a prompt decides, such as a side, is decided where large structures are still
        hidden.
        """
        if self.config.timestep_sampling == "logit_normal":
            uniform = torch.sigmoid(torch.special.ndtri(uniform.clamp(1e-6, 1 - 1e-6)))
        uniform = self.config.shift * uniform / (1 + (self.config.shift - 1) * uniform)
        scaled = uniform * self.num_train_timesteps
        return scaled if self.is_flow else scaled.floor().clamp(max=self.num_train_timesteps - 1)

    def alpha_sigma(self, timesteps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Weights (B,) of z_0 and of e in z_t."""
        if self.is_flow:
            sigma = timesteps.float() / self.num_train_timesteps
            return 1 - sigma, sigma
        device = timesteps.device
        if device not in self._on_device:
            self._on_device[device] = self.alphas_cumprod.to(device)
        alpha_bar = self._on_device[device][timesteps.long()]
        return alpha_bar.sqrt(), (1 - alpha_bar).sqrt()

    def noise_level(self, timesteps: torch.Tensor) -> torch.Tensor:
        """(B,) in [0, 1]: 0 is clean, 1 is noise. What the environment encoders see, whatever the
        objective."""
        return self.alpha_sigma(timesteps)[1]

    def add_noise(
        self, latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor
    ) -> torch.Tensor:
        alpha, sigma = (expand_as(x, latents) for x in self.alpha_sigma(timesteps))
        return alpha * latents + sigma * noise

    def target(
        self, latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor
    ) -> torch.Tensor:
        """What the network should return: e, v = alpha e - sigma z_0, or the velocity e - z_0."""
        if self.config.prediction_type == "epsilon":
            return noise
        if self.is_flow:
            return noise - latents
        alpha, sigma = (expand_as(x, latents) for x in self.alpha_sigma(timesteps))
        return alpha * noise - sigma * latents

    def to_sample(
        self, prediction: torch.Tensor, noisy: torch.Tensor, timesteps: torch.Tensor
    ) -> torch.Tensor:
        """Estimate of z_0 from a prediction at z_t."""
        alpha, sigma = (expand_as(x, noisy) for x in self.alpha_sigma(timesteps))
        if self.config.prediction_type == "epsilon":
            return (noisy - sigma * prediction) / alpha
        if self.is_flow:
            return noisy - sigma * prediction
        return alpha * noisy - sigma * prediction

    def weight(self, timesteps: torch.Tensor) -> torch.Tensor:
        """Loss weight (B,). min_snr (Hang et al. 2023): min(SNR, 5) over SNR for epsilon, over SNR
        + 1 for v."""
        if self.config.loss_weighting == "none":
            return torch.ones_like(timesteps, dtype=torch.float32)
        alpha, sigma = self.alpha_sigma(timesteps)
        snr = (alpha / sigma) ** 2
        divisor = snr if self.config.prediction_type == "epsilon" else snr + 1
        return snr.clamp(max=MIN_SNR_GAMMA) / divisor
