"""Does the memory of `medcodi prepare dicom` depend on the number of files?

    medcodi bench prepare_memory [--num-files 1000,4000,10000] [--num-workers 2] [--mimic 377110]
    [--folder DIR]

Small DICOM files (64 x 64 pixels of 12 bits, two to a study), one process a count: largest resident
set of the run itself, which walks, keeps the books and writes, and of the largest of its workers.
With --mimic instead what `prepare mimic_cxr` holds of as many images (empty files, with reports and
metadata, in about the proportions of MIMIC-CXR) when all of them are selected. Last line of stdout:
one JSON document.
"""

import csv
import gzip
import hashlib
import json
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.uid import generate_uid

from medcodi.bench.command import bench_parser, listed, show
from medcodi.bench.commands.prepare_speed import dataset
from medcodi.report.markdown import markdown_table
from medcodi.sources import get_source

SIDE, BITS, FILES_A_FOLDER = 64, 12, 500


def write_files(folder: Path, num_files: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 2**BITS, (SIDE, SIDE)).astype(np.uint16)
    ds = dataset(pixels, BITS)
    for number in range(num_files):
        if number % 2 == 0:
            ds.StudyInstanceUID, ds.PatientID = generate_uid(), f"P{number}"
        ds.ViewPosition, ds.SOPInstanceUID = ("PA", "LL")[number % 2], generate_uid()
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        path = folder / f"{number // FILES_A_FOLDER:05d}" / f"{number:06d}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        ds.save_as(path, enforce_file_format=True)


def measure(num_files: int, num_workers: int) -> dict[str, Any]:
    """Runs in a process of its own, so that its largest resident set is that of one run."""
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "source"
        write_files(source, num_files)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        options = {"front": "frontal", "side": "lateral", "text": "report", "size": SIDE}
        start = time.perf_counter()
        counts = get_source("dicom")(
            source, options, Path(scratch) / "prepared", num_workers=num_workers
        )
        seconds = time.perf_counter() - start
    if counts["images"] != num_files:
        raise RuntimeError(f"not every file was taken: {counts}")
    peaks = [
        resource.getrusage(who).ru_maxrss / 1024
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    ]
    values = {
        "before_mib": before / 1024,
        "peak_mib": peaks[0],
        "worker_peak_mib": peaks[1],
        "seconds": seconds,
    }
    return {"files": num_files, **values}


def write_mimic_tree(root: Path, num_images: int) -> None:
    """files/pXX/... of empty images, a report of 600 characters a study, and the metadata."""
    rng, made, number = np.random.default_rng(0), 0, 0
    sentences = [
        "No focal consolidation is seen in either of the two lungs. " * 6,
        "No acute cardiopulmonary process. " * 5,
    ]
    with gzip.open(
        root / "mimic-cxr-2.0.0-metadata.csv.gz", "wt", newline="", compresslevel=1
    ) as file:
        rows = csv.writer(file)
        rows.writerow(
            ["dicom_id", "subject_id", "study_id", "ViewPosition", "ViewCodeSequence_CodeMeaning"]
        )
        while made < num_images:
            patient = f"1{made:07d}"
            for _ in range(rng.integers(1, 7)):
                study, number = f"5{number:07d}", number + 1
                folder = root / "files" / f"p{patient[:2]}" / f"p{patient}" / f"s{study}"
                folder.mkdir(parents=True)
                folder.with_suffix(".txt").write_text(
                    f" FINDINGS: {number} {sentences[0]}\n IMPRESSION: {number} {sentences[1]}\n"
                )
                for view in ("PA", "LATERAL", "AP")[: rng.choice([1, 2, 3], p=[0.45, 0.45, 0.1])]:
                    name = hashlib.sha1(f"{study} {view}".encode()).hexdigest()
                    name = "-".join(name[start : start + 8] for start in range(0, 40, 8))
                    (folder / f"{name}.dcm").touch()
                    rows.writerow([name, patient, study, view, ""])
                    made += 1


def measure_mimic(num_images: int, folder: Path | None) -> dict[str, Any]:
    """Runs in a process of its own, as `measure`."""
    from medcodi.sources.mimic_cxr.prepare import MimicArchive, MimicOptions

    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        write_mimic_tree(Path(scratch), num_images)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.perf_counter()
        options = MimicOptions("frontal", "lateral", "report", select="any")
        archive = MimicArchive(Path(scratch), Path(scratch), options, b"k" * 16)
        job, num_entries = archive.job(1.0), sum(1 for _ in archive.entries())
        seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    counts = archive.selection.counts
    return {
        "images": len(job.hints),
        "studies": counts["studies"],
        "entries": num_entries,
        "before_mib": before / 1024,
        "peak_mib": peak / 1024,
        "seconds": seconds,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = bench_parser("prepare_memory", __doc__)
    parser.add_argument("--num-files", type=listed(int), default=[1000, 4000, 10000])
    parser.add_argument("--num-workers", type=int, default=2)
    parser.add_argument("--mimic", type=int, help="images of a simulated release, instead of files")
    parser.add_argument(
        "--folder", type=Path, help="where the simulated release is made (and removed)"
    )
    arguments = parser.parse_intermixed_args(arguments)
    context = multiprocessing.get_context("spawn")
    if arguments.mimic:
        with ProcessPoolExecutor(1, context) as pool:
            print(
                json.dumps(pool.submit(measure_mimic, arguments.mimic, arguments.folder).result())
            )
        return
    rows = []
    for num_files in arguments.num_files:
        with ProcessPoolExecutor(1, context) as pool:
            row = pool.submit(measure, num_files, arguments.num_workers).result()
        rows.append(row)
        print(json.dumps(row), flush=True)
    head = ["files", "MiB before", "MiB at most", "MiB at most, a worker", "seconds"]
    cells = [[f"{value:.0f}" for value in row.values()] for row in rows]
    show(rows, markdown_table(head, cells) + "\n")


if __name__ == "__main__":
    main()
