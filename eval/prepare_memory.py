"""Does the memory of `medcodi prepare dicom` depend on the number of files?

    python eval/prepare_memory.py [--num-files 1000 4000 10000] [--num-workers 2]

Small DICOM files (64 x 64 pixels of 12 bits, two to a study), one process a count: largest resident set of the run itself,
which walks, keeps the books and writes, and of the largest of its workers. Last line of stdout: one JSON document.
"""

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from prepare_speed import dataset
from pydicom.uid import generate_uid

from medcodi.data.sources import get_source

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
        counts = get_source("dicom")(source, options, Path(scratch) / "prepared", num_workers=num_workers)
        seconds = time.perf_counter() - start
    if counts["images"] != num_files:
        raise RuntimeError(f"not every file was taken: {counts}")
    peaks = [resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    values = {"before_mib": before / 1024, "peak_mib": peaks[0], "worker_peak_mib": peaks[1], "seconds": seconds}
    return {"files": num_files, **values}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--num-files", type=int, nargs="+", default=[1000, 4000, 10000])
    parser.add_argument("--num-workers", type=int, default=2)
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    rows = []
    print("| files | MiB before | MiB at most | MiB at most, a worker | seconds |\n| --- | --- | --- | --- | --- |")
    for num_files in arguments.num_files:
        with ProcessPoolExecutor(1, context) as pool:
            row = pool.submit(measure, num_files, arguments.num_workers).result()
        rows.append(row)
        print("| " + " | ".join(f"{value:.0f}" for value in row.values()) + " |", flush=True)
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
