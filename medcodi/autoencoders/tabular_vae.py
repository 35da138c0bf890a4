"""Tabular VAE: feature tokenizer, MLP encoder and decoder, one likelihood a column, missing as a
state of each cell.

Legend: B rows, F columns (R numeric, S discrete), K most categories of a column, N slots, C slot
dimension.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medcodi.autoencoders.augmentation import mix_cells
from medcodi.autoencoders.base import Autoencoder, cyclical_beta, kl_with_free_bits, reparametrize
from medcodi.autoencoders.sampling import row_generators
from medcodi.data.table import TableSchema
from medcodi.nn.features import FeatureTokenizer


@dataclass
class TabularVAEConfig:
    """Sizes and objective. `min_scale` is the least standard deviation of a number's likelihood, in
    standard deviations of its column: how exactly numbers are asked for; `discrete_weight` keeps
    categories and missing cells from being drowned by it. Training rows are augmented by
    `cell_mixing` and `cell_dropout` (see `mix_cells`); a dropped cell counts as missing, so that
    missing cells come out more often, too.

    `min_posterior_std` keeps the latents smooth: at 2.0 it is a third of their spread. Neighbouring
    categories then overlap, and between two of them the decoder draws either; with narrow
    posteriors that gap belongs to "missing", where a sampled latent often falls
    (docs/results/table_rows.md)."""

    num_slots: int = 4
    slot_dim: int = 8
    token_dim: int = 16
    hidden_dim: int = 256
    num_layers: int = 2
    discrete_weight: float = 4.0
    cell_mixing: float = 0.1
    cell_dropout: float = 0.0
    max_beta: float = 0.005
    num_beta_cycles: int = 1
    free_bits: float = 0.0
    min_scale: float = 0.1
    min_posterior_std: float = 2.0


class CellLikelihoods(NamedTuple):
    """Parameters of p(cell | z)."""

    mean: Tensor  # (B, R) standardised numbers
    scale: Tensor  # (B, R)
    logits: Tensor  # (B, S, K), -inf beyond a column's categories
    missing: Tensor  # (B, F) logits of P(missing)


class TabularVAE(Autoencoder):
    """Table rows (B, F) of `TableSchema.encode` <-> latents (B, num_slots, slot_dim)."""

    def __init__(self, config: TabularVAEConfig, schema: TableSchema):
        super().__init__((config.num_slots, config.slot_dim))
        self.config, self.schema = config, schema
        cardinalities = [
            len(column.categories) if column.is_discrete else 0 for column in schema.columns
        ]
        self.numeric = [i for i, count in enumerate(cardinalities) if count == 0]
        self.discrete = [i for i, count in enumerate(cardinalities) if count > 0]
        counts = torch.tensor([cardinalities[i] for i in self.discrete], dtype=torch.long)
        self.max_categories = max((cardinalities[i] for i in self.discrete), default=1)
        self.register_buffer(
            "invalid", torch.arange(self.max_categories) >= counts[:, None], persistent=False
        )
        latent_dim = config.num_slots * config.slot_dim
        self.features = FeatureTokenizer(cardinalities, config.token_dim)
        self.encoder = mlp(
            len(cardinalities) * config.token_dim,
            config.hidden_dim,
            2 * latent_dim,
            config.num_layers,
        )
        num_numeric, num_logits = len(self.numeric), len(self.discrete) * self.max_categories
        self.output_sizes = [num_numeric, num_numeric, num_logits, len(cardinalities)]
        self.decoder = mlp(latent_dim, config.hidden_dim, sum(self.output_sizes), config.num_layers)
        with torch.no_grad():  # posterior starts narrow
            self.encoder[-1].bias[latent_dim:] = -4.0

    def posterior(self, values: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.features(values.to(self.device))  # (B, F, D)
        moments = (
            self.encoder(hidden.flatten(1)).float().unflatten(1, (2, *self.latent_shape))
        )  # (B, 2, N, C)
        mean, logvar = moments.unbind(1)
        return mean, torch.log(logvar.clamp(max=2.0).exp() + self.config.min_posterior_std**2)

    def likelihoods(self, latents: Tensor) -> CellLikelihoods:
        """Latents (B, N, C), not normalised -> parameters of the likelihood of every cell."""
        outputs = self.decoder(latents.flatten(1)).float()
        mean, raw_scale, logits, missing = outputs.split(self.output_sizes, dim=1)
        scale = self.config.min_scale + F.softplus(raw_scale)
        logits = logits.unflatten(1, (len(self.discrete), self.max_categories))
        return CellLikelihoods(mean, scale, logits.masked_fill(self.invalid, -torch.inf), missing)

    def decode_posterior(
        self,
        latents: Tensor,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        present: Tensor | None = None,
    ) -> Tensor:
        """Latents (B, N, C) -> (B, F), NaN where the cell is decoded as missing.

        Args:
            generator: None gives the mean of numbers, the likeliest category, and missing where
                that is likelier than not. A CPU generator (one, or one a row) draws every cell from
                its likelihood.
            present: (B, F) bool, cells that must not come out as missing.
        """
        cells = self.likelihoods(latents)
        numbers, missing = cells.mean, cells.missing > 0
        categories = cells.logits.argmax(-1)  # (B, S)
        if generator is not None:
            generators = row_generators(generator, len(latents))
            draw = lambda sample, size: torch.stack(
                [sample(size, generator=g) for g in generators]
            ).to(latents.device)
            numbers = numbers + cells.scale * draw(torch.randn, len(self.numeric))
            cumulative = cells.logits.softmax(-1).cumsum(-1)  # (B, S, K)
            categories = (cumulative < draw(torch.rand, len(self.discrete))[..., None]).sum(
                -1
            )  # (B, S)
            categories = categories.minimum((~self.invalid).sum(-1) - 1)
            missing = draw(torch.rand, missing.shape[1]) < cells.missing.sigmoid()
        if present is not None:
            missing = missing & ~present.to(missing.device)
        table = torch.empty(missing.shape, device=latents.device)  # (B, F)
        table[:, self.numeric] = numbers
        table[:, self.discrete] = categories.float()
        return table.masked_fill(missing, torch.nan)

    def losses(
        self, values: Tensor, progress: float, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """ELBO in nats a cell: numbers Gaussian, categories categorical, missing Bernoulli; a
        missing cell has no value term. loss = number + discrete_weight * (category + missing) +
        beta * kl / F."""
        if self.training:
            values = mix_cells(values, self.config.cell_mixing, self.config.cell_dropout, generator)
        values = values.to(self.device)
        mean, logvar = self.posterior(values)
        cells = self.likelihoods(reparametrize(mean, logvar, generator))
        missing = values.isnan()  # (B, F)
        values = values.masked_fill(missing, 0.0)
        number = gaussian_nll(values[:, self.numeric], cells.mean, cells.scale)  # (B, R)
        parts = {
            "number": number.masked_fill(missing[:, self.numeric], 0.0).sum() / values.numel(),
            "category": values.new_zeros(()),
            "missing": F.binary_cross_entropy_with_logits(cells.missing, missing.float()),
        }
        if self.discrete:
            targets = values[:, self.discrete].long()  # (B, S)
            category = F.cross_entropy(
                cells.logits.flatten(0, 1), targets.flatten(), reduction="none"
            ).view_as(targets)
            parts["category"] = (
                category.masked_fill(missing[:, self.discrete], 0.0).sum() / values.numel()
            )
        kl = kl_with_free_bits(mean, logvar, self.config.free_bits)
        beta = cyclical_beta(progress, self.config.max_beta, self.config.num_beta_cycles)
        discrete_loss = self.config.discrete_weight * (parts["category"] + parts["missing"])
        loss = parts["number"] + discrete_loss + beta * kl / values.shape[1]
        parts |= {"kl": kl, "beta": torch.full((), beta, device=kl.device)}
        return {"loss": loss, **{name: value.detach() for name, value in parts.items()}}

    @torch.no_grad()
    def reconstruction(self, values: Tensor) -> dict[str, float]:
        """Over the cells that are present: `accuracy` of discrete columns (mean and
        `worst_accuracy`), `r2` of numeric columns (mean and `worst_r2`); over all cells,
        `missing_accuracy`. Figures of no column are left out."""
        values = values.to(self.device)
        cells = self.likelihoods(self.encode(values) * self.latent_std + self.latent_mean)
        present = ~values.isnan()
        figures = {"missing_accuracy": float(((cells.missing > 0) != present).float().mean())}
        accuracies, r2 = [], []
        for i, column in enumerate(self.discrete):
            rows = present[:, column]
            if rows.any():
                accuracies.append(
                    float((cells.logits[rows, i].argmax(-1) == values[rows, column]).float().mean())
                )
        for i, column in enumerate(self.numeric):
            rows = present[:, column]
            truth = values[rows, column]
            if rows.sum() > 1 and (spread := float((truth - truth.mean()).square().sum())) > 0:
                r2.append(1.0 - float((cells.mean[rows, i] - truth).square().sum()) / spread)
        for name, per_column in (("accuracy", accuracies), ("r2", r2)):
            if per_column:
                figures |= {
                    name: sum(per_column) / len(per_column),
                    f"worst_{name}": min(per_column),
                }
        return figures


def mlp(input_dim: int, hidden_dim: int, output_dim: int, num_layers: int) -> nn.Sequential:
    """`num_layers` hidden layers with SiLU."""
    layers: list[nn.Module] = []
    for i in range(num_layers):
        layers += [nn.Linear(input_dim if i == 0 else hidden_dim, hidden_dim), nn.SiLU()]
    return nn.Sequential(*layers, nn.Linear(hidden_dim, output_dim))


def gaussian_nll(values: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """-log N(values; mean, scale) in nats, elementwise."""
    return 0.5 * ((values - mean) / scale).square() + scale.log() + 0.5 * math.log(2 * math.pi)
