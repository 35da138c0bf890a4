"""How many radiographs a second does `medcodi prepare dicom` read, beside pydicom +
torchxrayvision's own loading code?

    medcodi bench prepare_speed [--num-files 40] [--num-workers 2] [--size 256] [--rounds 5]
    [--folder DIR]

Files of 3,000 x 2,500 pixels, 16 bits allocated, uncompressed and JPEG 2000 lossless
(`--num-compressed` of them). All ways read the same files with the same number of processes, one
way after the other in each round, so that other load on the machine meets all of them; figures are
medians over the rounds. The clock of medcodi holds its whole run, the start of its workers, the
lists and the writing too; the other processes have started and imported before. The files lie in
`--folder` (a file system in memory leaves the disk out of it). Last line of stdout: one JSON
document.
"""

import argparse
import json
import multiprocessing
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import (
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    generate_uid,
)

from medcodi.bench.command import bench_parser, show
from medcodi.report.markdown import markdown_table
from medcodi.sources import get_source
from medcodi.sources.archive.options import DicomOptions
from medcodi.sources.archive.work import Job, read_one

ROWS, COLUMNS = 3000, 2500
NUM_PICTURES = 3  # different pixel data; the files differ in their identifiers
NUM_CPU_FILES = 10
CONTEXT = multiprocessing.get_context("spawn")
Rounds = list[dict[str, float]]
WAYS = MEDCODI, READ, RESIZE = "medcodi", "xrv read", "xrv read + resize"
ENCODINGS = {"uncompressed": None, "jpeg 2000": JPEG2000Lossless}


def picture(seed: int, bits: int) -> np.ndarray:
    """uint16 (ROWS, COLUMNS): smooth greys with the noise of a detector."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:ROWS, 0:COLUMNS].astype(np.float32)
    greys = (
        0.5 + 0.35 * np.sin(x / (300 + 40 * seed)) * np.cos(y / 400) + rng.normal(0, 0.005, x.shape)
    )
    return (greys.clip(0, 1) * (2**bits - 1)).astype(np.uint16)


def dataset(pixels: np.ndarray, bits: int) -> FileDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = (
        ExplicitVRLittleEndian,
        DigitalXRayImageStorageForPresentation,
    )
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID = DigitalXRayImageStorageForPresentation, generate_uid()
    ds.Modality, ds.BodyPartExamined, ds.ViewPosition, ds.BurnedInAnnotation = (
        "DX",
        "CHEST",
        "PA",
        "NO",
    )
    ds.PixelSpacing, ds.PhotometricInterpretation, ds.SamplesPerPixel = (
        [0.14, 0.14],
        "MONOCHROME2",
        1,
    )
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
        ds.StudyInstanceUID, ds.PatientID, ds.SOPInstanceUID = (
            generate_uid(),
            f"P{number}",
            generate_uid(),
        )
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
    """Seconds for the whole of `prepare dicom`: start of the workers, walk, read, resize, PNG,
    Arrow. Called in a process of its own, so that no server of processes runs already."""
    options = {"front": "frontal", "side": "lateral", "text": "report", "size": size}
    prepare = get_source("dicom")
    start = time.perf_counter()
    counts = prepare(folder, options, scratch / "prepared", num_workers=num_workers)
    seconds = time.perf_counter() - start
    if counts["images"] != counts["files"]:
        raise RuntimeError(f"not every file was taken: {counts}")
    return seconds


def cpu_seconds(source: Path, paths: list[Path], size: int) -> dict[str, float]:
    """Processor seconds for one image in one process, the median over `paths`, the ways in turn on
    each file."""
    job = Job(str(source), DicomOptions("frontal", "lateral", "report", size=size), b"k" * 16)
    ways = {
        MEDCODI: lambda path: read_one(job, path.name.encode()),
        READ: load_with_xrv,
        RESIZE: lambda path: load_and_resize_with_xrv(path, size),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for path in [paths[0], *paths[:NUM_CPU_FILES]]:  # the first one for the imports
        for name, way in ways.items():
            start = time.process_time()
            way(path)
            seconds[name].append(time.process_time() - start)
    return {name: statistics.median(values[1:]) for name, values in seconds.items()}


def time_pool(pool: ProcessPoolExecutor, function: Any, *arguments: Any) -> float:
    start = time.perf_counter()
    list(pool.map(function, *arguments))
    return time.perf_counter() - start


def measure(
    folder: Path, paths: list[Path], pool: ProcessPoolExecutor, arguments: argparse.Namespace
) -> Rounds:
    """Images a second of each way, one dict a round."""
    rounds = []
    for _ in range(arguments.rounds):
        with tempfile.TemporaryDirectory() as scratch, ProcessPoolExecutor(1, CONTEXT) as fresh:
            run = fresh.submit(
                time_medcodi, folder, arguments.size, arguments.num_workers, Path(scratch)
            )
            seconds = {MEDCODI: run.result()}
        seconds[READ] = time_pool(pool, load_with_xrv, paths)
        seconds[RESIZE] = time_pool(
            pool, load_and_resize_with_xrv, paths, [arguments.size] * len(paths)
        )
        rounds.append({name: len(paths) / value for name, value in seconds.items()})
        print(json.dumps(rounds[-1]), flush=True)
    return rounds


def row(label: str, rounds: Rounds) -> list[str]:
    """Medians of the ways, and of medcodi's ratios to the others in the same round, with the lowest
    and the highest."""
    cells = [f"{statistics.median(one[way] for one in rounds):.2f}" for way in WAYS]
    for other in (READ, RESIZE):
        ratios = [one[MEDCODI] / one[other] for one in rounds]
        spread = f" ({min(ratios):.2f} to {max(ratios):.2f})" if len(ratios) > 1 else ""
        cells.append(f"{statistics.median(ratios):.2f}{spread}")
    return [label, *cells]


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = bench_parser("prepare_speed", __doc__)
    parser.add_argument("--num-files", type=int, default=40)
    parser.add_argument("--num-compressed", type=int, default=12)
    parser.add_argument("--num-workers", type=int, default=2)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--bits-stored", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the files are made (and removed)")
    parser.add_argument("--output", type=Path, default=Path("results/prepare_speed"))
    return parser.parse_intermixed_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    arguments = parse(arguments)
    figures: dict[str, Any] = {
        "rows": ROWS,
        "columns": COLUMNS,
        "bits_stored": arguments.bits_stored,
        "num_files": arguments.num_files,
        "num_compressed": arguments.num_compressed,
        "num_workers": arguments.num_workers,
        "size": arguments.size,
        "pydicom": pydicom.__version__,
        "images_per_second": {},
        "cpu_seconds_per_image": {},
    }
    rows = []
    num_workers = arguments.num_workers
    with (
        tempfile.TemporaryDirectory(dir=arguments.folder) as folder,
        ProcessPoolExecutor(num_workers, CONTEXT) as pool,
    ):
        for name, syntax in ENCODINGS.items():
            source = Path(folder) / name
            source.mkdir()
            number = arguments.num_compressed if syntax else arguments.num_files
            if not number:
                continue
            paths = write_files(source, number, syntax, arguments.bits_stored)
            list(
                pool.map(
                    load_and_resize_with_xrv,
                    paths[:1] * arguments.num_workers,
                    [arguments.size] * arguments.num_workers,
                )
            )
            rounds = measure(source, paths, pool, arguments)
            seconds = cpu_seconds(source, paths, arguments.size)
            figures["images_per_second"][name], figures["cpu_seconds_per_image"][name] = (
                rounds,
                seconds,
            )
            rows.append(row(f"{name}: images a second, {num_workers} processes", rounds))
            rows.append(
                row(
                    f"{name}: images a processor second, 1 process",
                    [{way: 1 / seconds[way] for way in WAYS}],
                )
            )
            shutil.rmtree(source)
    shown = markdown_table(["files", *WAYS, f"over {READ}", f"over {RESIZE}"], rows)
    show(figures, shown + "\n", arguments.output, "prepare_speed")


if __name__ == "__main__":
    main()
