"""Table rows: a row that is far nearer to one training row than to the next ones is a copy.

Legend: N rows, T training rows.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medcodi.data.table import TableSchema
from medcodi.metrics.privacy import neighbour_ratios, row_distances
from medcodi.modalities.base import Modality
from medcodi.privacy.guard import Guard, Match

CHUNK = 256
ROWS = "rows.json"


class RowGuard(Guard):
    """The score is 1 - d_1 / mean(d_2 ... d_6) of the Gower distances to the nearest training rows:
    1 for a copy of one row, 0 where several are equally near."""

    storage, what = "table", "is a training row, or nearly"

    def __init__(self, rows: Sequence[dict], schema: TableSchema) -> None:
        if len(rows) < 2:
            raise ValueError(f"a guard of rows needs two training rows or more, got {len(rows)}")
        self.rows, self.schema = list(rows), schema

    def check(self, modality: Modality) -> None:
        super().check(modality)
        here = {column.name for column in self.schema.columns}
        there = {column.name for column in modality.schema.columns}
        if here != there:
            raise ValueError(
                f"this filter was fitted on rows with other columns than {modality.name!r} has: "
                f"{', '.join(sorted(here ^ there))}"
            )

    def match(self, values: Sequence[Any]) -> Match:
        scores, records = [], []
        for start in range(0, len(values), CHUNK):
            distances = row_distances(values[start : start + CHUNK], self.rows, self.schema)
            scores.append(1 - np.minimum(neighbour_ratios(distances), 1))
            records.append(distances.argmin(axis=1))
        return Match(np.concatenate(scores), np.concatenate(records))

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        document = {"rows": self.rows, "columns": self.schema.to_dicts()}
        document |= {"threshold": self.threshold, "alert": self.alert}
        (folder / ROWS).write_text(json.dumps(document))

    @classmethod
    def load(cls, folder: Path) -> "RowGuard":
        document = json.loads((folder / ROWS).read_text())
        guard = cls(document["rows"], TableSchema.from_dicts(document["columns"]))
        guard.threshold, guard.alert = document["threshold"], document["alert"]
        return guard
