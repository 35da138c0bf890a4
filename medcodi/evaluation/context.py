"""What tables measure with: held-out studies, cached generations, labels of the data set, networks
trained by the suite.

Legend: N studies. Letters: F frontal, L lateral, T report, table the row; which modality each is,
the recipe says.
"""

import dataclasses
import functools
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medcodi.config import Recipe
from medcodi.data.prepared import PreparedDataset, dataset_identity
from medcodi.data.study import Study
from medcodi.diffusion.sampler import SAMPLER_VERSION
from medcodi.evaluation.generation import GeneratedRoute
from medcodi.evaluation.labels import ColumnLabels, Labels, ReportLabels, TruthLabels
from medcodi.evaluation.samples import read_samples, samples_identity
from medcodi.identity import fingerprint
from medcodi.labeler import Labeler
from medcodi.pipeline import MedCoDiPipeline
from medcodi.pipeline.hub import local_folder
from medcodi.pipeline.index import read_index

logger = logging.getLogger(__name__)

LETTERS = ("F", "L", "T", "table")
HELD_OUT = ("test", "validation")


class EvaluationContext:
    """One evaluation of one pipeline. `output` is results/NAME, `pipeline_dir` (a folder or a name)
    defaults to the run's own."""

    def __init__(
        self, recipe: Recipe, output: str | Path, pipeline_dir: str | Path | None = None
    ) -> None:
        self.recipe, self.settings, self.output = recipe, recipe.evaluation, Path(output)
        self.seed = self.settings.seed
        own = recipe.run_dir / "pipeline"
        self.pipeline_dir = local_folder(pipeline_dir) if pipeline_dir else own
        self.work, self.pictures = self.output / "work", self.output / "pictures"
        self._held_out: dict[tuple[tuple[str, ...], int], list[Study]] = {}

    # What there is

    @functools.cached_property
    def model_hash(self) -> str:
        """Of the pipeline's weights; FileNotFoundError where there is none."""
        return read_index(self.pipeline_dir).model_hash

    @functools.cached_property
    def pipeline(self) -> MedCoDiPipeline:
        pipe = MedCoDiPipeline.from_pretrained(self.pipeline_dir)
        pipe.set_progress_bar_config(disable=True)
        return pipe.to("cuda") if torch.cuda.is_available() else pipe

    @functools.cached_property
    def data_hash(self) -> str:
        return fingerprint(dataset_identity(self.recipe.data.prepared))

    def fingerprint(self) -> str:
        """Of everything that results depend on, but the table: settings, model, data."""
        model = self.model_hash if (self.pipeline_dir / "model_index.json").is_file() else None
        settings = dataclasses.asdict(self.settings)
        samples = samples_identity(list(self.settings.samples.values()))
        settings = {k: v for k, v in settings.items() if k != "tables"}
        return fingerprint([settings, model, SAMPLER_VERSION, self.data_hash, samples])

    def name(self, letter: str) -> str:
        """Modality of a letter (F L T table)."""
        return self.settings.names[letter]

    def names(self, letters: Sequence[str]) -> tuple[str, ...]:
        return tuple(self.name(letter) for letter in letters)

    def missing(self, needs: Sequence[str]) -> list[str]:
        """Why a table with these needs does not apply, one sentence each; empty when it does."""
        reasons = []
        for need in needs:
            if need == "pipeline" and not (self.pipeline_dir / "model_index.json").is_file():
                reasons.append(f"there is no pipeline in {self.pipeline_dir}")
            elif need == "labels" and self.labels is None:
                reasons.append(
                    "the data set has no labels: no truth, no reports, nothing in evaluation.labels"
                )
            elif need == "truth" and not self._has_truth:
                reasons.append("the truth is known for the phantom only")
            elif need in LETTERS and self.name(need) not in self.recipe.modalities:
                reasons.append(f"the recipe has no modality {self.name(need)!r} ({need})")
            elif need in LETTERS and not self.held_out([need]):
                reasons.append(f"no held-out study has {self.name(need)!r}")
        return reasons

    # Studies

    def split(self, split: str) -> PreparedDataset:
        return _open(self.recipe.data.prepared, split)

    def studies(
        self, splits: str | Sequence[str], letters: Sequence[str] = (), count: int | None = None
    ) -> list[Study]:
        """Studies of one or more splits that have all of `letters`: those that are complete first,
        then in stored order (with `count`, the first ones). Values are raw: images (H, W) in [0,
        1], texts, rows."""
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
            self._held_out[key] = self.studies(HELD_OUT, letters, key[1])
        return self._held_out[key]

    def training(self, letters: Sequence[str], count: int | None = None) -> list[Study]:
        """Real training studies that have all of `letters`, at most `count` (default: the
        settings')."""
        return self.studies(
            "train", letters, self.settings.num_training_studies if count is None else count
        )

    def values(self, studies: Sequence[Study], letter: str) -> list[Any]:
        return [study.values[self.name(letter)] for study in studies]

    def images(self, studies: Sequence[Study], letter: str) -> np.ndarray:
        """(N, H, W) float32 in [0, 1]."""
        return np.stack(self.values(studies, letter))

    # Generation

    def generated(
        self,
        prompts: Sequence[str],
        outputs: Sequence[str],
        num_studies: int | None = None,
        seed: int | None = None,
        joint: bool = True,
        studies: Sequence[Study] | None = None,
    ) -> dict[str, list[Any]]:
        """One sample a study: letter -> stored values (float images (H, W), texts, rows), in the
        order of the studies.

        Args:
            prompts, outputs: letters; () prompts is unconditional.
            studies: whose prompts are given; default `held_out(prompts + outputs, num_studies)`.
            joint: False generates every output by a call of its own, with the seeds of the joint
                call: the two differ by the coupling of the outputs alone.

        Cached below `work/generated`; a route in `evaluation.samples` is read from its folder
        instead. ValueError where there is no study, or a sample is not finite.
        """
        studies = (
            self.held_out([*prompts, *outputs], num_studies) if studies is None else list(studies)
        )
        if not studies:
            raise ValueError(
                f"no held-out study has all of {', '.join(self.names([*prompts, *outputs]))}"
            )
        if not joint and len(outputs) > 1:
            apart = [
                self.generated(prompts, [letter], None, seed, True, studies) for letter in outputs
            ]
            return {letter: values[letter] for letter, values in zip(outputs, apart, strict=True)}
        given, wanted = self.names(prompts), self.names(outputs)
        route = f"{''.join(prompts)}>{''.join(outputs)}"
        if route in self.settings.samples:
            return {
                letter: self._read_samples(self.settings.samples[route], letter, studies)
                for letter in outputs
            }
        settings = {
            "model": self.model_hash,
            "sampler": SAMPLER_VERSION,
            "data": self.data_hash,
            "prompts": list(given),
            "outputs": list(wanted),
            "seed": self.seed if seed is None else seed,
            "num_inference_steps": self.settings.num_inference_steps,
        }
        kept = GeneratedRoute(self.work / "generated", settings, wanted)
        values = kept.values(
            studies, functools.partial(self._generate, given, wanted), self.settings.batch_size
        )
        return {letter: values[name] for letter, name in zip(outputs, wanted, strict=True)}

    def _read_samples(self, folder: str, letter: str, studies: list[Study]) -> list[Any]:
        fields = {spec.name: spec for spec in self.split("train").fields}
        name = self.name(letter)
        size = self.recipe.modalities[name].get("size", 0)
        return read_samples(folder, name, fields[name].storage, size, studies)

    def _generate(
        self,
        given: tuple[str, ...],
        wanted: tuple[str, ...],
        studies: list[Study],
        seeds: list[int],
    ) -> dict[str, list[Any]]:
        logger.info(
            "generating %s from %s, %d samples",
            "+".join(wanted),
            "+".join(given) or "nothing",
            len(studies),
        )
        out = self.pipeline(
            prompts={name: [study.values[name] for study in studies] for name in given},
            outputs=list(wanted),
            num_images_per_prompt=1 if given else len(studies),
            seeds=seeds,
            batch_size=len(studies),
            num_inference_steps=self.settings.num_inference_steps,
        )
        return {name: out.stored[name] for name in wanted}

    # Labels

    @functools.cached_property
    def labeler(self) -> Labeler:
        return Labeler.from_vocabulary(self.settings.vocabulary)

    @functools.cached_property
    def labels(self) -> Labels | None:
        """Of the data set: the recipe's columns, else the phantom's truth, else what reports say;
        None without any."""
        if self.settings.labels:
            table = self.name("table")
            return ColumnLabels(self.settings.labels, table, self.split("train").schemas[table])
        return TruthLabels() if self._has_truth else self.report_labels

    @functools.cached_property
    def report_labels(self) -> ReportLabels | None:
        reports = self.name("T")
        return ReportLabels(self.labeler, reports) if reports in self.split("train").names else None

    @functools.cached_property
    def _has_truth(self) -> bool:
        train = self.split("train")
        return len(train) > 0 and (train[0].truth or {}).get("ctr") is not None

    # Networks that the suite trains on real training studies: `networks.py`

    @functools.cached_property
    def networks(self) -> Any:
        from medcodi.evaluation.networks import Networks

        return Networks(self)

    def picture(self, name: str) -> Path:
        """Where a table writes a PNG; give `str(...)` of it to `Result.pictures`."""
        self.pictures.mkdir(parents=True, exist_ok=True)
        return self.pictures / f"{name}.png"


@functools.cache
def _open(folder: str, split: str) -> PreparedDataset:
    return PreparedDataset.load(folder, split)
