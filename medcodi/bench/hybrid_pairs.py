"""The pairs of image and row that the hybrid study compares: phantoms, coded ones, the pipeline's.

Legend: N studies, S side, Z code.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from medcodi.baselines.base import Records as ImageRecords
from medcodi.baselines.coded_pairs import (
    TableFit,
    TableSampler,
    coded_pairs,
)
from medcodi.baselines.codes import CodeModel
from medcodi.baselines.registry import SYSTEMS as IMAGE_SYSTEMS
from medcodi.baselines.registry import build
from medcodi.baselines.tables import SYSTEMS
from medcodi.data.table import Column, TableSchema
from medcodi.evaluation.tables.hybrid import (
    DEFAULT_OUTCOME,
    reader,
)
from medcodi.metrics.hybrid import Records
from medcodi.phantom import SCHEMA, generate
from medcodi.pipeline import MedCoDiPipeline
from medcodi.tabular import TabularSynthesizer

TREES = "medcodi table"  # in place of a system of baselines/tables.py


@dataclass(frozen=True)
class Plan:
    """`size` pixels; `render_size` is the pipeline's. `methods`: pairs of a coder and a table
    system. `epochs` are CTGAN's."""

    num_studies: int = 1342
    num_public: int = 3000
    num_test: int = 2000
    size: int = 64
    render_size: int = 128
    code_dim: int = 128
    coders: Sequence[str] = ("pca", "autoencoder", "alpha_gan")
    methods: Sequence[tuple[str, str]] = (("alpha_gan", "CTGAN"), ("autoencoder", TREES))
    coder_steps: int = 1500
    batch_size: int = 32
    epochs: int = 300
    num_inference_steps: int = 15
    num_epochs: int = 12
    min_steps: int = 60
    seeds: Sequence[int] = (0, 1)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.num_studies < 50:
            raise ValueError(f"num_studies must be 50 or more, got {self.num_studies}")
        if self.render_size % self.size:
            raise ValueError(f"size {self.size} does not divide render_size {self.render_size}")

    @property
    def num_training(self) -> int:
        """Of training and validation: what the study's generators learn from."""
        return self.num_studies * 8 // 10


@dataclass
class Pairs:
    """Images (N, S, S) float in [0, 1] with their rows."""

    images: np.ndarray
    rows: list[dict[str, Any]]

    def records(self) -> Records:
        """Those whose outcome is known."""
        return reader(DEFAULT_OUTCOME, SCHEMA)(self.images, self.rows)

    def frame(self) -> pd.DataFrame:
        return pd.DataFrame(self.rows, columns=SCHEMA.names)


def phantoms(plan: Plan, count: int, seed: int) -> Pairs:
    """`count` phantoms that have a row."""
    images, rows = [], []
    for study in generate(2 * count + 50, seed, plan.render_size):
        if "tabular" in study.values:
            images.append(study.values["frontal"])
            rows.append(study.values["tabular"])
        if len(rows) == count:
            break
    return Pairs(_smaller(np.stack(images), plan.size), rows)


def _smaller(images: np.ndarray, size: int) -> np.ndarray:
    """Means over squares of pixels."""
    given = torch.from_numpy(np.asarray(images, np.float32))[:, None]
    return F.avg_pool2d(given, given.shape[-1] // size)[:, 0].numpy()


def fit_coders(plan: Plan, public: Pairs) -> dict[str, CodeModel]:
    """Each learns from the public images alone."""
    found: dict[str, CodeModel] = {}
    needed = dict.fromkeys([*plan.coders, *(coder for coder, _ in plan.methods)])
    for name in needed:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(plan.seed)
            kind = IMAGE_SYSTEMS.get(name)
            if kind is None or not issubclass(kind, CodeModel):
                raise ValueError(f"{name} codes no images; pca, autoencoder and alpha_gan do")
            made = build(name, plan.size, 0, kind.settings_type(code_dim=plan.code_dim))
            labels = np.zeros((len(public.images), 0))
            records = ImageRecords.of(public.images, labels)
            made.fit(records, plan.coder_steps, plan.batch_size, plan.seed)
        found[name] = made.eval()
    return found


def _rows(made: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of the 13 columns; whole numbers are rounded, and numbers kept in their bounds."""
    cells = {}
    for column in SCHEMA.columns:
        values = made[column.name]
        if not column.is_discrete:
            values = values.astype(float).clip(column.minimum, column.maximum)
            values = values.round() if column.type == "integer" else values
        cells[column.name] = values.astype(object).where(values.notna(), None)
    return pd.DataFrame(cells).to_dict("records")


def coded(plan: Plan, coder: CodeModel, system: str, given: Pairs, count: int) -> Pairs:
    """`count` pairs by the study's method with a table system."""
    sampler = _table_sampler(plan, system)
    images, made = coded_pairs(coder, given.images, given.frame(), sampler, count)
    return Pairs(images, _rows(made))


def _table_sampler(plan: Plan, system: str) -> TableFit:
    if system == TREES:

        def fit_trees(frame: pd.DataFrame, codes: list[str]) -> TableSampler:
            rules = {name: {"type": "continuous"} for name in codes}
            trees = TabularSynthesizer(rules, progress=False).fit(frame, plan.seed)
            return lambda count: trees.sample(count, seed=plan.seed)

        return fit_trees

    def fit(frame: pd.DataFrame, codes: list[str]) -> TableSampler:
        schema = TableSchema([*SCHEMA.columns, *(Column(name, "continuous") for name in codes)])
        return SYSTEMS[system](frame, schema, plan.epochs, plan.seed)

    return fit


def pipeline_pairs(
    plan: Plan, pipe: MedCoDiPipeline, count: int, order: Sequence[str] | None = None
) -> Pairs:
    """`count` pairs from nothing, image and row together, or one after the other in `order`. The
    pipeline never saw the private studies."""
    images, rows = [], []
    for start in range(0, count, 32):
        seeds = [plan.seed + i for i in range(start, min(start + 32, count))]
        made = pipe(
            outputs=["frontal", "tabular"],
            num_images_per_prompt=len(seeds),
            seeds=seeds,
            num_inference_steps=plan.num_inference_steps,
            output_type="np",
            order=order,
        )
        images.append(np.asarray(made.frontal)[..., 0])
        rows += _rows(made.tabular)
    return Pairs(_smaller(np.concatenate(images), plan.size), rows)
