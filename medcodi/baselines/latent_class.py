"""Latent class optimisation (Segal et al. 2021): a progressive GAN that knows no classes, and a
classifier of findings whose gradient moves the latent vector until the image shows them.

Only the paper's abstract is at hand: the loss, the term of the prior and the numbers of the
settings are ours. The GAN is that of `pggan.py` without labels.

Legend: N samples, K labels, Z noise.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from medcodi.baselines.base import Player, Records
from medcodi.baselines.pggan import PGGAN, PGGANSettings
from medcodi.metrics.networks.architectures import acquired, build_network

CLASSIFIER = "classifier"


@dataclass(frozen=True)
class LatentClassSettings(PGGANSettings):
    """`num_updates` of the latent vector by Adam; `prior_weight` keeps its mean square at 1, that
    of the prior. `network` is the classifier's."""

    network: str = "tiny"
    num_updates: int = 15
    update_rate: float = 0.05
    prior_weight: float = 0.1


class LatentClass(PGGAN):
    """`uses` labels in sampling; its GAN has none."""

    name, title = "latent_class", "PGGAN, latent class optimisation"
    settings_type = LatentClassSettings
    # The publication's 1024 x 1024 pixels are Karras's own sizes.
    paper = LatentClassSettings(base=8192, most=512, latent_dim=512, network="densenet121")
    paper_size, paper_labels = 1024, 14
    conditional = False

    def __init__(self, size: int, num_labels: int, settings: LatentClassSettings) -> None:
        super().__init__(size, num_labels, settings)
        self.classifier = build_network(settings.network, num_labels)

    def players(self) -> dict[str, Player]:
        return super().players() | {CLASSIFIER: Player([self.classifier], 1e-3)}

    def loss(self, player: str, batch: Records, progress: float) -> Tensor:
        if player != CLASSIFIER:
            return super().loss(player, batch, progress)
        logits = self.classifier(acquired(batch.images))
        return F.binary_cross_entropy_with_logits(logits, batch.labels)

    def rate(self, player: str, progress: float) -> float:
        return 1 - progress if player == CLASSIFIER else 1.0

    def generate(self, noise: Tensor, labels: Tensor, sources: Tensor | None) -> Tensor:
        latents = noise.clone()
        with torch.enable_grad():
            latents.requires_grad_()
            optimizer = torch.optim.Adam([latents], self.settings.update_rate)
            for _ in range(self.settings.num_updates):
                (gradient,) = torch.autograd.grad(self._far(latents, labels), latents)
                latents.grad = gradient
                optimizer.step()
        return super().generate(latents.detach(), labels, sources)

    def _far(self, latents: Tensor, labels: Tensor) -> Tensor:
        """How far samples are from their labels and from the prior: the sum over N, so that a
        sample's path does not depend on the others."""
        images = super().generate(latents, labels, None).mean(dim=1, keepdim=True)
        logits = self.classifier(images)
        wrong = F.binary_cross_entropy_with_logits(logits, labels, reduction="none").sum()
        away = (latents.square().mean(dim=1) - 1).square().sum()
        return wrong + self.settings.prior_weight * away
