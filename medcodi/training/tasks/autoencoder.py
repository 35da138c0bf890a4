"""Autoencoders, before stage 2: one per group of modalities."""

from pathlib import Path
from typing import Any

import torch

from medcodi.config_io import for_modality
from medcodi.data.prepared import PreparedDataset
from medcodi.modalities.family import seeded
from medcodi.modalities.sheet import contact_sheet
from medcodi.nn.weights import save_module
from medcodi.training import identity
from medcodi.training.draws import Draws
from medcodi.training.run import Run
from medcodi.training.task import Task

STATISTICS_ROWS = 1024
FIGURE_ROWS = 256


class GroupRows:
    """Every value of every modality of a group, as one flat list of value batches."""

    def __init__(self, data: PreparedDataset, modality: Any, names: list[str]) -> None:
        self.data, self.modality, self.names = data, modality, names
        present = data.present[:, [data.names.index(n) for n in names]]
        rows, columns = present.nonzero()
        self.items = list(zip(rows.tolist(), columns.tolist(), strict=True))

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, indices: list[int]) -> Any:
        items = [self.items[i] for i in indices]
        studies = self.data.batch([row for row, _ in items])
        return self.modality.collate(
            [
                study.values[self.names[column]]
                for study, (_, column) in zip(studies, items, strict=True)
            ]
        )


class AutoencoderTask(Task):
    """value batch -> autoencoder losses. After training: latent statistics and the figure for the
    gate."""

    def __init__(self, run: Run, group: str) -> None:
        super().__init__()
        if group not in run.family.groups:
            raise ValueError(
                f"unknown autoencoder group {group!r}. Groups: {', '.join(run.family.groups)}"
            )
        self.run, self.group, self.label = run, group, f"autoencoder/{group}"
        self.modality = run.family.representative(group)
        with seeded(run.recipe.seed):
            self.autoencoder = self.modality.build_autoencoder()
            self.adversary = self.modality.build_adversary()
        self.find_unused_parameters = not self.autoencoder.all_trained
        decay = for_modality(run.recipe.autoencoder, self.modality.name).optim.weight_decay
        if decay and not self.autoencoder.all_trained:
            raise ValueError(
                f"modalities.{self.modality.name}.autoencoder.train_encoder: false needs "
                f"autoencoder.optim.weight_decay: 0, got {decay:g}, which would move the encoder"
            )

    def dependencies(self) -> dict[str, Any]:
        return identity.of_autoencoder(self.run, self.group)

    def dataset(self, split: str) -> GroupRows:
        names = self.run.family.groups[self.group]
        return GroupRows(self.run.data(split, names), self.modality, names)

    def forward(self, batch: Any, draws: Draws, progress: float) -> dict[str, torch.Tensor]:
        judge = () if self.adversary is None else (self.adversary,)
        return self.autoencoder.losses(batch, progress, draws.local_generator, *judge)

    def _first_rows(self, split: str, count: int) -> Any:
        data = self.dataset(split)
        if len(data) == 0:
            raise ValueError(
                f"{self.label}: the {split} split has no row to measure reconstruction on"
            )
        stride = max(1, len(data) // count)
        rows = self.modality.select(
            data[list(range(0, len(data), stride))[:count]], range(min(count, len(data)))
        )
        return rows.to(self.device) if isinstance(rows, torch.Tensor) else rows

    def finalize(self) -> dict[str, Any]:
        autoencoder = self.autoencoder.eval()
        rows = self._first_rows("train", STATISTICS_ROWS)
        means = [
            autoencoder.posterior(rows[i : i + 64])[0].float() for i in range(0, len(rows), 64)
        ]
        latents = torch.cat(means)  # (N, *latent_shape)
        dims = (0, 2, 3) if latents.ndim == 4 else (0,)
        shape = autoencoder.latent_mean.shape
        autoencoder.set_latent_statistics(
            latents.mean(dims).view(shape), latents.std(dims).view(shape)
        )
        figures = autoencoder.reconstruction(self._first_rows("validation", FIGURE_ROWS))
        return {"reconstruction": figures, "gate": {self.modality.figure: self.modality.args.gate}}

    def preview(self, folder: Path, step: int) -> None:
        values = self._first_rows("validation", 8)
        decoded = self.autoencoder.decode(self.autoencoder.encode(values))
        shown = [
            [self.modality.preview(v) for v in self.modality.to_previewable(x)]
            for x in (values, decoded)
        ]
        contact_sheet(shown, ["real", "decoded"]).save(folder / f"step_{step}.png")

    def export(self, folder: Path, config: dict[str, Any]) -> None:
        save_module(self.autoencoder, folder, config)
