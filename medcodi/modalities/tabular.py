"""Kind `tabular`: one row of clinical variables, missing values as a state."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from medcodi.autoencoders.base import Autoencoder
from medcodi.autoencoders.tabular_vae import TabularVAE, TabularVAEConfig
from medcodi.config import DiffusionConfig, SharedSpaceConfig
from medcodi.config_io import unknown_key
from medcodi.data.prepared import PreparedDataset
from medcodi.data.table import TableSchema
from medcodi.diffusion.denoisers.base import Denoiser
from medcodi.diffusion.denoisers.slots import VectorDenoiserArgs
from medcodi.encoders.base import PromptEncoder
from medcodi.encoders.tabular import TabularTower
from medcodi.labeler.names import FindingNames, Label
from medcodi.modalities.base import Modality, ModalityArgs, register
from medcodi.modalities.finding_columns import findings_of
from medcodi.modalities.tabular_parts import TabularParts


@dataclass
class TabularEncoderArgs:
    """Feature-tokenizer transformer."""

    width: int = 64
    layers: int = 2
    heads: int = 4
    num_tokens: int = 16
    pooling: str = "spans"


@dataclass
class TabularArgs(ModalityArgs):
    kind: str = "tabular"
    gate: float = 0.9  # share of discrete cells that come back; of numbers alone: R squared
    guidance_scale: float = 1.0
    encoder: TabularEncoderArgs = field(default_factory=TabularEncoderArgs)
    autoencoder: TabularVAEConfig = field(default_factory=TabularVAEConfig)
    denoiser: VectorDenoiserArgs = field(default_factory=VectorDenoiserArgs)


@register("tabular")
class TabularModality(Modality):
    """Stored value: dict column -> value. Value batch: (B, F) of `TableSchema.encode`. User value:
    DataFrame."""

    Args = TabularArgs
    storage = "table"

    def fit_assets(self, dataset: PreparedDataset) -> dict[str, Any]:
        """The schema, as fitted on the training split."""
        return {"schema": dataset.schemas[self.name].to_dicts()}

    @property
    def schema(self) -> TableSchema:
        return TableSchema.from_dicts(self.assets["schema"])

    def schemas(self) -> dict[str, TableSchema]:
        return {self.name: self.schema}

    @property
    def parts(self) -> TabularParts:
        return TabularParts(self)

    @property
    def figure(self) -> str:  # type: ignore[override]
        """Mean accuracy of the discrete columns; mean r2 of a table that has none."""
        discrete = any(column.is_discrete for column in self.schema.columns)
        return "accuracy" if discrete else "r2"

    def collate(self, values: Sequence[Mapping[str, Any]]) -> torch.Tensor:
        return self.schema.encode([dict(v) for v in values])  # (B, F)

    def build_prompt_encoder(self, space: SharedSpaceConfig) -> PromptEncoder:
        a = self.args.encoder
        tower = TabularTower(self.schema, a.width, a.layers, a.heads)
        return PromptEncoder(tower, a.width, space.embed_dim, a.num_tokens, a.pooling)

    def build_autoencoder(self) -> Autoencoder:
        return TabularVAE(self.args.autoencoder, self.schema)

    def build_denoiser(self, latent_shape: tuple[int, ...], diffusion: DiffusionConfig) -> Denoiser:
        return self.args.denoiser.build(latent_shape, diffusion)

    def decode(
        self, autoencoder: Autoencoder, latents: torch.Tensor, generators: list[torch.Generator]
    ) -> torch.Tensor:
        """Cells are drawn from their likelihoods, each row by its own generator."""
        return autoencoder.decode(latents, generator=generators)

    def from_user(self, values: Any) -> list[dict[str, Any] | None]:
        """A DataFrame, a dict (one row) or a list of dicts; missing columns and NaN are missing
        values."""
        if isinstance(values, pd.DataFrame):
            values = values.astype(object).where(values.notna(), None).to_dict("records")
        if isinstance(values, Mapping) or values is None:
            values = [values]
        if not isinstance(values, (list, tuple)):
            raise ValueError(
                f"modality {self.name!r}: expected a DataFrame, a dict or a list of dicts, got "
                f"{type(values).__name__}"
            )
        columns = {column.name: column for column in self.schema.columns}
        rows: list[dict[str, Any] | None] = []
        for number, row in enumerate(values):
            stored = {}
            for key, value in (row or {}).items():
                if key not in columns:
                    raise unknown_key(key, columns, f"a row of {self.name!r}")
                if (
                    value is None
                    or value is pd.NaT
                    or (isinstance(value, float) and value != value)
                ):
                    continue
                try:
                    stored[key] = columns[key].read(value)
                except ValueError as error:
                    raise ValueError(f"row {number}, column {key!r}: {error}") from None
            rows.append(stored or None)
        return rows

    def from_labels(self, labels: Sequence[Label]) -> tuple[dict[str, Any] | None, list[Label]]:
        """A row of the columns of findings that are meant."""
        answers = findings_of(self.schema)
        names = FindingNames(answers)
        row: dict[str, Any] = {}
        left = []
        for label in labels:
            column, status = names.find(label) or ("", label.status)
            if status not in answers.get(column, {}):
                left.append(label)
                continue
            if column in row:
                raise ValueError(f"label {label.text!r}: column {column!r} is named twice")
            row[column] = answers[column][status]
        return row or None, left

    def label_names(self) -> list[str]:
        return list(findings_of(self.schema))

    def to_stored(self, values: torch.Tensor) -> list[dict[str, Any]]:
        return self.schema.decode(values.cpu())

    def show(self, stored: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
        """Numbers as numbers; what is written in another way where the table comes from (dates,
        bounds, units) as texts of that form."""
        columns = self.schema.columns
        return pd.DataFrame(
            {c.name: pd.Series([c.show(row.get(c.name)) for row in stored]) for c in columns}
        )

    def to_previewable(self, values: torch.Tensor) -> list[dict[str, Any]]:
        return self.to_stored(values)

    def preview(self, values: Mapping[str, Any]) -> str:
        return " ".join(
            f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in values.items()
        )

    def write(self, values: pd.DataFrame, folder: Path, stems: Sequence[str]) -> list[str]:
        """Cells as the table has them that the schema comes from; semicolons between them where it
        has decimal commas."""
        names, columns = [], self.schema.columns
        separator = ";" if any(c.notation.decimal == "," for c in columns) else ","
        rows = self.from_user(values)
        for stem, row in zip(stems, rows, strict=True):
            names.append(f"{stem}_{self.name}.csv")
            cells = {c.name: c.text((row or {}).get(c.name)) for c in columns}
            pd.DataFrame([cells]).to_csv(folder / names[-1], index=False, sep=separator)
        return names

    def read(self, path: Path) -> list[dict[str, Any] | None]:
        """A csv file with the schema's columns (any subset), one row a prompt."""
        # strings stay strings ("NA" may be a category); an empty cell is missing
        with open(path, encoding="utf-8-sig") as file:
            header = file.readline()
        separator = ";" if header.count(";") > header.count(",") else ","
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, sep=separator)
        return self.from_user(
            [{k: v for k, v in row.items() if v != ""} for row in frame.to_dict("records")]
        )

    def parse(self, text: str) -> list[dict[str, Any] | None]:
        """The path of a csv file, or `column=value;column=value`."""
        if "=" not in text:
            return super().parse(text)
        pairs = [part.partition("=") for part in text.split(";") if part.strip()]
        return self.from_user([{key.strip(): value.strip() for key, _, value in pairs}])
