"""What phantom outputs show: images by a `PhantomReader`, which was fitted on real images, never on
generated ones; reports by `read_report`; table rows by their columns.

Legend: N studies, H W pixels.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from medcodi.metrics.networks.phantom_reader import LABELS, SITES, PhantomReader, label_table
from medcodi.phantom import read_report
from medcodi.phantom.anatomy import HEART_GRADES
from medcodi.phantom.reading import UNSPECIFIED

Reading = dict[str, np.ndarray]  # what is read from N outputs: name -> (N,) float

KEY_FINDINGS = ("effusion_left", "effusion_right", "cardiomegaly", "consolidation")
REPORT_FINDINGS = (
    *KEY_FINDINGS,
    "edema",
    "atelectasis",
    "pneumothorax",
    "nodule",
    "pacemaker",
    "central_line",
    "endotracheal_tube",
)
BINARY_COLUMNS = {
    "last_status": "deceased",
    "is_icu": "true",
    "was_ventilated": "yes",
    "acute_kidney_injury": "yes",
}
NUMERIC_COLUMNS = {
    "oxygen_saturation": -1,
    "respiratory_rate": 1,
    "length_of_stay": 1,
}  # sign of its tie to the risk


def _consolidation_side(site: str | None) -> float:
    """+1 left, -1 right, 0 none or behind the heart."""
    return 0.0 if not site else float(site.startswith("left")) - float(site.startswith("right"))


def truth_reading(truths: Sequence[Mapping[str, Any]]) -> Reading:
    """Truth dicts -> 0/1 findings, sides (+1 left only, -1 right only, 0 else), `ctr` and `risk`,
    the probability of death."""
    read = dict(zip(LABELS, label_table(list(truths)).T.astype(float), strict=True))
    read |= {
        key: np.array([float(t[key]) for t in truths])
        for key in ("central_line", "endotracheal_tube", "ctr")
    }
    read["risk"] = np.array([t["outcome_probability"] for t in truths])
    read["effusion_side"] = read["effusion_left"] - read["effusion_right"]
    read["consolidation_side"] = np.array([_consolidation_side(t["consolidation"]) for t in truths])
    return read


def image_reading(reader: PhantomReader, images: np.ndarray) -> Reading:
    """Images (N, H, W) in [0, 1] -> probabilities of the findings, sides as differences of them,
    and `ctr`."""
    read = dict(reader.read(images))
    read["effusion_side"] = read["effusion_left"] - read["effusion_right"]
    sites = {
        side: sum(read[f"consolidation_{s}"] for s in SITES if s.startswith(side))
        for side in ("left", "right")
    }
    read["consolidation_side"] = sites["left"] - sites["right"]
    return read


def report_reading(texts: Sequence[str]) -> Reading:
    """Reports -> 0/1 findings (not mentioned counts as absent), sides, and `ctr` as the grade of
    the heart, 0 to 3; a heart that is enlarged without a grade counts as mild."""
    stated = [read_report(text) for text in texts]
    read = {
        k: np.array([s[k] not in (None, "none", False) for s in stated], float)
        for k in REPORT_FINDINGS
    }
    grades = {name: grade for grade, (_, name) in enumerate(HEART_GRADES)}
    grades |= {None: grades["normal"], UNSPECIFIED: grades["mild"]}
    read["ctr"] = np.array([grades[s["heart"]] for s in stated], float)
    read["effusion_side"] = read["effusion_left"] - read["effusion_right"]
    read["consolidation_side"] = np.array([_consolidation_side(s["consolidation"]) for s in stated])
    return read


def table_reading(rows: Sequence[Mapping[str, Any]]) -> Reading:
    """Table rows -> outcome-related columns as numbers, NaN where missing."""

    def column(name: str, convert: Callable[[Any], float]) -> np.ndarray:
        return np.array(
            [math.nan if row.get(name) is None else convert(row[name]) for row in rows], float
        )

    read = {
        name: column(name, lambda v, p=positive: float(v == p))
        for name, positive in BINARY_COLUMNS.items()
    }
    return read | {name: column(name, float) for name in NUMERIC_COLUMNS}


def take(read: Reading, rows: np.ndarray) -> Reading:
    """The same reading of some of the studies."""
    return {key: column[rows] for key, column in read.items()}
