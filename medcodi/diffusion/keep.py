"""What a call keeps of its outputs while the rest is generated, as the latents see it.

All of it acts on the estimate of z_0 that a prediction stands for. It therefore holds for every
objective, scheduler and guidance, alone and jointly, and needs no training:

- Where latents are given, the prediction is the one that leads to them: along the whole way
  z_t = alpha_t z_given + sigma_t e, with the sampler's own noise e (replacement: Song et al. 2021,
  Lugmayr et al. 2022).
- At timesteps above `start` all latents are held, so that generation begins there with the noised
  latents of the given value (SDEdit, Meng et al. 2022).
- What no latent stands for, a column or a word, has a likelihood p(kept | z_0). The estimate is
  moved to what prediction and likelihood agree on, see `agreed`.

Legend: B batch.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch

from medcodi.diffusion.objective import Objective, expand_as

Latents = dict[str, torch.Tensor]
Likelihood = Callable[[torch.Tensor, Mapping[str, torch.Tensor]], torch.Tensor]


@dataclass
class Kept:
    """What is kept of one output in B rows.

    `latents` (B, *latent_shape) of the given value and where they are `given`, (B, *latent_shape)
    bool. `start` (B,) in (0, 1]: the share of the noise schedule that is generated; 1 is all of it.
    `likelihood(z_0, targets)` (B,): -log p(kept | z_0) in nats, with a gradient, where the kept
    part is no place in the latents; `targets` (B, ...) are what it compares with. A row that keeps
    nothing has nothing given, start 1 and likelihood 0.
    """

    latents: torch.Tensor
    given: torch.Tensor
    start: torch.Tensor
    likelihood: Likelihood | None = None
    targets: dict[str, torch.Tensor] = field(default_factory=dict)

    def __getitem__(self, rows: torch.Tensor) -> "Kept":
        targets = {name: target[rows] for name, target in self.targets.items()}
        of_rows = self.latents[rows], self.given[rows], self.start[rows]
        return Kept(*of_rows, self.likelihood, targets)

    def held(self, timestep: torch.Tensor, num_train_timesteps: int) -> torch.Tensor:
        """(B, *latent_shape) bool: what is held at a timestep (one number)."""
        before = timestep.to(self.start) > self.start * num_train_timesteps + 1e-4
        return self.given | expand_as(before, self.given)


class KeptPredictions:
    """Predictions of all outputs, as `GuidedPrediction` makes them, that keep what is kept."""

    def __init__(
        self,
        predict: Callable[[Latents, Mapping[str, torch.Tensor]], Latents],
        kept: Mapping[str, Kept],
        objective: Objective,
    ) -> None:
        self.predict, self.kept, self.objective = predict, kept, objective

    def __call__(self, latents: Latents, timesteps: Mapping[str, torch.Tensor]) -> Latents:
        """Noisy latents (B, *latent_shape) and one timestep an output -> predictions."""
        predictions = self.predict(latents, timesteps)
        for name, kept in self.kept.items():
            predictions[name] = self._kept(kept, predictions[name], latents[name], timesteps[name])
        return predictions

    def _kept(
        self,
        kept: Kept,
        prediction: torch.Tensor,
        noisy: torch.Tensor,
        timestep: torch.Tensor,
    ) -> torch.Tensor:
        timestep = timestep.to(noisy.device)
        t, z_t = timestep.expand(len(noisy)), noisy.float()
        held = kept.held(timestep, self.objective.num_train_timesteps)
        leading = self.objective.to_prediction(kept.latents, z_t, t)
        return torch.where(held, leading.to(prediction), prediction)
