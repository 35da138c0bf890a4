"""Stored pixel values -> greys in [0, 1] (0 black): modality LUT or rescale, VOI LUT or window,
MONOCHROME1 inverted, pixels that only pad the image black.

Everything is worked out once for the 2 ** BitsStored values that a pixel can have. Legend: V
values.
"""

from dataclasses import dataclass

import numpy as np
import pydicom
from pydicom.pixels import apply_rescale, apply_windowing

from medcodi.sources.archive.options import RejectedError


@dataclass
class GreyScale:
    """`table` (V,): grey of each bit pattern. `linear`: it rises or falls in equal steps, so that
    it commutes with resampling and may be applied after it."""

    table: np.ndarray
    linear: bool


def grey_scale(ds: pydicom.Dataset, window: bool) -> GreyScale:
    """Greys of all bit patterns of `ds`. The result of the last step is divided by the largest
    value that its bit depth allows (and, for signed values and rescaled ones, shifted so that the
    smallest is 0).

    Raises RejectedError for lookup tables, rescale, window or padding attributes that cannot be
    applied.
    """
    try:
        with np.errstate(all="ignore"):
            table, padding = _table(ds, window), _padding(ds)
    except RejectedError:
        raise
    except Exception as error:  # malformed tables make pydicom and numpy raise many kinds
        raise RejectedError(
            "the lookup table, rescale, window or padding cannot be applied", repr(error)
        ) from None
    if not np.isfinite(table).all():
        raise RejectedError("the lookup table, rescale or window gives numbers that are not finite")
    table = np.clip(table, 0.0, 1.0)
    if ds.PhotometricInterpretation == "MONOCHROME1":
        table = 1.0 - table
    table[padding] = 0.0
    steps = np.linspace(table[0], table[-1], len(table))
    return GreyScale(table, bool(np.abs(table - steps).max() < 1e-9))


def _padding(ds: pydicom.Dataset) -> list[int]:
    """Bit patterns that stand for no part of the image: Pixel Padding Value, to Pixel Padding Range
    Limit where there is one (PS3.3 C.7.5.1.1.2)."""
    ends = [ds.get(keyword) for keyword in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    if ends[0] in (None, ""):
        return []
    first, last = sorted(
        int(end) for end in (ends[0], ends[0] if ends[1] in (None, "") else ends[1])
    )
    signed, size = ds.get("PixelRepresentation", 0) == 1, 2**ds.BitsStored
    lowest = -size // 2 if signed else 0
    return [value % size for value in range(max(first, lowest), min(last, lowest + size - 1) + 1)]


def _table(ds: pydicom.Dataset, window: bool) -> np.ndarray:
    bits = ds.BitsStored
    values = np.arange(2**bits)  # (V,)
    if ds.get("PixelRepresentation", 0) == 1:  # two's complement
        values = np.where(values < 2 ** (bits - 1), values, values - 2**bits)
    values, low, high = _modality(ds, values)
    if window and ds.get("VOILUTSequence"):
        values, low, high = _lookup(ds, ds.VOILUTSequence[0], values)
    elif (
        window
        and ds.get("WindowWidth") not in (None, "")
        and ds.get("WindowCenter") not in (None, "")
    ):
        values = apply_windowing(values, ds)
    if not high > low:
        raise RejectedError("the rescale makes every grey equal")
    return (values - low) / (high - low)


def _modality(ds: pydicom.Dataset, values: np.ndarray) -> tuple[np.ndarray, float, float]:
    """(values after the modality LUT or rescale, smallest, largest value that it can give)."""
    if ds.get("ModalityLUTSequence"):
        return _lookup(ds, ds.ModalityLUTSequence[0], values)
    rescaled = apply_rescale(values, ds)
    return rescaled, float(rescaled.min()), float(rescaled.max())


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
