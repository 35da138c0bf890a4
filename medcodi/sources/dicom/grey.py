"""Stored pixel values -> greys in [0, 1] (0 black): modality LUT or rescale, VOI LUT or window,
MONOCHROME1 or Presentation LUT Shape INVERSE inverted, pixels that only pad the image black.

Everything is worked out once for the 2 ** BitsStored values that a pixel can have. Legend: V
values.
"""

import math
from dataclasses import dataclass, field

import numpy as np
import pydicom

from medcodi.sources.archive.options import RejectedError


@dataclass
class GreyScale:
    """`table` (V,): grey of each bit pattern. `padding` (V,): patterns that are no part of the
    image. `linear`: the table rises or falls in equal steps, so that it commutes with resampling
    and may be applied after it. `notes`: what in the header contradicts itself."""

    table: np.ndarray
    padding: np.ndarray
    linear: bool
    notes: list[str] = field(default_factory=list)


def grey_scale(
    ds: pydicom.Dataset, window: bool, ends: tuple[float, float] | None = None
) -> GreyScale:
    """Greys of all bit patterns of `ds`. The result of the last step is divided by the largest
    value that its bit depth allows (and, for signed values and rescaled ones, shifted so that the
    smallest is 0); with `ends`, these two rescaled values are black and white instead.

    Raises RejectedError for lookup tables, rescale, window or padding attributes that cannot be
    applied.
    """
    try:
        with np.errstate(all="ignore"):
            table, padding = _table(ds, window, ends), _padding(ds)
    except (RejectedError, MemoryError):
        raise
    except Exception as error:  # malformed tables make pydicom and numpy raise many kinds
        raise RejectedError(
            "the lookup table, rescale, window or padding cannot be applied", repr(error)
        ) from None
    if not np.isfinite(table).all():
        raise RejectedError("the lookup table, rescale or window gives numbers that are not finite")
    table = np.clip(table, 0.0, 1.0)
    inverted, notes = _polarity(ds)
    if inverted:
        table = 1.0 - table
    table[padding] = 0.0
    steps = np.linspace(table[0], table[-1], len(table))
    return GreyScale(table, padding, bool(np.abs(table - steps).max() < 1e-9), notes)


def _polarity(ds: pydicom.Dataset) -> tuple[bool, list[str]]:
    """(whether the largest value is black, contradictions). MONOCHROME1 goes with INVERSE and
    MONOCHROME2 with IDENTITY (PS3.3 C.8.11.3.1.2); where they disagree, what asks for an inversion
    is done, once."""
    first = str(ds.PhotometricInterpretation) == "MONOCHROME1"
    shape = str(ds.get("PresentationLUTShape") or "").strip().upper()
    if shape in ("INVERSE", "IDENTITY") and first != (shape == "INVERSE"):
        number = 1 if first else 2
        return True, [
            f"PresentationLUTShape {shape} contradicts MONOCHROME{number}: it is shown inverted"
        ]
    return first, []


def _padding(ds: pydicom.Dataset) -> np.ndarray:
    """(V,) bool: bit patterns that stand for no part of the image: Pixel Padding Value, to Pixel
    Padding Range Limit where there is one (PS3.3 C.7.5.1.1.2)."""
    signed, size = ds.get("PixelRepresentation", 0) == 1, 2**ds.BitsStored
    found = np.zeros(size, bool)
    ends = [ds.get(keyword) for keyword in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    if ends[0] in (None, ""):
        return found
    first, last = sorted(
        int(end) for end in (ends[0], ends[0] if ends[1] in (None, "") else ends[1])
    )
    lowest = -size // 2 if signed else 0
    within = range(max(first, lowest), min(last, lowest + size - 1) + 1)
    found[[value % size for value in within]] = True
    return found


def rescaled(ds: pydicom.Dataset) -> np.ndarray:
    """(V,) the value of each bit pattern after the modality LUT or the rescale."""
    return _modality(ds)[0]


def _table(ds: pydicom.Dataset, window: bool, ends: tuple[float, float] | None) -> np.ndarray:
    values, low, high = _modality(ds)
    if ends is not None:
        low, high = ends
    elif window and ds.get("VOILUTSequence"):
        values, low, high = _lookup(ds, ds.VOILUTSequence[0], values)
    elif window and has_window(ds):
        return _windowed(ds, values)
    if not high > low:
        raise RejectedError("the rescale makes every grey equal")
    return (values - low) / (high - low)


def has_window(ds: pydicom.Dataset) -> bool:
    """Whether the header says how to show the values."""
    ends = [ds.get(keyword) for keyword in ("WindowCenter", "WindowWidth")]
    return bool(ds.get("VOILUTSequence")) or not any(end is None or end == "" for end in ends)


def _modality(ds: pydicom.Dataset) -> tuple[np.ndarray, float, float]:
    """(values after the modality LUT or rescale, smallest, largest value that it can give)."""
    bits = ds.BitsStored
    values = np.arange(2**bits)  # (V,)
    if ds.get("PixelRepresentation", 0) == 1:  # two's complement
        values = np.where(values < 2 ** (bits - 1), values, values - 2**bits)
    if ds.get("ModalityLUTSequence"):
        return _lookup(ds, ds.ModalityLUTSequence[0], values)
    slope, intercept = (
        default if ds.get(keyword) in (None, "") else float(ds.get(keyword))
        for keyword, default in (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0))
    )
    if not (math.isfinite(slope) and math.isfinite(intercept)):
        raise RejectedError("the rescale is not finite", f"slope {slope}, intercept {intercept}")
    values = values * slope + intercept
    return values, float(values.min()), float(values.max())


def _windowed(ds: pydicom.Dataset, values: np.ndarray) -> np.ndarray:
    """(V,) in [0, 1]: the first window (PS3.3 C.11.2.1.2 and C.11.2.1.3)."""
    center, width = (_first_number(ds, keyword) for keyword in ("WindowCenter", "WindowWidth"))
    function = str(ds.get("VOILUTFunction") or "LINEAR").strip().upper()
    smallest = 1.0 if function == "LINEAR" else 0.0
    if not (math.isfinite(center) and math.isfinite(width)):
        raise RejectedError("the window is not finite", f"center {center}, width {width}")
    if width < smallest or width <= 0:
        raise RejectedError(f"the window has no width that {function} can have", f"width {width}")
    if function == "SIGMOID":
        return 1 / (1 + np.exp(-4 * (values - center) / width))
    if function == "LINEAR":
        center, width = center - 0.5, width - 1
    elif function != "LINEAR_EXACT":
        raise RejectedError("VOILUTFunction is none of LINEAR, LINEAR_EXACT, SIGMOID", function)
    if width == 0:
        return (values > center).astype(np.float64)
    return np.clip((values - center) / width + 0.5, 0.0, 1.0)


def _first_number(ds: pydicom.Dataset, keyword: str) -> float:
    value = ds.get(keyword)
    several = isinstance(value, (list, tuple, pydicom.multival.MultiValue))
    return float(value[0] if several else value)


def _lookup(
    ds: pydicom.Dataset, item: pydicom.Dataset, values: np.ndarray
) -> tuple[np.ndarray, float, float]:
    """(entries for `values`, 0, largest entry of the bit depth) by PS3.3 C.11.1.1 and C.11.2.1.1:
    values before the first and behind the last entry take that entry."""
    entries, first, bits = (int(one) for one in item.LUTDescriptor)
    entries = entries or 2**16
    data = item.LUTData
    if isinstance(data, bytes):
        kind = (
            "u1"
            if bits == 8 and len(data) < 2 * entries
            else "<u2"
            if ds.file_meta.TransferSyntaxUID.is_little_endian
            else ">u2"
        )
        data = np.frombuffer(data, kind)
    data = np.asarray(data, np.int64)[:entries]
    if len(data) < entries or not 8 <= bits <= 16:
        raise RejectedError(
            f"a lookup table has {len(data)} entries of {bits} bits, expected {entries} of 8 to 16 "
            "bits"
        )
    index = np.clip(np.rint(values).astype(np.int64) - first, 0, entries - 1)
    return data[index].astype(np.float64), 0.0, float(max(2**bits - 1, data.max()))
