"""`medcodi generate` for many studies: killed and repeated, in other batches, in shards, on a disk
that is full."""

import json
import os
import resource
import signal

import numpy as np
import pytest
from PIL import Image

import medcodi.generation.run
from medcodi.generation.request import Request, parse_shard
from medcodi.generation.run import generate_to_folder
from tests.forked import Forked

NUM, BATCH = 10, 3


def request(tiny_run, output, **changes):
    settings = {
        "prompts": ["report=Large left effusion."],
        "num_samples": NUM,
        "batch_size": BATCH,
        "seed": 3,
        "num_inference_steps": 2,
        "outputs": ["frontal", "tabular"],
    }
    return Request(tiny_run.run_dir / "pipeline", output, **(settings | changes))


@pytest.fixture(scope="module")
def whole(tiny_run, tmp_path_factory):
    """Folder and manifest of a run that nothing stopped."""
    folder = tmp_path_factory.mktemp("whole") / "out"
    return folder, generate_to_folder(request(tiny_run, folder))


def hashes(manifest):
    return {
        (s["id"], name): file["sha256"]
        for s in manifest["samples"]
        for name, file in s["files"].items()
    }


def assert_complete(folder, manifest):
    """Every file of the manifest once, and no other file."""
    listed = [file["path"] for sample in manifest["samples"] for file in sample["files"].values()]
    assert len(set(listed)) == len(listed)
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found == {*listed, "manifest.json"}
    assert [sample["id"] for sample in manifest["samples"]] == [
        f"sample_{i:05d}" for i in range(NUM)
    ]


def test_killed_and_repeated(tiny_run, whole, tmp_path):
    """A process, killed with SIGKILL in the middle; then the same run to the end."""
    folder = tmp_path / "out"
    call = [
        "generate",
        "--pipeline",
        tiny_run.run_dir / "pipeline",
        "--output",
        folder,
        "--prompt",
        "report=Large left effusion.",
        "--outputs",
        "frontal,tabular",
        "--num-samples",
        str(NUM),
        "--batch-size",
        str(BATCH),
        "--seed",
        "3",
        "--num-inference-steps",
        "2",
    ]
    ledger = folder / "progress_0_of_1.jsonl"
    process = Forked(call, tmp_path / "log")
    process.wait(until=lambda: ledger.exists() and len(ledger.read_bytes().splitlines()) >= 3)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, process.said()
    assert not (folder / "manifest.json").exists()
    finished = {e["id"] for line in ledger.read_text().splitlines()[1:] if (e := _parsed(line))}
    assert len(finished) >= 2
    kept = {
        path: path.stat().st_mtime_ns
        for path in folder.glob("sample_*")
        if path.name[:12] in finished
    }
    manifest = generate_to_folder(request(tiny_run, folder))
    assert_complete(folder, manifest)
    assert hashes(manifest) == hashes(whole[1])
    assert {
        path: path.stat().st_mtime_ns for path in kept
    } == kept  # what was finished was not made again


def _parsed(line):
    try:
        return json.loads(line)
    except ValueError:
        return None


def test_killed_anywhere(tiny_run, whole, tmp_path, monkeypatch):
    """The process ends (without any clean-up) at each call that changes the folder, one after the
    other; every repeat loses at most the study in flight."""
    folder, last, repeats = tmp_path / "out", 0, 0
    while repeats < 40 and not (folder / "manifest.json").exists():
        repeats += 1
        child = os.fork()
        if child == 0:
            _end_after(4, monkeypatch)
            try:
                generate_to_folder(request(tiny_run, folder))
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        ledger = folder / "progress_0_of_1.jsonl"
        done = len(ledger.read_bytes().splitlines()) - 1 if ledger.exists() else last
        assert done >= last
        last = done
    assert repeats > 5
    manifest = json.loads((folder / "manifest.json").read_text())
    assert_complete(folder, manifest)
    assert hashes(manifest) == hashes(whole[1])


def _end_after(calls, monkeypatch):
    """End this process at the `calls`-th move of a file or line of the ledger."""
    left = [calls]
    move, write = os.replace, medcodi.generation.run.Ledger._write

    def ending(function):
        def called(*args):
            left[0] -= 1
            if left[0] <= 0:
                os._exit(9)
            return function(*args)

        return called

    monkeypatch.setattr(os, "replace", ending(move))
    monkeypatch.setattr(medcodi.generation.run.Ledger, "_write", ending(write))


def test_repeating_a_finished_run_changes_nothing(tiny_run, whole):
    folder, manifest = whole
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert generate_to_folder(request(tiny_run, folder)) == manifest
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    for change in (
        {"seed": 4},
        {"num_samples": 11},
        {"format": "dicom"},
        {"prompts": ["report=Normal."]},
    ):
        with pytest.raises(ValueError, match=r"already holds a manifest.json of another run"):
            generate_to_folder(request(tiny_run, folder, **change))


@pytest.mark.parametrize("batch_size", [1, 4, NUM])
def test_independent_of_the_batch_size(tiny_run, whole, tmp_path, batch_size):
    """Equal up to the rounding of sums in another order: at most one grey level of 255."""
    folder, manifest = whole
    other = generate_to_folder(request(tiny_run, tmp_path / "out", batch_size=batch_size))
    assert [s["seed"] for s in other["samples"]] == [s["seed"] for s in manifest["samples"]]
    for sample in manifest["samples"]:
        grey, again = (
            np.asarray(Image.open(f / sample["files"]["frontal"]["path"]), int)
            for f in (folder, tmp_path / "out")
        )
        assert np.abs(grey - again).max() <= 1


def test_shards_make_one_manifest(tiny_run, whole, tmp_path):
    folder = tmp_path / "out"
    assert generate_to_folder(request(tiny_run, folder, shard=(1, 2), batch_size=1)) is None
    assert not (folder / "manifest.json").exists()
    manifest = generate_to_folder(request(tiny_run, folder, shard=(0, 2), batch_size=1))
    assert_complete(folder, manifest)
    assert [s["seed"] for s in manifest["samples"]] == [s["seed"] for s in whole[1]["samples"]]


def test_a_shard_without_studies_leaves_the_manifest_to_the_others(tiny_run, tmp_path):
    """More processes than batches."""
    one = {"num_samples": 1, "outputs": ["tabular"]}
    assert generate_to_folder(request(tiny_run, tmp_path / "out", shard=(0, 2), **one)) is None
    manifest = generate_to_folder(request(tiny_run, tmp_path / "out", shard=(1, 2), **one))
    assert len(manifest["samples"]) == 1


def test_large_runs_are_spread_over_folders(tiny_run, tmp_path, monkeypatch):
    monkeypatch.setattr(medcodi.generation.run, "STUDIES_A_FOLDER", 4)
    manifest = generate_to_folder(request(tiny_run, tmp_path / "out"))
    assert_complete(tmp_path / "out", manifest)
    paths = [sample["files"]["frontal"]["path"] for sample in manifest["samples"]]
    assert (
        paths[0] == "part_00000/sample_00000_frontal.png"
        and paths[9] == "part_00002/sample_00009_frontal.png"
    )


def test_a_disk_that_takes_no_more(tiny_run, whole, tmp_path):
    """Files may not grow over 2,500 bytes: the ledger hits it after some studies. Then there is
    room again."""
    folder, limits = tmp_path / "out", resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2500, limits[1]))
    try:
        with pytest.raises(
            RuntimeError,
            match=r"out cannot be written to: File too large. What is finished is safe",
        ):
            generate_to_folder(request(tiny_run, folder))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert len((folder / "progress_0_of_1.jsonl").read_bytes().splitlines()) > 2
    manifest = generate_to_folder(request(tiny_run, folder))
    assert_complete(folder, manifest)
    assert hashes(manifest) == hashes(whole[1])


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"format": "dicm"}, "unknown key 'dicm' in the formats of generate; did you mean 'dicom'"),
        ({"num_samples": 0}, "num_samples must be at least 1, got 0"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"shard": (2, 2)}, r"shard must read K/N with 0 <= K < N, got 2/2"),
        ({"pixel_spacing": -1.0}, "pixel_spacing must lie between 0 and 100 mm"),
        ({"pixel_spacing": 0.2}, "goes into DICOM files: the format 'png' has none"),
        ({"split": "train"}, "split chooses among studies: name their prepared folder too"),
        (
            {"format": "imagefolder", "outputs": ["tabular"]},
            "needs an output that is a picture, got tabular",
        ),
        ({"format": "dicom-dx"}, "give --pixel-spacing in mm"),
    ],
)
def test_errors_leave_no_folder(tiny_run, tmp_path, change, match):
    with pytest.raises(ValueError, match=match):
        generate_to_folder(request(tiny_run, tmp_path / "out", **change))
    assert not (tmp_path / "out").exists()


def test_shard_texts():
    assert parse_shard("1/4") == (1, 4)
    for text in ("1", "a/b", "-1/2", "1/"):
        with pytest.raises(ValueError, match="shard must read K/N"):
            parse_shard(text)


def test_a_format_names_its_extra(monkeypatch):
    from medcodi.generation import formats

    monkeypatch.setitem(
        formats.FORMATS, "dicom", ("dicom:DicomFormat", ("a_package_that_is_not_there", "dicom"))
    )
    with pytest.raises(
        ValueError,
        match=r"needs the package 'a_package_that_is_not_there': pip install 'medcodi\[dicom\]'",
    ):
        formats.get_format("dicom")
    monkeypatch.setitem(
        formats.FORMATS, "fhir", ("fhir:FhirFormat", ("not_there.resources", "fhir"))
    )
    with pytest.raises(ValueError, match=r"pip install 'medcodi\[fhir\]'"):
        formats.get_format("fhir")
