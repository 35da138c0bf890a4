"""Studies -> one batch with a present mask. Legend: B studies, M modalities, B_m studies that have
modality m."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from medcodi.config_io import unknown_key
from medcodi.data.study import Study


@dataclass
class StudyBatch:
    """B studies. `values[name]` is the compact value batch of the B_m rows that have the modality
    (a modality that no row has is not in `values`), `present` (B, M) bool in the order of `names`.
    Absence is never zero-filled."""

    values: dict[str, Any]
    present: torch.Tensor
    names: list[str]
    study_ids: list[str]

    def __len__(self) -> int:
        return len(self.study_ids)

    def rows(self, name: str) -> torch.Tensor:
        """(B_m,) long: the rows of the batch that the compact `values[name]` belongs to,
        ascending."""
        if name not in self.names:
            raise unknown_key(name, self.names, "batch")
        return self.present[:, self.names.index(name)].nonzero().squeeze(1)


def collate(
    studies: Sequence[Study], collate_fns: dict[str, Callable[[list[Any]], Any]]
) -> StudyBatch:
    """Batch `studies`; `collate_fns[name]` turns the raw values of the rows that have the modality
    into their value batch.

    Only the names in `collate_fns` are taken, in its order. Raises ValueError for an empty list.
    """
    if not studies:
        raise ValueError("collate needs at least one study, got none")
    names = list(collate_fns)
    present = torch.tensor(
        [[study.values.get(name) is not None for name in names] for study in studies],
        dtype=torch.bool,
    )
    present = present.reshape(len(studies), len(names))  # (B, M), also for M = 0
    values = {}
    for name, collate_fn in collate_fns.items():
        raw = [study.values[name] for study in studies if study.values.get(name) is not None]
        if raw:
            values[name] = collate_fn(raw)
    return StudyBatch(values, present, names, [study.study_id for study in studies])
