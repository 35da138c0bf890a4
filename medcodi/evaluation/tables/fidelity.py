"""T2 and A1: how far generated images are from real ones, route by route (MedCoDi-M, Tables 2 and
A1)."""

from typing import Any

import numpy as np

from medcodi.evaluation.charts import feature_map, image_grid
from medcodi.evaluation.context import EvaluationContext
from medcodi.evaluation.papers import published
from medcodi.evaluation.routes import IMAGE_ROUTES, applicable, patients, retrieved, route_name
from medcodi.evaluation.studies import HELD_OUT
from medcodi.evaluation.table import EvaluationTable, Result, Row, register_table
from medcodi.metrics.diversity import num_scales, pairwise_ms_ssim
from medcodi.metrics.fidelity import (
    NEIGHBOURS,
    extrapolated_frechet,
    frechet_estimate,
    kernel_distance,
    neighbour_figures,
    small_sample_note,
)
from medcodi.metrics.radiomics import radiomic_distance, radiomic_features

MAX_REFERENCE = 2000
NUM_SHOWN = 8
LEAST = NEIGHBOURS + 3  # images on either side
FRECHET, EXTRAPOLATED, KERNEL = "Fréchet distance", "at 1/N = 0", "kernel distance (KID form)"
COLUMNS = (
    "backbone",
    FRECHET,
    EXTRAPOLATED,
    KERNEL,
    "precision",
    "recall",
    "density",
    "coverage",
    "MS-SSIM",
    "radiomic distance",
)


class _View:
    """The real reference of one view with its features in every backbone."""

    def __init__(self, context: EvaluationContext, letter: str) -> None:
        self.letter, self.name = letter, context.studies.name(letter)
        self.backbones = context.networks.backbones(letter)
        studies = context.studies.of(HELD_OUT, [letter], MAX_REFERENCE)
        self.images, self.patients = context.studies.images(studies, letter), patients(studies)
        self.features = [backbone.features(self.images) for backbone in self.backbones]
        self.radiomic = radiomic_features(self.images)

    def rows(
        self,
        context: EvaluationContext,
        system: str,
        kind: str,
        images: np.ndarray,
        groups: list[str],
    ) -> list[Row]:
        """One row a backbone; what needs none stands in the first."""
        settings = {"num_resamples": context.settings.num_resamples, "seed": context.seed}
        both, near = (groups, self.patients), (groups, self.patients[: len(images)])
        rows: list[Row] = []
        for backbone, real in zip(self.backbones, self.features, strict=True):
            features = backbone.features(images)
            cells: dict[str, Any] = {
                "backbone": backbone.name,
                FRECHET: frechet_estimate(features, real, both),
                EXTRAPOLATED: extrapolated_frechet(features, real, both, seed=context.seed),
                KERNEL: kernel_distance(features, real, both, **settings),
                **neighbour_figures(features, real[: len(features)], near, **settings),
            }
            rows.append(Row(system, kind, cells))
        rows = rows or [Row(system, kind, {}, len(images))]
        rows[0].cells["MS-SSIM"] = pairwise_ms_ssim(images, groups=groups, **settings)
        rows[0].cells["radiomic distance"] = radiomic_distance(
            radiomic_features(images), self.radiomic, both
        )
        return rows


@register_table
class Fidelity(EvaluationTable):
    """Reference: all held-out real images of the view. Floor: as many real images of training
    patients."""

    id, title, also, needs = "T2", "Image fidelity by route", ("A1",), ("pipeline",)
    version = 2

    def run(self, context: EvaluationContext) -> Result:
        routes, notes = self._routes(context)
        rows, pictures, counts, warnings = [], {}, [], []
        for letter in dict.fromkeys(output for _, output in routes):
            view = _View(context, letter)
            given = {
                prompts: context.studies.held_out([*prompts, letter])
                for prompts, output in routes
                if output == letter
            }
            sizes = sorted({len(studies) for studies in given.values()})
            of_view = [row for size in sizes for row in self._floor(context, view, size)]
            notes += [
                n
                for b, f in zip(view.backbones, view.features, strict=True)
                if (n := small_sample_note(sizes[0], f.shape[1], b.name))
            ]
            shown: dict[str, np.ndarray] = {f"real {view.name}": view.images}
            for prompts, studies in given.items():
                name, groups = route_name(prompts, letter), patients(studies)
                made = context.generations.samples(prompts, letter, studies=studies)
                images = np.stack(made[letter])
                nearest = np.stack(retrieved(context, prompts, letter, studies))
                of_view += view.rows(context, name, "ours", images, groups)
                name_of_nearest = f"{name}, nearest training study"
                of_view += view.rows(context, name_of_nearest, "baseline", nearest, groups)
                shown[name] = images
                counts.append(len(studies))
            pictures |= self._pictures(context, view, shown)
            warnings += _beaten(of_view)
            rows += of_view
        notes += _notes(rows, min(view.images.shape[1:])) + warnings
        figures = {
            f"{row.system}.{row.cells['backbone']}.{key}": value
            for row in rows
            if row.kind in ("ours", "floor") and "backbone" in row.cells
            for key, value in (
                ("frechet", row.cells[FRECHET].value),
                ("kernel", row.cells[KERNEL].value),
            )
        }
        return Result(
            self.title,
            COLUMNS,
            rows + published("T2"),
            max(counts),
            [context.seed],
            notes,
            figures,
            pictures,
        )

    def _routes(self, context: EvaluationContext) -> tuple[list[tuple[str, str]], list[str]]:
        """The routes with enough studies for neighbourhoods and covariances, and notes on the
        others."""
        routes, notes = applicable(context, IMAGE_ROUTES)
        counts = {route: len(context.studies.held_out([*route[0], route[1]])) for route in routes}
        few = {route: count for route, count in counts.items() if count < LEAST}
        notes += [
            f"{route_name(*r)} is left out: {n} held-out studies, at least {LEAST} needed."
            for r, n in few.items()
        ]
        if len(few) == len(routes):
            raise ValueError(" ".join(notes))
        return [route for route in routes if route not in few], notes

    def _floor(self, context: EvaluationContext, view: _View, size: int) -> list[Row]:
        """Real against real: training patients, who are disjoint from the reference, as many as are
        generated; and the most typical of their images over and over."""
        studies = context.studies.training([view.letter], size)
        images, groups = context.studies.images(studies, view.letter), patients(studies)
        typical = images[((images - images.mean(axis=0)) ** 2).mean(axis=(1, 2)).argmin()]
        constant = np.repeat(typical[None], len(images), axis=0)
        return [
            *view.rows(context, f"real {view.name}, training patients", "floor", images, groups),
            *view.rows(
                context, f"one real {view.name} for all (constant)", "baseline", constant, groups
            ),
        ]

    def _pictures(
        self, context: EvaluationContext, view: _View, shown: dict[str, np.ndarray]
    ) -> dict[str, str]:
        grid = context.picture(f"T2_{view.name}_samples")
        image_grid({name: images[:NUM_SHOWN] for name, images in shown.items()}, grid)
        pictures = {f"{view.name}: real images, then samples by route": str(grid)}
        if view.backbones:
            path = context.picture(f"T2_{view.name}_map")
            name, features = view.backbones[0].name, view.backbones[0].features
            feature_map(
                {key: features(images) for key, images in shown.items()}, path, context.seed
            )
            pictures[
                f"{view.name}: principal components and t-SNE of the features of the {name}"
            ] = str(path)
        return pictures


def _notes(rows: list[Row], size: int) -> list[str]:
    notes = [
        "The floor is real against real: held-out images against as many images of training "
        "patients, drawn without regard "
        "to the prompt (a prior). No distance below it means anything; the nearest-training-study "
        "rows are real images too.",
        "Fréchet distance: interval by the jackknife over patients, of the distance with its bias "
        "at this N (a bootstrap "
        "would add to the bias). At 1/N = 0: line through subsets of both sides, its error added.",
        f"Kernel (x.y / D + 1)^3: unbiased, interval by patient. Neighbours: k = {NEIGHBOURS}, N "
        "real images. MS-SSIM: mean "
        f"of 200 random pairs, {num_scales(size)} scales at {size} pixels; higher is less diverse. "
        "The radiomic distance "
        "has no trained weights: Fréchet distance of 33 grey-level and texture features, each "
        "standardised by the "
        "reference, over 33.",
    ]
    if not any("backbone" in row.cells for row in rows):
        notes.append(
            "The data set has no labels and the recipe no backbones: only weight-free distances."
        )
    else:
        notes.append(
            "The label network is trained by the suite on the data set's own labels; its distances "
            "are no FID "
            "and compare with no published value. Published rows: other data, 33,588 test samples."
        )
    return notes


def _beaten(rows: list[Row]) -> list[str]:
    """Samples that are nearer to the reference than real ones are over-typical, not better than
    real."""
    measured = [row for row in rows if FRECHET in row.cells]
    floors = {
        (row.cells["backbone"], row.n): row.cells[FRECHET].value
        for row in measured
        if row.kind == "floor"
    }
    return [
        f"Warning: {row.system} is nearer to the reference than real images are. Look at its "
        "recall, coverage and MS-SSIM."
        for row in measured
        if row.kind == "ours"
        and row.cells[FRECHET].value < floors.get((row.cells["backbone"], row.n), 0.0)
    ]
