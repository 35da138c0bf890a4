"""Pixel data -> the prepared image: decode, greys, square pixels, zero-padding to a square, resize.

Paper: MedCoDi-M, section 3.1. Resampling to the common spacing, padding to the image's own square
and resizing are one resampling (`fit_square`): the scale of the common spacing cancels, its aspect
remains. Legend: H W pixels of the file, S side of the result.
"""

from dataclasses import dataclass

import numpy as np
import pydicom
from pydicom.pixels import get_decoder
from pydicom.uid import RLELossless

from medcodi.data.greys import Greys
from medcodi.sources.archive.options import DicomOptions, RejectedError
from medcodi.sources.dicom.policy import choose_greys
from medcodi.sources.images import fit_square
from medcodi.sources.letters import LONGEST, text_note

OVERLAYS = range(0x6000, 0x6020, 2)  # groups of overlay planes, PS3.3 C.9.2


@dataclass
class PreparedImage:
    """`image`: float32 (S, S) in [0, 1]; `greys`, `notes`, `flags`: see policy.py."""

    image: np.ndarray
    greys: Greys
    notes: list[str]
    flags: list[str]


def prepared_image(ds: pydicom.Dataset, options: DicomOptions, aspect: float) -> PreparedImage:
    """The prepared image of a file that `describe_image` took; `aspect` is the height of a pixel
    over its width, relative to the common spacing. Raises RejectedError for pixel data that is
    damaged or does not fit its header, and for greys that are not to be used."""
    pixels = decode(ds)  # (H, W) uint16 bit patterns
    chosen = choose_greys(ds, pixels, options)
    greys = chosen.scale
    if greys.linear:
        first, slope, white = greys.table[0], greys.table[-1] - greys.table[0], 2**ds.BitsStored - 1
    else:
        first, slope, white = 0.0, 1.0, 65535
        pixels = np.round(greys.table * white).astype(np.uint16)[pixels]
    white, slope, first = np.float32(white), np.float32(slope), np.float32(first)
    image = fit_square(pixels, options.size, aspect, lambda means: means / white * slope + first)
    step = max(1, -(-max(pixels.shape) // LONGEST))
    seen = pixels[::step, ::step] / white * slope + first
    notes, flags = chosen.notes, chosen.flags
    if options.suspects != "accept":
        notes = notes + text_note(seen)
    if any(tag.group in OVERLAYS for tag in ds.keys()):  # noqa: SIM118
        flags = [*flags, "overlay not drawn"]
    return PreparedImage(image, chosen.greys, notes, flags)


def decode(ds: pydicom.Dataset) -> np.ndarray:
    """(H, W) uint16: the BitsStored low bits of each pixel, two's complement where it is signed.

    Raises RejectedError for pixel data that does not fit the header or the transfer syntax.
    """
    syntax, bits, shape = ds.file_meta.TransferSyntaxUID, ds.BitsStored, (ds.Rows, ds.Columns)
    encapsulated = ds["PixelData"].is_undefined_length
    if encapsulated != syntax.is_encapsulated:
        said = "compressed" if syntax.is_encapsulated else "uncompressed"
        raise RejectedError(f"wrong transfer syntax: it says {said}, the pixel data is not")
    if not encapsulated:
        _check_length(ds)
    try:
        pixels = _run_decoder(ds)
    except MemoryError:
        raise
    except Exception as error:  # five decoders, each with its own kinds
        raise RejectedError(
            f"the pixel data cannot be decoded ({syntax.name})", repr(error)
        ) from None
    if pixels.shape != shape:
        raise RejectedError(f"the pixel data decodes to {pixels.shape}, expected {shape}")
    signed = pixels.dtype.kind == "i"
    pixels = (
        pixels.astype(np.dtype(f"u{pixels.dtype.itemsize}"), copy=False) if not signed else pixels
    )
    if encapsulated and not signed and pixels.max() >= 2**bits:
        raise RejectedError(f"the pixel data decodes to values of more than {bits} bits")
    if signed:
        pixels = pixels.astype(np.int16, copy=False).view(np.uint16) & np.uint16(2**bits - 1)
    elif bits < 8 * pixels.dtype.itemsize and pixels.max() >= 2**bits:
        # PS3.5, 8.1.1: unused bits mean nothing
        pixels = pixels & np.uint16(2**bits - 1)
    return pixels.astype(np.uint16, copy=False)


def _check_length(ds: pydicom.Dataset) -> None:
    expected, found = ds.Rows * ds.Columns * ds.BitsAllocated // 8, len(ds.PixelData)
    if found not in (expected, expected + expected % 2):
        what = "truncated" if found < expected else "more than the header describes"
        raise RejectedError(f"the pixel data has {found} bytes, expected {expected}: {what}")


def _run_decoder(ds: pydicom.Dataset) -> np.ndarray:
    """(H, W) as stored: no colour conversion, no correction of unused bits. pylibjpeg first: it
    decodes 12 and 16 bits, and JPEG 2000 in less time than Pillow."""
    decoder = get_decoder(ds.file_meta.TransferSyntaxUID)
    if not ds.file_meta.TransferSyntaxUID.is_encapsulated:
        return decoder.as_array(ds, index=0, raw=True, view_only=True, correct_unused_bits=False)[0]
    plugin = "" if ds.file_meta.TransferSyntaxUID == RLELossless else "pylibjpeg"
    return decoder.as_array(ds, index=0, raw=True, decoding_plugin=plugin)[0]
