"""Every image system on the same data in one run: fidelity, findings, worth for training, copies,
cost.

The systems learn the frontal images of the training studies by the data set's own labels (Pix2Pix
translates the lateral ones), each within the same CPU seconds, and make an image for the labels of
held-out studies. Rows that no system gave: real images, measured alike. Legend: N studies, K
findings, H W pixels.
"""

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medcodi.baselines.base import SOURCES, ImageBaseline, Records
from medcodi.baselines.loop import drawing, seconds_a_step
from medcodi.baselines.registry import SYSTEMS, build, load
from medcodi.bench.resident import PeakMemory
from medcodi.data.study import Study
from medcodi.evaluation.context import EvaluationContext
from medcodi.evaluation.records import fit_settings
from medcodi.evaluation.routes import patients
from medcodi.evaluation.studies import HELD_OUT
from medcodi.evaluation.table import Row
from medcodi.files import jsonable, written
from medcodi.identity import fingerprint
from medcodi.metrics import privacy, utility
from medcodi.metrics.classification import auc_scores
from medcodi.metrics.diversity import pairwise_ms_ssim
from medcodi.metrics.fidelity import frechet_estimate, kernel_distance, neighbour_figures
from medcodi.metrics.networks.from_scratch import train_and_predict
from medcodi.metrics.paired_images import paired_figures
from medcodi.metrics.retrieval import image_distances
from medcodi.metrics.statistics import bootstrap
from medcodi.metrics.utility import LabelledImages

logger = logging.getLogger(__name__)

COST = "cost.json"
FIDELITY = ("Fréchet distance", "kernel distance", "precision", "recall", "MS-SSIM")
FINDINGS, WORTH = "findings shown: macro AUC", "trained on them: macro AUROC"
PAIRED = ("MSE", "PSNR", "SSIM")
COPIES = ("distance ratio", "called copies", "by chance")
COSTS = ("parameters", "steps", "CPU s of training", "CPU ms a sample", "GiB of training")
QUALITY = (*FIDELITY, FINDINGS, WORTH)
COLUMNS = (*QUALITY, *PAIRED, *COPIES, *COSTS)
VIEW, SOURCE = "F", "L"


@dataclass(frozen=True)
class Budget:
    """CPU seconds of training a system, or the steps themselves, at `batch_size` images a step."""

    seconds: float = 100.0
    num_steps: int | None = None
    batch_size: int = 32


@dataclass(frozen=True)
class Sides:
    """Real studies: those that train, those whose labels are prompts (and the reference of
    fidelity), and the control, whom nobody ever saw."""

    training: list[Study]
    prompted: list[Study]
    control: list[Study]


class Comparison:
    """Systems measured with one context. What was trained and sampled stays in its folder
    `work/systems`, so that the same run again goes on where it was cut off."""

    def __init__(self, context: EvaluationContext, budget: Budget, num_worth: int = 400) -> None:
        self.context, self.budget, self.num_worth = context, budget, num_worth
        self.sides = _sides(context)
        self.backbone = context.networks.backbones(VIEW)[0]
        self.real = self.images(self.sides.prompted)
        self.shown: dict[str, np.ndarray] = {}  # system -> images, for the contact sheet

    def images(self, studies: Sequence[Study], letter: str = VIEW) -> np.ndarray:
        return self.context.studies.images(studies, letter)

    def labels(self, studies: Sequence[Study]) -> np.ndarray:
        return self.context.labels.own.of(studies)

    def rows(self, systems: Sequence[str]) -> list[Row]:
        """Real images, each system, and the pipeline of the context where it has one."""
        found = [self._real_row()]
        for name in systems:
            logger.info("%s", name)
            found.append(self._system_row(name))
            logger.info("%s", jsonable(found[-1]))
        if self.context.generations.have_pipeline:
            found.append(self._pipeline_row())
        return found

    def _real_row(self) -> Row:
        training = self.sides.training[: len(self.real)]
        images = self.images(training)
        cells = self.measured(images, patients(training), None)
        cells |= self.worth(self.images(self.worth_studies()))
        self.shown["real (held-out)"] = self.real
        cells[FINDINGS] = self.findings(self.real)
        return Row("real images of training studies", "real", cells, len(images))

    def _system_row(self, name: str) -> Row:
        system, cost = self._trained(name)
        start = time.process_time()
        made = self._sampled(system, self.sides.prompted)
        spent = time.process_time() - start
        cells = self.measured(made, patients(self.sides.prompted), self.real)
        if system.uses:
            cells[FINDINGS] = self.findings(made)
            cells |= self.worth(self._sampled(system, self.worth_studies()))
        cells |= cost | {"CPU ms a sample": 1e3 * spent / len(made)}
        self.shown[system.title] = made
        return Row(system.title, "baseline", cells, len(made))

    def _pipeline_row(self) -> Row:
        """The reports of the same studies as prompts, where these have one."""
        made = self.context.generations
        sample = lambda studies: np.stack(made.samples("T", VIEW, studies=studies)[VIEW])
        start = time.process_time()
        images = sample(self.sides.prompted)
        spent = time.process_time() - start
        name = f"MedCoDi-M T>{VIEW}"
        cells = self.measured(images, patients(self.sides.prompted), self.real)
        cells[FINDINGS] = self.findings(images)
        cells |= self.worth(sample(self.worth_studies()))
        parts = made.pipeline.diffusions[self.context.studies.name(VIEW)]
        cells["parameters"] = sum(p.numel() for p in parts.parameters())
        cells["CPU ms a sample"] = 1e3 * spent / len(images)
        self.shown[name] = images
        return Row(name, "ours", cells, len(images))

    def _trained(self, name: str) -> tuple[ImageBaseline, dict[str, Any]]:
        """The system and its costs, trained now or read from its folder."""
        size = self.real.shape[1]
        about = [self.context.studies.data_hash, size, vars(self.budget), self.context.seed]
        about.append(vars(SYSTEMS[name].settings_type()))
        folder = self.context.output / "work" / "systems" / f"{name}_{fingerprint(about)}"
        if (folder.parent / f"{folder.name}.{COST}").is_file():
            return load(folder), json.loads((folder.parent / f"{folder.name}.{COST}").read_text())
        training = self.sides.training
        records = Records.of(
            self.images(training), self.labels(training), self.images(training, SOURCE)
        )
        with drawing(self.context.seed, name):
            system = build(name, size, records.labels.shape[1])
        num_steps = self._steps(system, records)
        start = time.process_time()
        with PeakMemory() as memory:
            system.fit(records, num_steps, self.budget.batch_size, self.context.seed)
        cost = {
            "parameters": system.num_parameters(),
            "steps": num_steps,
            "CPU s of training": time.process_time() - start,
            "GiB of training": memory.gib,
        }
        system.save(folder)
        with written(folder.parent / f"{folder.name}.{COST}") as path:
            path.write_text(json.dumps(cost))
        return system, cost

    def _steps(self, system: ImageBaseline, records: Records) -> int:
        if not system.players():
            return 0
        if self.budget.num_steps is not None:
            return self.budget.num_steps
        return max(
            int(self.budget.seconds / seconds_a_step(system, records, self.budget.batch_size)), 1
        )

    def _sampled(self, system: ImageBaseline, studies: Sequence[Study]) -> np.ndarray:
        sources = self.images(studies, SOURCE) if SOURCES in system.uses else None
        return system.sample(self.labels(studies), sources, self.context.seed)

    def worth_studies(self) -> list[Study]:
        """The training studies whose labels a classifier's images have."""
        return self.sides.training[: self.num_worth]

    def measured(
        self, images: np.ndarray, owners: list[str], own: np.ndarray | None
    ) -> dict[str, Any]:
        """Fidelity and copies of images; with `own`, the real images of the same studies, also the
        error of each pair."""
        settings = {"num_resamples": self.context.settings.num_resamples, "seed": self.context.seed}
        groups = (owners, patients(self.sides.prompted))
        features, real = (self.backbone.features(part) for part in (images, self.real))
        near = neighbour_figures(features, real, groups, **settings)
        cells = {
            "Fréchet distance": frechet_estimate(features, real, groups),
            "kernel distance": kernel_distance(features, real, groups, **settings),
            "precision": near["precision"],
            "recall": near["recall"],
            "MS-SSIM": pairwise_ms_ssim(images, groups=owners, **settings),
        }
        if own is None:
            return cells
        return cells | self._copies(images) | paired_figures(images, own, **settings)

    def _copies(self, images: np.ndarray) -> dict[str, Any]:
        train, control = self.images(self.sides.training), self.images(self.sides.control)
        to_train, to_control = (image_distances(images, of) for of in (train, control))
        level = max(0.02, 1 / len(control))
        found = privacy.memorised(to_train, image_distances(control, train), level)
        return {
            "distance ratio": privacy.closest_record(to_train, to_control)["ratio"],
            "called copies": found.share,
            "by chance": found.expected,
        }

    def findings(self, images: np.ndarray) -> Any:
        """Macro AUC of the labels that were asked for, read by the label network."""
        labels = self.labels(self.sides.prompted)
        read = self.context.networks.classifier(VIEW).probabilities(images)
        return bootstrap(
            lambda rows: float(auc_scores(labels[rows], read[rows])[-2]),
            len(labels),
            patients(self.sides.prompted),
            min(self.context.settings.num_resamples, 200),
            self.context.seed,
        )

    def worth(self, images: np.ndarray) -> dict[str, Any]:
        """A classifier from scratch on images with the labels of training studies, tested on real
        held-out images."""
        tested = [*self.sides.prompted, *self.sides.control]
        labels, truth = self.labels(self.worth_studies()), self.labels(tested)
        names = self.context.labels.own.names
        kept = [
            k
            for k in utility.measurable(truth, names)
            if (labels[:, k] == 1).any() and (labels[:, k] == 0).any()
        ]
        settings = fit_settings({}, images.shape[1], "the classifier")
        predicted = train_and_predict(
            LabelledImages(images, labels[:, kept]), self.images(tested), settings, (0, 1)
        )
        scores = utility.scores_of(truth[:, kept], predicted)["auroc macro"]
        owners, seed = patients(tested), self.context.seed
        return {WORTH: bootstrap(scores, len(tested), owners, 200, seed)}


def _sides(context: EvaluationContext) -> Sides:
    """Studies with both views and, where there is a pipeline, a report. ValueError for too few."""
    letters = [VIEW, SOURCE, *(["T"] if context.generations.have_pipeline else [])]
    training = context.studies.training(letters)
    held_out = context.studies.of(HELD_OUT, letters, 2 * context.settings.num_studies)
    if len(training) < 20 or len(held_out) < 20:
        raise ValueError(
            "systems are compared on 20 training and 20 held-out studies or more with "
            f"{', '.join(context.studies.names(letters))}; there are {len(training)} and "
            f"{len(held_out)}"
        )
    half = len(held_out) // 2
    return Sides(training, held_out[:half], held_out[half:])


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """One line a row: system, kind, n, and each column with the ends of its interval."""
    import pandas as pd

    lines = []
    for row in rows:
        line: dict[str, Any] = {"system": row.system, "kind": row.kind, "n": row.n}
        for column in COLUMNS:
            cell = jsonable(row.cells.get(column))
            if isinstance(cell, dict):
                line |= {column: cell["value"], f"{column} low": cell["low"]}
                line[f"{column} high"] = cell["high"]
            else:
                line[column] = cell
        lines.append(line)
    with written(path) as temporary:
        pd.DataFrame(lines).to_csv(temporary, index=False)
