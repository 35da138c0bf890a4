"""Which greys an image gets: the look that is asked for, and what becomes of an image whose greys
are suspect (black, white, flat, of one value).

Legend: V bit patterns, H W pixels.
"""

import math
from dataclasses import dataclass

import numpy as np
import pydicom

from medcodi.data.greys import LEVELS, GreyLimits, Greys
from medcodi.sources.archive.options import DicomOptions, RejectedError
from medcodi.sources.dicom.grey import GreyScale, grey_scale, has_window, rescaled
from medcodi.sources.images import equalisation
from medcodi.sources.suspects import judged, shape_note

CHUNK = 1 << 20  # pixels that are counted at a time
TAIL = 0.001  # share of the pixels at each end that does not count as used


@dataclass
class ChosenGreys:
    """`scale`: how the image is shown; `greys`: its figures; `notes`: why it is a suspect, empty
    where it is none; `flags`: what was done, to be counted."""

    scale: GreyScale
    greys: Greys
    notes: list[str]
    flags: list[str]


def choose_greys(ds: pydicom.Dataset, pixels: np.ndarray, options: DicomOptions) -> ChosenGreys:
    """Greys of `pixels` (H, W), bit patterns, as `options.look` and `options.suspects` say.

    Raises RejectedError for an image of one grey (unless suspects are accepted), for a suspect that
    is to be refused, and for attributes that cannot be applied.
    """
    counts = count_patterns(pixels, 2**ds.BitsStored)
    tries = [(options.look, [])]
    if options.suspects == "ignore_window" and options.look == "stored":
        left_out = [("full", ["window ignored"])] if options.window and has_window(ds) else []
        tries += [*left_out, ("min_max", ["range of the values taken"])]
    chosen, refusal, fewest = None, None, math.inf
    for look, flags in tries:
        try:
            found = _look(ds, counts, look, options)
        except RejectedError as error:
            refusal = refusal or error
            continue
        found.flags = flags
        problems = len(found.notes) + len(options.grey_limits.reasons(found.greys))
        if problems < fewest:
            chosen, fewest = found, problems
        if not problems:
            break
    if chosen is None:
        raise refusal
    told = [*chosen.notes, *shape_note(pixels.shape)]
    chosen.notes = judged(chosen.greys, options.grey_limits, options.suspects, told)
    return chosen


def count_patterns(pixels: np.ndarray, size: int) -> np.ndarray:
    """(V,) how many of `pixels` have each pattern."""
    counts, flat = np.zeros(size, np.int64), pixels.reshape(-1)
    for start in range(0, len(flat), CHUNK):
        counts += np.bincount(flat[start : start + CHUNK], minlength=size)
    return counts


def _look(ds: pydicom.Dataset, counts: np.ndarray, look: str, options: DicomOptions) -> ChosenGreys:
    window = options.window and look == "stored"
    scale = grey_scale(ds, window)
    inside = np.where(scale.padding, 0, counts)
    if not inside.any():
        raise RejectedError("the padding covers every pixel of the image")
    values = rescaled(ds)
    if look in ("min_max", "equalised"):
        seen = values[inside > 0]
        if seen.min() == seen.max():
            raise RejectedError("every pixel has the same value")
        scale = grey_scale(ds, False, (float(seen.min()), float(seen.max())))
        if look == "equalised":
            scale = GreyScale(equalised(scale, inside), scale.padding, False, scale.notes)
    greys = Greys.of_levels(scale.table, inside, _used(values, inside))
    notes = [*scale.notes, *_padding_note(inside, counts, options.grey_limits)]
    return ChosenGreys(scale, greys, notes, [])


def equalised(scale: GreyScale, counts: np.ndarray) -> np.ndarray:
    """(V,) the table after histogram equalisation of 256 levels, as in MIMIC-CXR-JPG."""
    level = np.floor(scale.table * (LEVELS - 1) + 1e-9).astype(np.int64)
    table = equalisation(np.bincount(level, counts, LEVELS))[level]
    table[scale.padding] = 0.0
    return table


def _used(values: np.ndarray, counts: np.ndarray) -> float:
    """Share of the range of `values` (V,) between the ends of what the image uses."""
    order = np.argsort(values, kind="stable")
    total = np.cumsum(counts[order]) / counts.sum()
    low, high = (values[order[np.searchsorted(total, at - 1e-12)]] for at in (TAIL, 1 - TAIL))
    whole = float(values.max() - values.min())
    return round(float(high - low) / whole, 4) if whole else 0.0


def _padding_note(inside: np.ndarray, counts: np.ndarray, limits: GreyLimits) -> list[str]:
    share = 1 - inside.sum() / counts.sum()
    if share <= max(limits.max_black, 0.5):
        return []
    return [f"{share:.1%} of the pixels have the value of padding"]
