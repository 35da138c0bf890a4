"""What a prepared folder tells of its images as a whole: figures of their greys, and the suspects
among them, in suspects.csv."""

import csv
from array import array
from typing import Any, TextIO

import numpy as np

from medcodi.data.greys import FIGURES, NUM_BINS, GreyLimits, Greys
from medcodi.data.png import EncodedImage, decode_image
from medcodi.data.study import Study

HEAD = ["study_id", "name", "reasons", *FIGURES]
QUANTILES = {"least": 0.0, "5 %": 0.05, "median": 0.5, "95 %": 0.95, "most": 1.0}


class PictureFigures:
    """Figures of the images of `names` as they are written; suspects are listed at once."""

    def __init__(self, names: list[str], limits: GreyLimits) -> None:
        self.limits = limits
        self.figures = {name: array("d") for name in names}  # rows of FIGURES
        self.histograms = {name: np.zeros(NUM_BINS) for name in names}
        self.num_suspects = dict.fromkeys(names, 0)

    def start(self, file: TextIO) -> None:
        """List suspects in `file`."""
        self._rows = csv.writer(file)
        self._rows.writerow(HEAD)

    def see(self, study: Study, name: str, value: Any) -> None:
        """Count an image of `study`: a float array (H, W) in [0, 1], or an EncodedImage, which may
        bring its figures and why it is a suspect."""
        given = isinstance(value, EncodedImage)
        greys = value.greys if given else None
        if greys is None:
            image = decode_image(value.png) if given else np.asarray(value, np.float32)
            greys = Greys.of_image(image)
            reasons = self.limits.reasons(greys)
        else:
            reasons = []
        reasons = [*(value.notes if given else []), *reasons]
        self.figures[name].extend(_number(getattr(greys, key)) for key in FIGURES)
        self.histograms[name] += greys.histogram
        if reasons:
            self.num_suspects[name] += 1
            figures = [
                "" if (one := getattr(greys, key)) is None else f"{one:g}" for key in FIGURES
            ]
            self._rows.writerow([study.study_id, name, "; ".join(reasons), *figures])

    def summary(self) -> dict[str, Any]:
        """name -> number of images and suspects, quantiles of the figures, mean histogram (in
        thousandths)."""
        return {name: self._of(name) for name in self.figures}

    def _of(self, name: str) -> dict[str, Any]:
        table = np.array(self.figures[name], float).reshape(-1, len(FIGURES))
        found: dict[str, Any] = {"images": len(table), "suspects": self.num_suspects[name]}
        if not len(table):
            return found
        quantiles = {}
        for key, column in zip(FIGURES, table.T, strict=True):
            known = column[~np.isnan(column)]
            if len(known):
                values = np.quantile(known, list(QUANTILES.values())).round(4).tolist()
                quantiles[key] = dict(zip(QUANTILES, values, strict=True))
        histogram = (self.histograms[name] / len(table)).round(2).tolist()
        return {**found, "quantiles": quantiles, "histogram": histogram}


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
