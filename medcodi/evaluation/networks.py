"""Networks that the suite trains on REAL training studies, kept in `work/networks`; training of the
model never saw them."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from medcodi.evaluation.labels import Labels, LabelSources
from medcodi.evaluation.studies import Studies
from medcodi.identity import fingerprint
from medcodi.metrics.backbones import Backbone
from medcodi.metrics.networks.classifier import ImageClassifier
from medcodi.metrics.networks.coherence_encoder import CoherenceEncoder
from medcodi.metrics.networks.phantom_reader import LABELS, PhantomReader

logger = logging.getLogger(__name__)


class LabelBackbone:
    """The embedded default: features of the classifier that was trained on the data set's own
    labels."""

    def __init__(self, classifier: ImageClassifier, view: str) -> None:
        self.name, self.classifier = f"label network ({view})", classifier

    def features(self, images: np.ndarray) -> np.ndarray:
        return self.classifier.features(images)


class Networks:
    """Made on first use; the same data, settings and seed find them again in `folder`."""

    def __init__(self, studies: Studies, labels: LabelSources, folder: Path) -> None:
        self.studies, self.labels, self.folder = studies, labels, folder
        self.settings = studies.settings
        self._kept: dict[str, Any] = {}

    def classifier(self, letter: str, labels: Labels | None = None) -> ImageClassifier:
        """Findings in the images of a view (F or L), trained on `labels` (default: of the data
        set).

        ValueError where the data set has no labels, or none of them has both classes.
        """
        labels = labels or self.labels.own
        if labels is None:
            raise ValueError("the data set has no labels to train a classifier on")

        def train() -> ImageClassifier:
            studies = self.studies.training([letter])
            logger.info(
                "training the %s classifier on %d real images (%s)",
                letter,
                len(studies),
                labels.source,
            )
            images, steps = self.studies.images(studies, letter), self.settings.network_steps
            return ImageClassifier(labels.names).fit(images, labels.of(studies), steps)

        return self._get(
            f"classifier_{letter}", [labels.source, labels.names], ImageClassifier.load, train
        )

    def backbones(self, letter: str) -> list[LabelBackbone | Backbone]:
        """The embedded default (where there are labels), then the recipe's plug-ins."""
        own = (
            [LabelBackbone(self.classifier(letter), self.studies.name(letter))]
            if self.labels.own
            else []
        )
        for spec in self.settings.backbones:
            key = f"backbone_{fingerprint(spec)}"
            if key not in self._kept:
                self._kept[key] = Backbone(spec)
            own.append(self._kept[key])
        return own

    def coherence(self) -> CoherenceEncoder:
        """The independent encoder of F, L and T, trained on complete real training studies."""
        views, text = self.studies.names("FL"), self.studies.name("T")

        def train() -> CoherenceEncoder:
            studies = self.studies.training("FLT")
            logger.info("training the coherence encoder on %d real studies", len(studies))
            names = self.studies.names("FLT")
            values = {name: [study.values[name] for study in studies] for name in names}
            return CoherenceEncoder(views, text).fit(values, self.settings.network_steps)

        return self._get("coherence", [views, text], CoherenceEncoder.load, train)

    def phantom_reader(self, letter: str) -> PhantomReader:
        """Reads what phantom images of a view (F or L) show, trained with their truth."""

        def train() -> PhantomReader:
            studies = self.studies.training([letter])
            logger.info("training the phantom's %s reader on %d images", letter, len(studies))
            truths = [study.truth for study in studies]
            images, view = self.studies.images(studies, letter), self.studies.name(letter)
            return PhantomReader().fit(images, truths, view, num_epochs=8)

        return self._get(f"reader_{letter}", LABELS, PhantomReader.load, train)

    def _get(
        self, name: str, settings: Any, load: Callable[[Path], Any], train: Callable[[], Any]
    ) -> Any:
        about = [
            settings,
            self.studies.data_hash,
            self.settings.num_training_studies,
            self.settings.network_steps,
        ]
        folder = self.folder / f"{name}_{fingerprint(about)}"
        if folder.name not in self._kept:
            if folder.is_dir():
                self._kept[folder.name] = load(folder)
            else:
                self._kept[folder.name] = train()
                self._kept[folder.name].save(folder)
        return self._kept[folder.name]
