"""Does faster sampling keep the quality? Solvers, steps and guidance intervals on a trained
pipeline, time beside fidelity, factual correctness and coherence.

    medcodi bench sampling [--config RECIPE] [--num-studies 96] [--pipeline DIR]
    [key=value ...]

Frontal and lateral images are generated jointly from the report of held-out studies, with the same
seeds in every row. The rows take turns, batch by batch, so that a busy machine slows all alike.
`reference`: 50 steps of the family's first-order solver, guided at every step, as the published
code samples. Differences to it are paired by study, 95 % intervals by patient. Writes sampling.json
and sampling.md to results/NAME. Last line of stdout: one JSON document.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from medcodi.bench.command import add_evaluation, bench_parser, device_name, read_context, show
from medcodi.data.study import Study
from medcodi.evaluation import EvaluationContext
from medcodi.evaluation.generations import sample_seed
from medcodi.evaluation.routes import patients
from medcodi.metrics.coherence import cosine
from medcodi.metrics.fidelity import kernel_distance
from medcodi.metrics.statistics import Estimate, auc, bootstrap, paired_difference
from medcodi.pipeline.solvers import build_solver
from medcodi.report.markdown import markdown_table

logger = logging.getLogger("sampling")
MIDDLE = (0.1, 0.9)
FIGURES = {"mean AUC of the findings in F": "AUC", "cosine F-L": "F-L", "cosine F-T": "F-T"}


@dataclass(frozen=True)
class Way:
    """One row: solver, steps, and the guided noise levels (None: all, whatever the recipe says)."""

    solver: str
    num_inference_steps: int
    interval: tuple[float, float] | None = None


def ways(prediction_type: str) -> dict[str, Way]:
    first = "euler" if prediction_type == "flow" else "ddim"
    return {
        "reference": Way(first, 50),
        f"{first}, 25 steps": Way(first, 25),
        f"{first}, 10 steps": Way(first, 10),
        "unipc, 15 steps": Way("unipc", 15),
        "dpm++, 10 steps": Way("dpm++", 10),
        "unipc, 10 steps": Way("unipc", 10),
        "unipc, 10 steps, guided in the middle": Way("unipc", 10, MIDDLE),
        "unipc, 6 steps": Way("unipc", 6),
    }


def generate(
    context: EvaluationContext, studies: list[Study], rows: dict[str, Way]
) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, float]]:
    """Row -> view letter -> images (N, H, W), and the seconds of each row."""
    pipe, report = context.generations.pipeline, context.studies.name("T")
    views, schedulers = context.studies.names("FL"), dict(context.generations.pipeline.schedulers)
    images: dict[str, dict[str, list]] = {key: {"F": [], "L": []} for key in rows}
    seconds = dict.fromkeys(rows, 0.0)

    def call(way: Way, batch: list[Study]) -> Any:
        pipe.schedulers = {
            name: build_solver(way.solver, scheduler) for name, scheduler in schedulers.items()
        }
        return pipe(
            {report: [study.values[report] for study in batch]},
            list(views),
            way.num_inference_steps,
            seeds=[sample_seed(context.seed, [report], study.study_id) for study in batch],
            batch_size=len(batch),
            guidance_interval=dict.fromkeys(views, way.interval),
        )

    call(Way(next(iter(rows.values())).solver, 2), studies[:1])  # warms up
    size = context.settings.batch_size
    for start in range(0, len(studies), size):
        for key, way in rows.items():
            batch, began = studies[start : start + size], time.perf_counter()
            out = call(way, batch)
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            seconds[key] += time.perf_counter() - began
            for letter, name in zip("FL", views, strict=True):
                images[key][letter] += out.stored[name]
        logger.info("%d of %d studies", min(start + size, len(studies)), len(studies))
    pipe.schedulers = schedulers
    return {
        key: {letter: np.stack(x) for letter, x in of.items()} for key, of in images.items()
    }, seconds


def mean_auc(labels: np.ndarray, scores: np.ndarray, rows: np.ndarray) -> float:
    """Mean over the findings (N, K) with both classes among `rows`; unknown labels are NaN."""
    found = []
    for k in range(labels.shape[1]):
        known = rows[~np.isnan(labels[rows, k])]
        found.append(auc(labels[known, k], scores[known, k]))
    return float(np.nanmean(found))


def measure(context: EvaluationContext, rows: dict[str, Way]) -> dict[str, Any]:
    studies = context.studies.held_out("FLT")
    labels, groups = context.labels.own.of(studies), patients(studies)
    generated, seconds = generate(context, studies, rows)
    classifier, encoder = context.networks.classifier("F"), context.networks.coherence()
    views, report = context.studies.names("FL"), context.studies.name("T")
    texts = encoder.encode(report, context.studies.values(studies, "T"))
    reference_images = context.studies.images(
        context.studies.of(("test", "validation"), ["F"], 2000), "F"
    )
    real = classifier.features(reference_images)

    def statistics(images: dict[str, np.ndarray]) -> dict[str, Any]:
        frontal, lateral = (
            encoder.encode(name, images[letter]) for letter, name in zip("FL", views, strict=True)
        )
        alike, follows = cosine(frontal, lateral), cosine(frontal, texts)
        return {
            "AUC": partial(mean_auc, labels, classifier.probabilities(images["F"])),
            "F-L": lambda rows: float(alike[rows].mean()),
            "F-T": lambda rows: float(follows[rows].mean()),
        }

    settings = (len(studies), groups, context.settings.num_resamples, context.seed)
    all_real = {letter: context.studies.images(studies, letter) for letter in "FL"}
    table = [
        {
            "row": "real images",
            **{k: asdict(bootstrap(s, *settings)) for k, s in statistics(all_real).items()},
        }
    ]
    floor = context.studies.images(context.studies.training("F", len(studies)), "F")
    table[0]["kernel_distance"] = asdict(kernel_distance(classifier.features(floor), real))
    base = statistics(generated["reference"])
    for key, way in rows.items():
        own = statistics(generated[key])
        row = {
            "row": key,
            "settings": asdict(way),
            "seconds_a_study": seconds[key] / len(studies),
            "ratio": seconds["reference"] / seconds[key],
            "kernel_distance": asdict(
                kernel_distance(classifier.features(generated[key]["F"]), real)
            ),
        }
        for name, statistic in own.items():
            row[name] = asdict(bootstrap(statistic, *settings))
            row[f"{name} minus reference"] = asdict(
                paired_difference(statistic, base[name], *settings)
            )
        table.append(row)
    return {"num_studies": len(studies), "table": table}


def shown(cell: dict[str, float] | None, digits: int = 3) -> str:
    if cell is None:
        return "-"
    estimate = Estimate(**cell)
    return f"{estimate.value:.{digits}f} [{estimate.low:.{digits}f}, {estimate.high:.{digits}f}]"


def markdown(told: dict[str, Any]) -> str:
    lines = [
        f"# Sampling of {told['recipe']} on {told['device']}",
        "",
        f"Report to frontal and lateral, {told['num_studies']} held-out studies, one sample each, "
        "the same seeds. Time by "
        "the clock, rows in turn. Kernel distance of the frontal images in the suite's label "
        "network; AUC by the same "
        "network; cosines by the suite's independent encoder. Differences are paired by study.",
        "",
    ]
    head = ["row", "s a study", "faster", "kernel distance F"]
    for name in ("AUC", "cosine F-L", "cosine F-T"):
        head += [name, "minus reference"]
    rows = []
    for row in told["table"]:
        cells = [
            row["row"],
            f"{row['seconds_a_study']:.3f}" if "ratio" in row else "-",
            f"{row['ratio']:.2f}x" if "ratio" in row else "-",
            shown(row.get("kernel_distance")),
        ]
        for name in FIGURES.values():
            cells += [shown(row[name]), shown(row.get(f"{name} minus reference"))]
        rows.append(cells)
    return "\n".join([*lines, markdown_table(head, rows)]) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = bench_parser("sampling", __doc__)
    add_evaluation(parser)
    arguments = parser.parse_intermixed_args(arguments)
    context = read_context(arguments)
    told = {
        "recipe": context.recipe.name,
        "model_hash": context.generations.model_hash,
        "torch": torch.__version__,
        "device": device_name(),
    }
    told |= measure(context, ways(context.recipe.diffusion.prediction_type))
    show(told, markdown(told), context.output, "sampling")


if __name__ == "__main__":
    main()
