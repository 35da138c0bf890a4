"""What the greys of an image look like: black, flat or clipped images are found before they are
trained on. Legend: V levels, H W pixels."""

from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np

LEVELS, NUM_BINS = 256, 32  # of the histogram that is judged; of the one that is kept
FIGURES = ("black", "white", "low", "high", "entropy", "used", "coloured")


@dataclass
class Greys:
    """Figures of one image, without its padding. `black`, `white`: shares of the pixels at the ends
    of 256 levels; `low`, `high`: 1st and 99th percentile, in [0, 1]; `entropy` of the 256 levels in
    bits, at most 8; `used`: share of the range of the stored bits between the .1st and the 99.9th
    percentile (None where it is not known); `histogram`: pixels in 32 equal bins, in thousandths;
    `coloured`: share of the pixels that had a colour before they became grey (None: not known).
    """

    black: float
    white: float
    low: float
    high: float
    entropy: float
    used: float | None = None
    histogram: list[int] = field(default_factory=list)
    coloured: float | None = None

    @classmethod
    def of_levels(cls, greys: np.ndarray, counts: np.ndarray, used: float | None = None) -> "Greys":
        """`greys` (V,) in [0, 1] and how many pixels have each, `counts` (V,), at least one."""
        level = np.rint(np.asarray(greys) * (LEVELS - 1)).astype(np.int64)
        share = np.bincount(level, counts, LEVELS) / counts.sum()
        total, known = np.cumsum(share), share[share > 0]
        low, high = (float(np.searchsorted(total, at - 1e-9)) / (LEVELS - 1) for at in (0.01, 0.99))
        bins = share.reshape(NUM_BINS, -1).sum(axis=1)
        entropy = float(-(known * np.log2(known)).sum()) + 0.0
        figures = [float(share[0]), float(share[-1]), low, high, entropy]
        return cls(
            *(round(one, 4) for one in figures), used, np.rint(1000 * bins).astype(int).tolist()
        )

    @classmethod
    def of_image(cls, image: np.ndarray) -> "Greys":
        """Of a float image (H, W) in [0, 1]; black rows and columns around it are padding."""
        inside = without_frame(image)
        levels = np.rint(np.asarray(inside if inside.size else image, np.float64) * 65535)
        values, counts = np.unique(levels, return_counts=True)
        return cls.of_levels(values / 65535, counts)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Greys":
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def is_one_grey(self) -> bool:
        return self.entropy == 0


@dataclass
class GreyLimits:
    """An image outside of these is a suspect. The defaults leave the greys of all of 2,646 public
    radiographs (ChestX-ray14, the COVID-19 image collection, Hannover, Kermany) inside."""

    max_black: float = 0.4
    max_white: float = 0.15
    min_spread: float = 0.2
    min_entropy: float = 4.5
    max_coloured: float = 0.0005

    def __post_init__(self) -> None:
        for one in fields(self):
            value, top = getattr(self, one.name), 8 if one.name == "min_entropy" else 1
            if not 0 <= value <= top:
                raise ValueError(f"{one.name} must lie in [0, {top}], got {value}")

    def reasons(self, greys: Greys) -> list[str]:
        """Why an image is a suspect; empty for one that is none."""
        if greys.is_one_grey:
            return [f"every pixel has the grey {greys.low:.3f}"]
        found = []
        if greys.coloured is not None and greys.coloured > self.max_coloured:
            found.append(f"{greys.coloured:.2%} of the pixels had a colour and were made grey")
        for name in ("black", "white"):
            share, limit = getattr(greys, name), getattr(self, f"max_{name}")
            if share > limit:
                found.append(f"{share:.1%} of the pixels are {name}, the limit is {limit:.0%}")
        if greys.high - greys.low < self.min_spread:
            of_bits = (
                "" if greys.used is None else f"; {greys.used:.1%} of the stored range is used"
            )
            found.append(f"98 % of the greys lie in {greys.low:.3f} to {greys.high:.3f}{of_bits}")
        if greys.entropy < self.min_entropy:
            found.append(
                f"the greys hold {greys.entropy:.2f} bits, expected at least {self.min_entropy:g}"
            )
        return found


def without_frame(image: np.ndarray) -> np.ndarray:
    """(H, W) without the black rows and columns around it; empty for a black image."""
    rows, columns = (np.flatnonzero((image > 0).any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return image[:0]
    return image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
