"""The real studies that tables measure with.

Legend: N studies. Letters: F frontal, L lateral, T report, table the row; which modality each is,
the recipe says.
"""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from medcodi.config import Recipe
from medcodi.data.prepared import PreparedDataset, dataset_hash
from medcodi.data.study import Study
from medcodi.sources.phantom import render_missing

LETTERS = ("F", "L", "T", "table")
HELD_OUT = ("test", "validation")


class Studies:
    """The studies of a recipe's prepared folder. Values are raw: images (H, W) in [0, 1], texts,
    rows."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe, self.settings = recipe, recipe.evaluation
        self._held_out: dict[tuple[tuple[str, ...], int], list[Study]] = {}

    @functools.cached_property
    def data_hash(self) -> str:
        render_missing(self.recipe.data)
        return dataset_hash(self.recipe.data.prepared)

    def name(self, letter: str) -> str:
        """Modality of a letter (F L T table)."""
        return self.settings.names[letter]

    def names(self, letters: Sequence[str]) -> tuple[str, ...]:
        return tuple(self.name(letter) for letter in letters)

    def split(self, split: str) -> PreparedDataset:
        render_missing(self.recipe.data)
        return _open(self.recipe.data.prepared, split, tuple(self.recipe.modalities))

    def of(
        self, splits: str | Sequence[str], letters: Sequence[str] = (), count: int | None = None
    ) -> list[Study]:
        """Studies of one or more splits that have all of `letters`: those that are complete first,
        then in stored order (with `count`, the first ones)."""
        chosen: list[Study] = []
        for split in [splits] if isinstance(splits, str) else splits:
            dataset = self.split(split)
            if not set(self.names(letters)) <= set(dataset.names):
                continue  # the data set has no such modality
            wanted = [dataset.names.index(n) for n in self.names(letters)]
            having = np.flatnonzero(dataset.present[:, wanted].all(axis=1))
            complete = dataset.present[having].all(axis=1)
            having = having[np.argsort(~complete, kind="stable")]
            room = len(having) if count is None else max(count - len(chosen), 0)
            chosen += dataset.batch(having[:room])
        return chosen

    def held_out(self, letters: Sequence[str], count: int | None = None) -> list[Study]:
        """The studies that are generated for: the first `count` (default: the settings') of test,
        then of validation, that have all of `letters`. Routes over complete data sets share them.
        """
        key = (self.names(letters), self.settings.num_studies if count is None else count)
        if key not in self._held_out:
            self._held_out[key] = self.of(HELD_OUT, letters, key[1])
        return self._held_out[key]

    def training(self, letters: Sequence[str], count: int | None = None) -> list[Study]:
        """Real training studies that have all of `letters`, at most `count` (default: the
        settings')."""
        return self.of(
            "train", letters, self.settings.num_training_studies if count is None else count
        )

    def values(self, studies: Sequence[Study], letter: str) -> list[Any]:
        return [study.values[self.name(letter)] for study in studies]

    def images(self, studies: Sequence[Study], letter: str) -> np.ndarray:
        """(N, H, W) float32 in [0, 1]."""
        return np.stack(self.values(studies, letter))

    @functools.cached_property
    def have_truth(self) -> bool:
        """They are phantoms: `study.truth` says what was rendered."""
        train = self.split("train")
        return len(train) > 0 and (train[0].truth or {}).get("ctr") is not None


@functools.cache
def _open(folder: str, split: str, also: tuple[str, ...]) -> PreparedDataset:
    return PreparedDataset.load(folder, split, also=also)
