"""What a network needs from the training split, for an import that may come before any data are
prepared."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from medcodi.config import Recipe
from medcodi.modalities.family import ModelFamily
from medcodi.modalities.report import pretrained_tokenizers
from medcodi.training.run import Run


class Assets(Mapping[str, Any]):
    """Assets of one modality, looked up when a network first asks: an image has none, CLIP's text
    tower its own tokenizer.

    They are the run's where it has begun. Before, a report with `autoencoder_tokenizers` reads
    those; what is learned from data begins the run, and ValueError says so where none are prepared.
    """

    def __init__(self, recipe: Recipe, name: str) -> None:
        self.recipe, self.name = recipe, name

    @cached_property
    def _found(self) -> dict[str, Any]:
        tokenizers = self.recipe.modalities[self.name].get("autoencoder_tokenizers")
        if tokenizers is not None and not (self.recipe.run_dir / "assets.json").is_file():
            return pretrained_tokenizers(self.name, tokenizers)
        try:
            return Run(self.recipe).family.assets[self.name]
        except (ValueError, OSError) as error:
            raise ValueError(
                f"{self.name!r} needs what its networks learn from the training split before any "
                "weights (a report's "
                f"tokenizer, a table's columns): prepare the data first. {error}"
            ) from error

    def __getitem__(self, key: str) -> Any:
        return self._found[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


def family_of(recipe: Recipe) -> ModelFamily:
    """The family of a recipe whose data need not be prepared yet, as long as no network asks for
    its assets."""
    return ModelFamily(recipe, {name: Assets(recipe, name) for name in recipe.modalities})
