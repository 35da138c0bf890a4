"""Run a pipeline over held-out phantom studies and measure it: figures.json, and samples for the
page.

Legend: N held-out studies, R training studies, H W pixels.
"""

import copy
import json
import logging
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from medcodi.data.prepared import PreparedDataset
from medcodi.data.study import Study
from medcodi.diffusion.sampler import Conditions, predict
from medcodi.metrics import phantom
from medcodi.metrics.networks.phantom_reader import PhantomReader
from medcodi.metrics.retrieval import best_constant, image_distances, nearest, text_distances
from medcodi.metrics.statistics import column_marginals
from medcodi.nn.seeding import derive_generator, derive_seed
from medcodi.quickstart.samples import sheet

logger = logging.getLogger(__name__)

FRONTAL, LATERAL, REPORT, TABULAR = "frontal", "lateral", "report", "tabular"
VIEWS, NAMES = (FRONTAL, LATERAL), (FRONTAL, LATERAL, REPORT, TABULAR)
LETTERS = {FRONTAL: "F", LATERAL: "L", REPORT: "T", TABULAR: "table"}
ROUTES = (
    ((REPORT,), FRONTAL),
    ((REPORT,), LATERAL),
    ((FRONTAL,), LATERAL),
    ((FRONTAL,), REPORT),
    ((FRONTAL, LATERAL), REPORT),
    ((FRONTAL, REPORT), TABULAR),
)
COHERENCE_SETTINGS: dict[str, tuple[str, ...]] = {"unconditional": ()}
PAIRS = ((FRONTAL, LATERAL), (FRONTAL, REPORT))
NUM_SHOWN = 8
FIGURES = "figures.json"


def evaluate_phantom(
    pipe: Any,
    prepared_dir: str | Path,
    num_studies: int = 96,
    seed: int = 0,
    num_inference_steps: int = 25,
    run_dir: str | Path | None = None,
    num_resamples: int = 500,
    max_training_studies: int = 1600,
) -> dict[str, Any]:
    """Measure `pipe` (a MedCoDiPipeline with the phantom's four modalities) on held-out studies;
    JSON-like figures.

    The studies are the first `num_studies` of the test split, then of the validation split, that
    have every modality. Readers are fitted on up to `max_training_studies` real training studies,
    which are also what the nearest-neighbour floor retrieves from. With `run_dir` they are kept in
    `run_dir/readers`, and `run_dir/figures.json` is written. The key `samples` (contact sheets of
    the first studies, for the page) is in what is returned, not in the file.
    """
    missing = sorted(set(NAMES) - set(pipe.modalities))
    if missing:
        raise ValueError(
            f"the pipeline lacks {missing}: the phantom's figures need {', '.join(NAMES)}"
        )
    started = time.monotonic()
    run_dir = Path(run_dir) if run_dir else None
    studies = held_out_studies(prepared_dir, num_studies)
    training = _complete(prepared_dir, "train", max_training_studies)
    readers = fit_readers(training, run_dir / "readers" if run_dir else None)
    run = _Run(pipe, studies, training, readers, seed, num_inference_steps, num_resamples)
    seconds = {"data_and_readers": time.monotonic() - started}
    follow, marginals = run.follow()
    seconds["follow"] = time.monotonic() - started - sum(seconds.values())
    coherence = run.coherence()
    seconds["coherence"] = time.monotonic() - started - sum(seconds.values())
    figures = {
        "settings": {
            "num_studies": len(studies),
            "num_training_studies": len(training),
            "seed": seed,
            "num_inference_steps": num_inference_steps,
            "num_resamples": num_resamples,
            "confidence": 0.95,
            "model_hash": getattr(pipe, "model_hash", ""),
            "data": "phantom: a test body, not clinical data",
        },
        "follow": follow,
        "coherence": coherence,
        "coupling": coupling_gradients(pipe, seed),
        "marginals": marginals,
        "readers": {
            v: r.score(run.images(v), [s.truth for s in studies]) for v, r in readers.items()
        },
        "seconds": {key: round(value, 1) for key, value in seconds.items()},
    }
    figures = _jsonable(figures)
    if run_dir:
        (run_dir / FIGURES).write_text(json.dumps(figures, indent=1))
    logger.info("measured %d held-out studies in %.0f s", len(studies), time.monotonic() - started)
    return figures | {"samples": _jsonable(run.sheets)}


def held_out_studies(prepared_dir: str | Path, num_studies: int) -> list[Study]:
    """The first complete studies of test, then validation. ValueError when there are none."""
    studies = _complete(prepared_dir, "test", num_studies)
    studies += _complete(prepared_dir, "validation", num_studies - len(studies))
    if not studies:
        raise ValueError(
            f"{prepared_dir} has no held-out study with all of {', '.join(NAMES)}: prepare more "
            "studies"
        )
    return studies


def _complete(prepared_dir: str | Path, split: str, count: int) -> list[Study]:
    dataset = PreparedDataset.load(prepared_dir, split, NAMES).having(*NAMES)
    return dataset.batch(range(min(count, len(dataset)))) if count > 0 else []


def fit_readers(training: list[Study], folder: Path | None) -> dict[str, PhantomReader]:
    """One reader a view, fitted on REAL training images; loaded from `folder` where it is already
    there."""
    readers = {}
    for view in VIEWS:
        if folder and (folder / view / "model.safetensors").is_file():
            readers[view] = PhantomReader.load(folder / view)
            continue
        images = np.stack([study.values[view] for study in training])
        readers[view] = PhantomReader().fit(
            images, [study.truth for study in training], view, num_epochs=8
        )
        if folder:
            readers[view].save(folder / view)
    return readers


def as_values(generated: Any) -> list[Any]:
    """User values of the pipeline -> float images, texts or rows (None where a cell is missing)."""
    if isinstance(generated, pd.DataFrame):
        return generated.astype(object).where(generated.notna(), None).to_dict("records")
    if generated and not isinstance(generated[0], (str, dict)):
        return [np.asarray(image, np.float32) / 255 for image in generated]
    return list(generated)


class _Run:
    """One evaluation: the studies, how outputs are read, and the sheets collected on the way."""

    def __init__(
        self,
        pipe: Any,
        studies: list[Study],
        training: list[Study],
        readers: dict[str, PhantomReader],
        seed: int,
        num_inference_steps: int,
        num_resamples: int,
    ) -> None:
        self.pipe, self.studies, self.training, self.readers = pipe, studies, training, readers
        self.seed, self.steps, self.num_resamples = seed, num_inference_steps, num_resamples
        self.truth = phantom.truth_reading([study.truth for study in studies])
        self.patients = [study.patient_id for study in studies]
        self.sheets: list[dict[str, Any]] = []
        self._distances: dict[str, np.ndarray] = {}

    def real(self, name: str) -> list[Any]:
        return [study.values[name] for study in self.studies]

    def images(self, view: str) -> np.ndarray:
        return np.stack(self.real(view))

    def read(self, name: str, values: list[Any]) -> phantom.Reading:
        if name in VIEWS:
            return phantom.image_reading(self.readers[name], np.stack(values))
        return phantom.report_reading(values) if name == REPORT else phantom.table_reading(values)

    def generate(
        self, prompts: tuple[str, ...], outputs: tuple[str, ...], **settings: Any
    ) -> dict[str, list[Any]]:
        """One sample a study; its seed depends on the study and the prompts only, not on `settings`
        of the call."""
        seeds = [derive_seed(self.seed, prompts, study.study_id) for study in self.studies]
        settings |= {"outputs": list(outputs), "num_inference_steps": self.steps, "seeds": seeds}
        if prompts:
            out = self.pipe(prompts={name: self.real(name) for name in prompts}, **settings)
        else:
            out = self.pipe(num_images_per_prompt=len(self.studies), **settings)
        return {name: as_values(out[name]) for name in outputs}

    def nearest(self, prompts: tuple[str, ...]) -> np.ndarray:
        """Training study with the nearest prompts, for each study."""
        for name in prompts:
            if name not in self._distances:
                references = [study.values[name] for study in self.training]
                distances = text_distances if name == REPORT else image_distances
                self._distances[name] = distances(self.real(name), references)
        return nearest(*(self._distances[name] for name in prompts))

    def follow(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Figures of every route, and the marginals of the generated table columns."""
        figures, marginals = [], []
        for prompts, output in ROUTES:
            route = f"{''.join(LETTERS[p] for p in prompts)}>{LETTERS[output]}"
            generated = self.generate(prompts, (output,))[output]
            retrieved = [self.training[i].values[output] for i in self.nearest(prompts)]
            outputs = phantom.Outputs(
                self.read(output, generated),
                self.read(output, self.real(output)),
                self.read(output, retrieved),
                self._constant() if output == REPORT else None,
            )
            metrics = (
                phantom.IMAGE_METRICS
                if output in VIEWS
                else (phantom.REPORT_METRICS if output == REPORT else phantom.TABLE_METRICS)
            )
            figures += phantom.follow_figures(
                route, metrics, self.truth, outputs, self.patients, self.seed, self.num_resamples
            )
            if output == TABULAR:
                reference = [study.values[TABULAR] for study in self.training[: len(self.studies)]]
                marginals = column_marginals(self.real(TABULAR), generated, reference)
            self._show(f"{' + '.join(prompts)} to {output}", route, prompts, {output: generated})
            logger.info("measured %s", route)
        return figures, marginals

    def _constant(self) -> phantom.Reading:
        """The training report that scores best when everybody gets it."""
        reports = [study.values[REPORT] for study in self.training]
        read = np.stack(
            [phantom.report_reading(reports)[k] for k in phantom.REPORT_FINDINGS], axis=1
        )
        truth = phantom.truth_reading([study.truth for study in self.training])
        truth = np.stack([truth[k] for k in phantom.REPORT_FINDINGS], axis=1) > 0
        return phantom.report_reading([reports[best_constant(read, truth)]] * len(self.studies))

    def coherence(self) -> list[dict[str, Any]]:
        figures = []
        for setting, prompts in COHERENCE_SETTINGS.items():
            names = tuple(name for name in NAMES if name not in prompts)
            # The prompt's latent conditions neither side: the two differ by the coupling of the
            # outputs alone.
            joint = self.generate(prompts, names, coupled=True, condition_on_latents=False)
            apart = self.generate(
                prompts, (FRONTAL, LATERAL, REPORT), coupled=False, condition_on_latents=False
            )
            readings = [
                {name: self.read(name, values[name]) for name in (FRONTAL, LATERAL, REPORT)}
                for values in (joint, apart, {name: self.real(name) for name in NAMES})
            ]
            for a, b in PAIRS:
                figures += phantom.coherence_figures(
                    setting,
                    f"{a} and {b}",
                    *((r[a], r[b]) for r in readings),
                    self.seed,
                    self.num_resamples,
                )
            title = (
                f"{' + '.join(prompts)} to {' + '.join(names)}"
                if prompts
                else f"nothing to {' + '.join(names)}"
            )
            self._show(title, f"jointly, {setting}", prompts, joint)
            logger.info("measured coherence, %s", setting)
        return figures

    def _show(
        self, title: str, note: str, prompts: tuple[str, ...], generated: dict[str, list[Any]]
    ) -> None:
        first = slice(0, NUM_SHOWN)
        self.sheets.append(
            sheet(
                title,
                note,
                self.studies[first] if prompts else [],
                {name: self.real(name)[first] for name in prompts},
                {name: values[first] for name, values in generated.items()},
                {name: self.real(name)[first] for name in generated} if prompts else {},
            )
        )


def coupling_gradients(pipe: Any, seed: int = 0, batch_size: int = 4) -> list[dict[str, Any]]:
    """|d(out_a) / d(x_b)| over |d(out_a) / d(x_a)| for all pairs of outputs, coupled and not,
    halfway through sampling.

    The derivative is that of a random projection of the prediction of a. Without coupling it must
    be exactly zero.
    """
    names, family = list(pipe.modalities), pipe.family
    latents, timesteps = {}, {}
    for name in names:
        shape = family.latent_shape(family.modality(name).group)
        drawn = torch.randn(batch_size, *shape, generator=derive_generator(seed, name, "coupling"))
        latents[name] = drawn.to(pipe.device, pipe.dtype).requires_grad_()
        scheduler = copy.deepcopy(pipe.schedulers[name])
        scheduler.set_timesteps(10)
        timesteps[name] = scheduler.timesteps[5]
    ratios: dict[tuple[str, str], dict[str, float]] = {
        (a, b): {} for a in names for b in names if a != b
    }
    for key, environments in (("coupled", pipe.environments), ("independent", None)):
        with torch.enable_grad():
            out = predict(
                pipe.diffusions,
                environments,
                family.objective,
                latents,
                timesteps,
                Conditions(),
                dict.fromkeys(names, 1.0),
            )
            for a in names:
                direction = torch.randn(
                    out[a].shape, generator=derive_generator(seed, a, "direction")
                ).to(out[a])
                gradients = torch.autograd.grad(
                    (out[a] * direction).sum(),
                    list(latents.values()),
                    retain_graph=True,
                    allow_unused=True,
                )
                norms = {
                    b: 0.0 if g is None else float(g.norm())
                    for b, g in zip(names, gradients, strict=True)
                }
                for b in names:
                    if b != a:
                        ratios[a, b][key] = norms[b] / max(norms[a], 1e-12)
    return [{"output": a, "of": b, **values} for (a, b), values in ratios.items()]


def _jsonable(value: Any) -> Any:
    """NaN becomes null: JSON has none."""
    if isinstance(value, dict):
        return {key: _jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(item) for item in value]
    if isinstance(value, float):
        return None if math.isnan(value) else float(value)
    return value.item() if hasattr(value, "item") else value
