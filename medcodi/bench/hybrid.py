"""The hybrid study (Kikuchi et al. 2024) on phantoms: image and row together, by the study's method
and by medcodi.

The study's method: a coder, trained on public images, codes an image by 128 numbers; a table
generator learns rows with their codes; the coder makes images of the codes that it draws. Its
numbers are kept: 1,342 studies of 13 columns, 6:2:2. What generators learn from is the first four
fifths; the last fifth is the test set, with as many other patients more as `num_test` asks for,
since phantoms cost nothing. Legend: N studies, S side, Z code.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from medcodi.baselines.base import Records as ImageRecords
from medcodi.baselines.codes import CodeModel
from medcodi.baselines.registry import SYSTEMS as IMAGE_SYSTEMS
from medcodi.baselines.registry import build
from medcodi.baselines.tables import SYSTEMS
from medcodi.data.table import Column, TableSchema
from medcodi.evaluation.tables.hybrid import DEFAULT_OUTCOME, ratio_name, reader
from medcodi.metrics import hybrid
from medcodi.metrics.hybrid import Records
from medcodi.metrics.networks.fitting import FitSettings
from medcodi.metrics.networks.records import PairEncoders, predict_outcome
from medcodi.metrics.paired_images import paired_figures
from medcodi.phantom import SCHEMA, generate
from medcodi.pipeline import MedCoDiPipeline
from medcodi.tabular import TabularSynthesizer

PRIVATE_SEED, PUBLIC_SEED, TEST_SEED, OTHER_SEED = 401, 402, 403, 404
REAL, OTHER, OURS = "real", "other real patients", "medcodi"
TREES = "medcodi table"  # in place of a system of baselines/tables.py
CODE = "code {:03d}"


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


@torch.no_grad()
def codes_of(coder: CodeModel, images: np.ndarray) -> np.ndarray:
    """(N, S, S) -> (N, Z)."""
    pixels = 2 * torch.from_numpy(images)[:, None] - 1
    return torch.cat([coder.encode(part) for part in pixels.split(256)]).numpy()


@torch.no_grad()
def images_of(coder: CodeModel, codes: np.ndarray) -> np.ndarray:
    """(N, Z) -> (N, S, S) in [0, 1]."""
    parts = torch.from_numpy(codes.astype(np.float32)).split(256)
    made = torch.cat([coder.decode(part) for part in parts]).mean(dim=1)
    return ((made + 1) / 2).clamp(0, 1).numpy()


def coded_pairs(plan: Plan, coder: CodeModel, system: str, given: Pairs, count: int) -> Pairs:
    """`count` pairs by the study's method with a table system."""
    codes = codes_of(coder, given.images)
    names = [CODE.format(i) for i in range(codes.shape[1])]
    rows = pd.DataFrame(given.rows, columns=SCHEMA.names)
    frame = pd.concat([rows, pd.DataFrame(codes.astype(float), columns=names)], axis=1)
    made = _table_sampler(plan, system, frame, names)(count)
    drawn = made[names].to_numpy(dtype=float)
    return Pairs(images_of(coder, drawn), _rows(made))


def _table_sampler(
    plan: Plan, system: str, frame: pd.DataFrame, codes: list[str]
) -> Callable[[int], pd.DataFrame]:
    if system == TREES:
        rules = {name: {"type": "continuous"} for name in codes}
        trees = TabularSynthesizer(rules, progress=False).fit(frame, plan.seed)
        return lambda count: trees.sample(count, seed=plan.seed)
    schema = TableSchema([*SCHEMA.columns, *(Column(name, "continuous") for name in codes)])
    return SYSTEMS[system](frame, schema, plan.epochs, plan.seed)


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


def pipeline_pairs(plan: Plan, pipe: MedCoDiPipeline, count: int) -> Pairs:
    """`count` pairs of one joint call from nothing each. The pipeline never saw the private
    studies."""
    images, rows = [], []
    for start in range(0, count, 32):
        seeds = [plan.seed + i for i in range(start, min(start + 32, count))]
        made = pipe(
            outputs=["frontal", "tabular"],
            num_images_per_prompt=len(seeds),
            seeds=seeds,
            num_inference_steps=plan.num_inference_steps,
            output_type="np",
        )
        images.append(np.asarray(made.frontal)[..., 0])
        rows += _rows(made.tabular)
    return Pairs(_smaller(np.concatenate(images), plan.size), rows)


def outcome_table(
    plan: Plan, settings: FitSettings, sets: Mapping[str, Pairs], test: Pairs
) -> list[dict[str, Any]]:
    """A row a system and share of real records: {system, real:synthetic, AUC, difference to real
    alone, p}. p is DeLong's, adjusted by Holm within the system."""
    shown, real = test.records(), sets[REAL].records()
    reference = predict_outcome(real, shown, settings, plan.seeds)
    rows = [_outcome(REAL, ratio_name(1.0), shown, reference, reference)]
    for name, pairs in sets.items():
        if name == REAL:
            continue
        made = pairs.records()
        count = min(len(real), len(made))
        mixed = {
            ratio_name(share): hybrid.replaced(
                real.take(np.arange(count)), made.take(np.arange(count)), share, plan.seed
            )
            for share in hybrid.RATIOS[1:]
        } | {"both": real + made}
        found = [
            _outcome(
                name, ratio, shown, predict_outcome(train, shown, settings, plan.seeds), reference
            )
            for ratio, train in mixed.items()
        ]
        for row, p in zip(found, hybrid.holm([row["p"] for row in found]), strict=True):
            row["p"] = p
        rows += found
    return rows


def _outcome(
    system: str, ratio: str, test: Records, scores: np.ndarray, reference: np.ndarray
) -> dict[str, Any]:
    tested = hybrid.delong(test.outcome, scores, reference)
    return {
        "system": system,
        "real:synthetic": ratio,
        "AUC": tested.first,
        "difference": tested.difference,
        "p": tested.p,
    }


def rank_table(
    plan: Plan, settings: FitSettings, sets: Mapping[str, Pairs], test: Pairs
) -> list[dict[str, Any]]:
    """How near an image and its row are, by encoders trained on the pairs of each set: rank of the
    own row among those of all test patients (1 is best)."""
    shown = test.records()
    ranks = {}
    for name, pairs in sets.items():
        given = pairs.records()
        encoders = PairEncoders(settings, plan.seed).fit(given.images, given.rows)
        ranks[name] = encoders.ranks(shown.images, shown.rows)
    return [
        {"system": name, **hybrid.rank_summary(of), "p": hybrid.wilcoxon(of, ranks[REAL])}
        for name, of in ranks.items()
    ]


def coder_table(coders: Mapping[str, CodeModel], images: np.ndarray) -> list[dict[str, Any]]:
    """MSE, PSNR and SSIM of images that the coders never saw."""
    return [
        {"coder": name, **paired_figures(images_of(coder, codes_of(coder, images)), images)}
        for name, coder in coders.items()
    ]


def column_table(sets: Mapping[str, Pairs]) -> list[dict[str, Any]]:
    """The study's table of its patients, a column a set: mean and sd of numbers, shares of
    categories, of the known values."""
    found = []
    frames = {name: pd.DataFrame(pairs.rows, columns=SCHEMA.names) for name, pairs in sets.items()}
    for column in SCHEMA.columns:
        for level in column.categories if column.is_discrete else [None]:
            row = {"column": column.name if level is None else f"{column.name}: {level}"}
            for name, frame in frames.items():
                known = frame[column.name].dropna()
                if level is None:
                    numbers = known.astype(float)
                    row[name] = f"{numbers.mean():.1f} ± {numbers.std():.1f}"
                else:
                    row[name] = f"{(known == level).mean():.1%}"
            found.append(row)
    return found
