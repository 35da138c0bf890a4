"""How many radiographs a second does `medcodi prepare dicom` read, beside pydicom + torchxrayvision's own loading code?

    python eval/prepare_speed.py [--num-files 24] [--num-workers 2] [--size 256] [--bits-stored 12] [--repeats 2]

Files of 3,000 x 2,500 pixels, 16 bits allocated, uncompressed and JPEG 2000 lossless; all sides read the same files, from
the page cache, with the same number of processes that have started before the clock. Last line of stdout: one JSON document.
"""

import argparse
import json
import multiprocessing
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, JPEG2000Lossless, generate_uid

from medcodi.data.sources import get_source
from medcodi.data.sources.dicom.options import DicomOptions
from medcodi.data.sources.dicom.work import Job, read_one

ROWS, COLUMNS = 3000, 2500
NUM_PICTURES = 3  # different pixel data; the files differ in their identifiers
ENCODINGS = {"uncompressed": None, "jpeg 2000": JPEG2000Lossless}


def picture(seed: int, bits: int) -> np.ndarray:
    """uint16 (ROWS, COLUMNS): smooth greys with the noise of a detector."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:ROWS, 0:COLUMNS].astype(np.float32)
    greys = 0.5 + 0.35 * np.sin(x / (300 + 40 * seed)) * np.cos(y / 400) + rng.normal(0, 0.005, x.shape)
    return (greys.clip(0, 1) * (2**bits - 1)).astype(np.uint16)


def dataset(pixels: np.ndarray, bits: int) -> FileDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, DigitalXRayImageStorageForPresentation
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID = DigitalXRayImageStorageForPresentation, generate_uid()
    ds.Modality, ds.BodyPartExamined, ds.ViewPosition, ds.BurnedInAnnotation = "DX", "CHEST", "PA", "NO"
    ds.PixelSpacing, ds.PhotometricInterpretation, ds.SamplesPerPixel = [0.14, 0.14], "MONOCHROME2", 1
    ds.Rows, ds.Columns = pixels.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, bits, bits - 1, 0
    ds.PixelData = pixels.tobytes()
    return ds


def write_files(folder: Path, num_files: int, syntax: str | None, bits: int) -> list[Path]:
    datasets = [dataset(picture(seed, bits), bits) for seed in range(min(NUM_PICTURES, num_files))]
    for ds in datasets:
        if syntax:
            ds.compress(syntax)
    paths = []
    for number in range(num_files):
        ds = datasets[number % len(datasets)]
        ds.StudyInstanceUID, ds.PatientID, ds.SOPInstanceUID = generate_uid(), f"P{number}", generate_uid()
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        paths.append(folder / f"{number:05d}.dcm")
        ds.save_as(paths[-1], enforce_file_format=True)
        paths[-1].read_bytes()  # into the page cache
    return paths


def load_with_xrv(path: Path) -> float:
    """torchxrayvision's reader: pydicom's pixel array, scaled to [-1024, 1024]."""
    import torchxrayvision as xrv

    return float(xrv.utils.read_xray_dcm(path).mean())


def load_and_resize_with_xrv(path: Path, size: int) -> float:
    """The same and its transforms, as its examples chain them."""
    import torchxrayvision as xrv

    image = xrv.utils.read_xray_dcm(path)[None]
    return float(xrv.datasets.XRayResizer(size)(xrv.datasets.XRayCenterCrop()(image)).mean())


def time_medcodi(folder: Path, size: int, num_workers: int, scratch: Path) -> float:
    """Seconds for the whole of `prepare dicom`: walk, read, resize, PNG, Arrow."""
    options = {"front": "frontal", "side": "lateral", "text": "report", "size": size}
    start = time.perf_counter()
    counts = get_source("dicom")(folder, options, scratch / "prepared", num_workers=num_workers)
    seconds = time.perf_counter() - start
    if counts["images"] != counts["files"]:
        raise RuntimeError(f"not every file was taken: {counts}")
    return seconds


def cpu_seconds(source: Path, paths: list[Path], size: int) -> dict[str, float]:
    """Processor seconds for one image in one process, the least of `paths`: what other load on the machine changes least."""
    job = Job(str(source), DicomOptions("frontal", "lateral", "report", size=size), b"k" * 16)
    ways = {
        "medcodi": lambda path: read_one(job, path.name.encode()),
        "xrv read": load_with_xrv,
        "xrv read + resize": lambda path: load_and_resize_with_xrv(path, size),
    }
    seconds = {}
    for name, way in ways.items():
        way(paths[0])  # imports
        seconds[name] = float("inf")
        for path in paths[:4]:
            start = time.process_time()
            way(path)
            seconds[name] = min(seconds[name], time.process_time() - start)
    return seconds


def time_pool(pool: ProcessPoolExecutor, function: Any, *arguments: Any) -> float:
    start = time.perf_counter()
    list(pool.map(function, *arguments))
    return time.perf_counter() - start


def measure(folder: Path, paths: list[Path], pool: ProcessPoolExecutor, arguments: argparse.Namespace) -> dict[str, float]:
    """Images a second of each way, the best of `--repeats`."""
    seconds: dict[str, list[float]] = {"medcodi": [], "xrv read": [], "xrv read + resize": []}
    for _ in range(arguments.repeats):
        with tempfile.TemporaryDirectory() as scratch:
            seconds["medcodi"].append(time_medcodi(folder, arguments.size, arguments.num_workers, Path(scratch)))
        seconds["xrv read"].append(time_pool(pool, load_with_xrv, paths))
        seconds["xrv read + resize"].append(time_pool(pool, load_and_resize_with_xrv, paths, [arguments.size] * len(paths)))
    return {name: len(paths) / min(values) for name, values in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--num-files", type=int, default=24)
    parser.add_argument("--num-workers", type=int, default=2)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--bits-stored", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path("results/prepare_speed"))
    arguments = parser.parse_args()
    figures: dict[str, Any] = {
        "rows": ROWS, "columns": COLUMNS, "bits_stored": arguments.bits_stored, "num_files": arguments.num_files,
        "num_workers": arguments.num_workers, "size": arguments.size, "pydicom": pydicom.__version__,
        "images_per_second": {}, "cpu_seconds_per_image": {},
    }  # fmt: skip
    lines = ["| files | medcodi | xrv read | xrv read + resize | over read | over read + resize |",
             "| --- | --- | --- | --- | --- | --- |"]  # fmt: skip
    context = multiprocessing.get_context("forkserver")
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(arguments.num_workers, context) as pool:
        for name, syntax in ENCODINGS.items():
            source = Path(folder) / name
            source.mkdir()
            paths = write_files(source, arguments.num_files, syntax, arguments.bits_stored)
            list(pool.map(load_with_xrv, paths[:1] * arguments.num_workers))  # imports
            speed = measure(source, paths, pool, arguments)
            figures["images_per_second"][name] = speed
            figures["cpu_seconds_per_image"][name] = cpu_seconds(source, paths, arguments.size)
            inverse = {way: 1 / seconds for way, seconds in figures["cpu_seconds_per_image"][name].items()}
            for label, values in (("images a second", speed), ("images a CPU second, 1 process", inverse)):
                ratios = [values["medcodi"] / values[other] for other in ("xrv read", "xrv read + resize")]
                cells = [f"{values[way]:.2f}" for way in values] + [f"{ratio:.2f}" for ratio in ratios]
                lines.append("| " + " | ".join([f"{name}: {label}", *cells]) + " |")
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "prepare_speed.json").write_text(json.dumps(figures, indent=1))
    (arguments.output / "prepare_speed.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
