"""Parts of a table row: columns that are given; the others are generated.

Columns are no places in the latents: they are put into the row that an estimate of the latents
decodes to, at every step, and into the generated row at the end, to the value. Legend: B rows, F
columns.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from medcodi.autoencoders.base import Autoencoder
from medcodi.diffusion.keep import Kept
from medcodi.modalities.parts import Part, Parts


class TabularParts(Parts):
    """A part is a row with some of its columns, as a dict, or a DataFrame of rows; missing columns
    and NaN are generated. Part.value: the given columns; Part.gap: the names of the others."""

    def from_user(self, values: Any, varied: bool) -> list[Part | None]:
        rows = self.modality.from_user(values)
        if varied:
            return [None if row is None else Part(row) for row in rows]
        names = self.modality.schema.names
        parts: list[Part | None] = []
        for number, row in enumerate(rows):
            gap = tuple(name for name in names if name not in (row or {}))
            if not gap:
                raise ValueError(
                    f"modality {self.name!r}: row {number} gives every column: nothing is left to "
                    "generate"
                )
            parts.append(None if row is None else Part(row, gap))
        return parts

    def lacking(self, stored: Mapping[str, Any] | None) -> Part | None:
        given = {name: value for name, value in (stored or {}).items() if value is not None}
        gap = tuple(name for name in self.modality.schema.names if name not in given)
        return Part(given, gap, complete=True) if gap else None

    def kept(
        self, autoencoder: Autoencoder, parts: Sequence[Part], start: float, batch_size: int
    ) -> Kept:
        if parts[0].gap is None:
            return super().kept(autoencoder, parts, start, batch_size)
        given = self.modality.collate([part.value for part in parts]).to(autoencoder.device)

        def move(latents: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
            table = autoencoder.decode(latents)
            kept = given[rows]
            filled = torch.where(kept.isnan(), table, kept)
            return autoencoder.encode(filled) - autoencoder.encode(table)

        return self.moving(autoencoder, len(parts), move)

    def stored(
        self,
        autoencoder: Autoencoder,
        latents: torch.Tensor,
        parts: Sequence[Part | None],
        generators: list[torch.Generator],
    ) -> list[dict[str, Any]]:
        names = self.modality.schema.names
        present = torch.tensor(
            [[part is not None and part.complete] * len(names) for part in parts]
        )  # (B, F)
        table = autoencoder.decode(latents, generator=generators, present=present)
        return self.modality.to_stored(table)

    def compose(self, part: Part, generated: dict[str, Any]) -> dict[str, Any]:
        return generated | part.value
