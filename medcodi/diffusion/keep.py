"""What a call keeps of its outputs while the rest is generated, as the latents see it.

All of it acts on the estimate of z_0 that a prediction stands for. It therefore holds for every
objective, scheduler and guidance, alone and jointly, and needs no training:

- Where latents are given, the prediction is the one that leads to them: along the whole way
  z_t = alpha_t z_given + sigma_t e, with the sampler's own noise e (replacement: Song et al. 2021,
  Lugmayr et al. 2022).
- At timesteps above `start` all latents are held, so that generation begins there with the noised
  latents of the given value (SDEdit, Meng et al. 2022).
- What no latent stands for, a column or a word, is put into the value that the estimate decodes to:
  that moves the estimate by encode(with it) - encode(without it).
- What is kept moves the estimate of the rest by the gradient through the denoiser (pseudoinverse
  guidance: Song et al. 2023, with the autoencoder in the place of a linear measurement).

Legend: B batch.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from medcodi.diffusion.objective import Objective, expand_as

Latents = dict[str, torch.Tensor]
Predict = Callable[[Latents, Mapping[str, torch.Tensor], Sequence[str]], Latents]
LEAST_ALPHA = 0.05  # below it z_t says nothing of z_0, and the gradient through it neither


@dataclass
class Kept:
    """What is kept of one output in B rows.

    `latents` (B, *latent_shape) of the given value and where they are `given`, (B, *latent_shape)
    bool. `start` (B,) in (0, 1]: the share of the noise schedule that is generated; 1 is all of it.
    `move(estimate of z_0, rows)` (B, *latent_shape): what the kept part changes about it, where it
    is no place in the latents; `rows` (B,) are their numbers among all rows, `moved` (B,) bool
    says which are. With `follow` the rest follows by the gradient through the denoiser. A row that
    keeps nothing has nothing given, start 1 and is not moved.
    """

    latents: torch.Tensor
    given: torch.Tensor
    start: torch.Tensor
    moved: torch.Tensor
    rows: torch.Tensor
    move: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None
    follow: bool = True

    def __getitem__(self, rows: torch.Tensor) -> "Kept":
        of_rows = (x[rows] for x in (self.latents, self.given, self.start, self.moved, self.rows))
        return Kept(*of_rows, self.move, self.follow)

    def pull(self, mean: torch.Tensor) -> torch.Tensor:
        """From the estimate `mean` (B, *latent_shape) of z_0 to what the kept part says of it."""
        if self.move is not None:
            return self.move(mean, self.rows)
        return torch.where(self.given, self.latents - mean, 0.0)

    def held(self, timestep: torch.Tensor, num_train_timesteps: int) -> torch.Tensor:
        """(B, *latent_shape) bool: what is held at a timestep (one number)."""
        before = timestep.to(self.start) > self.start * num_train_timesteps + 1e-4
        return self.given | expand_as(before, self.given)


class KeptPredictions:
    """Predictions of all outputs, as `GuidedPrediction` makes them, that keep what is kept."""

    def __init__(self, predict: Predict, kept: Mapping[str, Kept], objective: Objective) -> None:
        self.predict, self.kept, self.objective = predict, kept, objective

    def __call__(self, latents: Latents, timesteps: Mapping[str, torch.Tensor]) -> Latents:
        """Noisy latents (B, *latent_shape) and one timestep an output -> predictions."""
        agreeing = [name for name, kept in self.kept.items() if kept.move or kept.follow]
        others = [name for name in latents if name not in agreeing]
        predictions = self.predict(latents, timesteps, others) if others else {}
        predictions |= {name: self._agreeing(name, latents, timesteps) for name in agreeing}
        for name, kept in self.kept.items():
            t = timesteps[name].to(latents[name].device)
            held = kept.held(t, self.objective.num_train_timesteps)
            z_t = latents[name].float()
            leading = self.objective.to_prediction(kept.latents, z_t, t.expand(len(z_t)))
            predictions[name] = torch.where(held, leading.to(z_t), predictions[name])
        return {name: predictions[name] for name in latents}

    def _agreeing(
        self, name: str, latents: Latents, timesteps: Mapping[str, torch.Tensor]
    ) -> torch.Tensor:
        """The prediction of E[z_0 | z_t, kept]. With z_0 about N(m, r^2 I) given z_t, m the plain
        estimate and r^2 = sigma^2 / (alpha^2 + sigma^2), the kept part says z_0 = m + pull. The
        rest follows: m' = m + (alpha^2 + sigma^2) / alpha  (d m / d z_t)^T pull."""
        kept, of = self.kept[name], self.objective
        t = timesteps[name].to(latents[name].device).expand(len(latents[name]))
        with torch.enable_grad():
            z_t = latents[name].detach().requires_grad_()
            prediction = self.predict(latents | {name: z_t}, timesteps, [name])[name]
            mean = of.to_sample(prediction.float(), z_t.float(), t)
            alpha, sigma = (float(x[0]) for x in of.alpha_sigma(t))
            start = mean.detach()
            pull = kept.pull(start)
            if kept.follow and alpha > LEAST_ALPHA:
                (pull,) = torch.autograd.grad(mean, z_t, pull)
                pull = pull.float() * (alpha**2 + sigma**2) / alpha
        prediction = prediction.detach()
        moved = of.to_prediction(start + pull, latents[name].float(), t).to(prediction)
        return torch.where(expand_as(kept.moved, moved), moved, prediction)
