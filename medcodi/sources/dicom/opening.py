"""One file -> pydicom Dataset. Whatever the bytes are, the result is a Dataset or RejectedError, in
bounded memory."""

import io
import os
import zlib
from pathlib import Path

import pydicom
from pydicom.dataelem import RawDataElement
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from medcodi.sources.archive.options import RejectedError

UNDEFINED = 0xFFFFFFFF
PREFIX_END = 132  # 128 bytes of preamble, then DICM (PS3.10, section 7.1)


def is_dicom(path: str | os.PathLike[str]) -> bool:
    """Whether the file carries the DICM prefix of PS3.10."""
    with open(path, "rb") as file:
        return file.read(PREFIX_END)[128:] == b"DICM"


def open_dicom(
    path: str | os.PathLike[str], max_bytes: int, header_only: bool = False
) -> pydicom.Dataset:
    """The data set of a DICOM file, with `file_meta`; `header_only` leaves the pixel data out.

    Raises RejectedError for a file over `max_bytes` (also once inflated), without the DICM prefix,
    without a known transfer syntax, or that cannot be parsed; OSError for one that cannot be
    opened.
    """
    path = Path(path)
    size = path.stat().st_size
    if size > max_bytes:
        raise RejectedError(f"the file has {size} bytes, the limit is {max_bytes}")
    if not is_dicom(path):
        raise RejectedError("not a DICOM file: no DICM prefix after the preamble")
    try:
        meta = pydicom.filereader.read_file_meta_info(path)
    except MemoryError:  # of this machine, not of the file: the next run tries again
        raise
    except Exception as error:  # pydicom raises whatever a hostile byte provokes
        raise RejectedError("the file meta information cannot be read", repr(error)) from None
    syntax = meta.get("TransferSyntaxUID")
    if not syntax:
        raise RejectedError("the file meta information names no transfer syntax")
    if not isinstance(syntax, UID) or not syntax.is_transfer_syntax:
        raise RejectedError("the transfer syntax is not one of the standard", syntax)
    stream: Path | io.BytesIO = path
    if syntax == DeflatedExplicitVRLittleEndian:
        stream = _inflated(path, meta, max_bytes)
    try:
        ds = pydicom.dcmread(stream, stop_before_pixels=header_only)
        ds.file_meta.TransferSyntaxUID = syntax
    except MemoryError:
        raise
    except Exception as error:
        raise RejectedError("the data set cannot be parsed", repr(error)) from None
    _check_whole(ds)
    return ds


def _check_whole(ds: pydicom.Dataset) -> None:
    """pydicom takes a last value that is shorter than its length for what it is; here it is a file
    that was cut."""
    for tag in ds.keys():  # noqa: SIM118
        raw = ds.get_item(tag)
        if (
            isinstance(raw, RawDataElement)
            and raw.length != UNDEFINED
            and len(raw.value or b"") < raw.length
        ):
            raise RejectedError(
                f"truncated: {tag} has {len(raw.value or b'')} bytes, expected {raw.length}"
            )


def _inflated(path: Path, meta: pydicom.Dataset, max_bytes: int) -> io.BytesIO:
    """The file with its data set inflated, at most `max_bytes` of it (PS3.5, section A.5)."""
    with open(path, "rb") as file:
        file.seek(PREFIX_END)
        pydicom.filereader.read_dataset(
            file, False, True, stop_when=lambda tag, vr, length: tag.group != 2
        )
        deflated = file.read()
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        inflated = inflater.decompress(deflated, max_bytes)
    except zlib.error as error:
        raise RejectedError("the deflated data set is damaged", error) from None
    if inflater.unconsumed_tail:
        raise RejectedError(f"the deflated data set inflates to more than {max_bytes} bytes")
    if not inflater.eof:
        raise RejectedError("the deflated data set is truncated")
    return io.BytesIO(_as_explicit(meta) + inflated)


def _as_explicit(meta: pydicom.Dataset) -> bytes:
    """Preamble and file meta information that say explicit VR little endian."""
    plain = pydicom.dataset.FileMetaDataset()
    plain.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    plain.MediaStorageSOPClassUID = meta.get("MediaStorageSOPClassUID", "")
    buffer = io.BytesIO()
    buffer.write(b"\0" * 128 + b"DICM")
    pydicom.filewriter.write_file_meta_info(buffer, plain, enforce_standard=False)
    return buffer.getvalue()
