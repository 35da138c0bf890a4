"""`prepare dicom` from a folder tree to the prepared folder: grouping, reports, privacy, hostile
files, reruns."""

import csv
import io
import os
import sqlite3
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest

from medcodi.data.prepared import PreparedDataset
from medcodi.data.study import SPLITS
from medcodi.sources import get_source
from medcodi.sources.archive.archive import Archive
from medcodi.sources.archive.prepare import common_spacing
from tests.sources.dicom_files import image, ramp, report, save, text_item, uid
from tests.sources.dicom_tasks import misbehave

OPTIONS = {
    "front": "frontal",
    "side": "lateral",
    "text": "report",
    "size": 24,
    "max_file_mib": 4,
    "max_memory_gib": 1.0,
}
SECRETS = {
    "PatientName": "Abernathy^Quincy",
    "PatientBirthDate": "19500307",
    "AccessionNumber": "ACC-90210",
    "InstitutionName": "Mercywood",
    "SeriesDescription": "Zebedee PA",
    "StudyDescription": "Wisteria",
    "ReferringPhysicianName": "Oyelaran^T",
}


def prepare(source: Path, out: Path, **options):
    arguments = {
        name: options.pop(name)
        for name in ("overwrite", "private_dir", "key_file")
        if name in options
    }
    return get_source("dicom")(source, {**OPTIONS, **options}, out, num_workers=2, **arguments)


def studies(out: Path) -> list:
    return [study for split in SPLITS for study in PreparedDataset.load(out, split)]


def reasons(out: Path) -> dict[str, str]:
    """path -> reason, of the private list; the public one holds the same items and reasons."""
    private, public = (
        list(csv.DictReader((folder / "rejects.csv").read_text(encoding="utf-8").splitlines()))
        for folder in (out.with_name(f"{out.name}.private"), out)
    )
    assert [(r["item"], r["reason"]) for r in private] == [(r["item"], r["reason"]) for r in public]
    return {row["path"]: row["reason"] for row in private}


def accounted(counts: dict[str, int]) -> bool:
    return counts["files"] == counts["images"] + counts["reports"] + counts["rejected files"]


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """(source, prepared folder, counts) of a tree with good and bad files, one run."""
    root = tmp_path_factory.mktemp("archive")
    source = root / "Abernathy source"
    good(source)
    hostile(source / "bad")
    return source, root / "out", prepare(source, root / "out")


def good(source: Path) -> None:
    levels = np.arange(576, dtype=np.uint16).reshape(24, 24) * 7
    save(image(levels, "one", "MR-1", **SECRETS), source / "one" / "a.dcm")
    save(image(ramp(), "one", "MR-1", ViewPosition="LL"), source / "one" / "b.dcm")
    # the same view again: derived, so second, although its number is lower
    save(
        image(ramp(), "one", "MR-1", ImageType=["DERIVED", "PRIMARY"], SeriesNumber=-1),
        source / "one" / "0.dcm",
    )
    save(
        report(
            "No effusion for Abernathy.", "Heart is normal.", study="one", patient="MR-1", **SECRETS
        ),
        source / "sr",
    )
    (source / "one.txt").write_text("A text beside the folder of study one.")
    save(
        image(ramp(), "two", "MR-2", ViewPosition=None, PatientOrientation=["P", "F"]),
        source / "two" / "x",
    )
    (source / "two" / "note.txt").write_text("Text of study two.\r\nSecond line.")
    copied = image(ramp(), "two", "MR-2", SOPInstanceUID=uid("same"))
    save(copied, source / "two" / "y.dcm")
    save(copied, source / "two" / "z.dcm")
    save(image(ramp(), "two", "MR-9", PatientOrientation=["L", "F"]), source / "two" / "zz.dcm")
    save(image(ramp(), "three", "MR-1", ViewPosition="XX"), source / "three.dcm")


def hostile(folder: Path) -> None:
    folder.mkdir(parents=True)
    whole = save(image(ramp(), "bad"), folder / "tmp").read_bytes()
    (folder / "tmp").unlink()
    (folder / "cut.dcm").write_bytes(whole[:-100])
    (folder / "header.dcm").write_bytes(whole[:140])
    save(image(Rows=60000, Columns=60000), folder / "huge.dcm")
    (folder / "big.dcm").write_bytes(whole + bytes(5 << 20))
    raw = whole.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0")
    (folder / "syntax.dcm").write_bytes(raw)
    (folder / "unknown_syntax.dcm").write_bytes(
        whole.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.9.9.9\0")
    )
    (folder / "bomb.dcm").write_bytes(deflate_bomb())
    compressed = image(np.random.default_rng(0).integers(0, 4096, (32, 32)).astype(np.uint16))
    compressed.compress(pydicom.uid.JPEG2000Lossless)
    codestream = save(compressed, folder / "tmp").read_bytes()
    (folder / "tmp").unlink()
    size = codestream.index(b"\xff\x4f\xff\x51") + 8
    grown = codestream[:size] + (60000).to_bytes(4, "big") * 2 + codestream[size + 8 :]
    (folder / "codestream.dcm").write_bytes(grown)
    (folder / "deep.dcm").write_bytes(whole[: whole.index(b"\x08\x00\x16\x00UI")] + nested(3000))
    (folder / "archive.zip").write_bytes(b"PK\x03\x04" + bytes(200))
    (folder / "empty.dcm").write_bytes(b"")
    (folder / "..dcm").write_bytes(b"x" * 200)
    (folder / "lonely.txt").write_text("A text without a study.")
    os.mkfifo(folder / "pipe.dcm")
    (folder / "loop").symlink_to(folder)
    (folder / "out.dcm").symlink_to("../../../etc/passwd")
    (folder / os.fsdecode(b"bytes\xff.dcm")).write_bytes(whole[:200])


def deflate_bomb() -> bytes:
    ds = image()
    ds.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=False)
    start = buffer.getvalue().index(b"1.2.840.10008.1.2.1.99") + 22
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return buffer.getvalue()[:start] + squeezer.compress(bytes(64 << 20)) + squeezer.flush()


def nested(depth: int) -> bytes:
    """Explicit VR little endian: sequences of undefined length inside each other."""
    sequence = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    return sequence * depth


def test_images_and_reports_are_grouped_to_studies(archive):
    _, out, counts = archive
    found = {study.values["report"]: study for study in studies(out) if "report" in study.values}
    assert set(found) == {
        "No effusion for ___.\nHeart is normal.",
        "Text of study two.\nSecond line.",
    }
    one, two = (found[text] for text in sorted(found))
    assert set(one.values) == set(two.values) == {"frontal", "lateral", "report"}
    expected = np.arange(576).reshape(24, 24) * 7
    np.testing.assert_array_equal(np.round(one.values["frontal"] * 4095), expected)
    assert one.patient_id != two.patient_id and counts["studies"] == 2
    assert counts["images"] == 4 and counts["reports"] == 2 and counts["view unknown"] == 1
    assert (
        counts["view from PatientOrientation"] == 1 and counts["report with identity removed"] == 1
    )
    assert accounted(counts)


def test_one_image_in_two_studies_is_taken_once(tmp_path):
    """A file that was copied under another patient: the same patient would be in two splits."""
    for name in "ab":
        save(
            image(ramp(), name, name.upper(), SOPInstanceUID=uid("same")),
            tmp_path / "s" / f"{name}.dcm",
        )
    save(image(ramp(), "b", "B", ViewPosition="LL"), tmp_path / "s" / "side.dcm")
    save(image(ramp(), "c", "C"), tmp_path / "s" / "c.dcm")
    counts = prepare(tmp_path / "s", tmp_path / "out")
    assert counts["images"] == 3 and accounted(counts)
    assert list(reasons(tmp_path / "out").values()) == [
        "a copy of a file of another study: the same SOPInstanceUID"
    ]


def test_what_is_left_over_is_listed(archive):
    _, out, _ = archive
    listed = reasons(out)
    assert listed["one/0.dcm"] == "the study has another image of this view, which comes first"
    assert listed["one.txt"] == "the study has another report, which comes first"
    assert listed["two/z.dcm"] == "a copy of another file: the same SOPInstanceUID"
    assert listed["two/zz.dcm"] == "the study has files of another patient"
    assert listed["three.dcm"] == "the view is unknown: ViewPosition names neither view"


@pytest.mark.parametrize(
    "name, reason",
    [
        ("cut.dcm", "truncated"),
        ("header.dcm", "file meta information"),
        ("huge.dcm", "too large: 60000 x 60000"),
        ("big.dcm", "the limit is 4194304"),
        ("syntax.dcm", "wrong transfer syntax"),
        ("unknown_syntax.dcm", "the transfer syntax is not one of the standard"),
        ("bomb.dcm", "inflates to more than 4194304 bytes"),
        ("codestream.dcm", "cannot be decoded (JPEG 2000"),
        ("deep.dcm", "cannot be parsed"),
        ("archive.zip", "not a DICOM file"),
        ("empty.dcm", "not a DICOM file"),
        ("..dcm", "not a DICOM file"),
        ("lonely.txt", "a text beside the DICOM files of 2 studies"),
        ("pipe.dcm", "not a regular file"),
        ("loop", "a symbolic link is not followed"),
        ("out.dcm", "a symbolic link is not followed"),
        ("bytes\\udcff.dcm", "file meta information"),
    ],
)
def test_hostile_files_are_listed_with_their_reason(archive, name, reason):
    assert reason in reasons(archive[1])[f"bad/{name}"]


def test_nothing_that_identifies_reaches_the_prepared_folder(archive):
    source, out, _ = archive
    words = {
        word
        for value in SECRETS.values()
        for word in value.replace("^", " ").split()
        if len(word) > 2
    }
    words |= {
        "MR-1",
        "MR-2",
        uid("one"),
        uid("two"),
        uid("one series"),
        "three.dcm",
        str(source.resolve()),
    }
    for path in out.rglob("*"):
        content = path.read_bytes().lower()
        assert [word for word in words if word.lower().encode() in content] == [], path.name


def test_a_rerun_opens_new_and_changed_files_only(tmp_path):
    source, out = tmp_path / "source", tmp_path / "out"
    old = save(image(ramp(), "one"), source / "old.dcm")
    first = prepare(source, out)
    before = (out / "prepared.json").stat().st_mtime_ns
    assert prepare(source, out) == first  # nothing to do: nothing touched
    assert (out / "prepared.json").stat().st_mtime_ns == before

    status = old.stat()  # damaged, but it looks as before: it would be refused if it were opened
    old.write_bytes(b"x" * status.st_size)
    os.utime(old, ns=(status.st_atime_ns, status.st_mtime_ns))
    save(image(ramp(), "two", ViewPosition="LL"), source / "new.dcm")
    counts = prepare(source, out)
    assert counts["images"] == 2 and counts["rejected files"] == 0

    old.write_bytes(b"y" * 200)  # now it is seen to have changed
    assert reasons_after(source, out) == {
        "old.dcm": "not a DICOM file: no DICM prefix after the preamble"
    }
    old.unlink()
    assert reasons_after(source, out) == {}
    assert len(studies(out)) == 1


def reasons_after(source: Path, out: Path) -> dict[str, str]:
    prepare(source, out)
    return reasons(out)


def test_other_options_read_every_file_again_and_the_same_key_gives_the_same_patient(tmp_path):
    source, key = tmp_path / "source", tmp_path / "key"
    key.write_text("k" * 32)
    save(image(ramp(), "one"), source / "a.dcm")
    prepare(source, tmp_path / "out", key_file=key)
    first = studies(tmp_path / "out")[0]
    prepare(source, tmp_path / "out", key_file=key, size=16)
    second = studies(tmp_path / "out")[0]
    assert first.values["frontal"].shape == (24, 24) and second.values["frontal"].shape == (16, 16)
    assert (first.study_id, first.patient_id) == (second.study_id, second.patient_id)
    prepare(source, tmp_path / "other")
    assert studies(tmp_path / "other")[0].patient_id != first.patient_id


def test_folders_of_others_are_not_overwritten(tmp_path):
    source = tmp_path / "source"
    save(image(), source / "a.dcm")
    (tmp_path / "out").mkdir()
    with pytest.raises(ValueError, match="was not written from this private folder"):
        prepare(source, tmp_path / "out")
    assert prepare(source, tmp_path / "out", overwrite=True)["images"] == 1
    with pytest.raises(ValueError, match="the prepared folder lies inside the source"):
        prepare(source, source / "out")
    with pytest.raises(ValueError, match="the private folder lies inside the prepared folder"):
        prepare(source, tmp_path / "out", private_dir=tmp_path / "out" / "p")
    with pytest.raises(FileNotFoundError, match="source folder"):
        prepare(tmp_path / "none", tmp_path / "out2")


def test_sections_of_a_structured_report(tmp_path):
    ds = report(text_item("What is seen.", "Findings"), text_item("What it means.", "Impression"))
    save(ds, tmp_path / "source" / "a.dcm")
    prepare(tmp_path / "source", tmp_path / "out", sections=["impression"])
    assert [study.values for study in studies(tmp_path / "out")] == [{"report": "What it means."}]


def test_a_file_that_took_too_long_or_ended_its_worker_is_read_again_by_the_next_run(
    tmp_path, monkeypatch
):
    for number, name in enumerate(("hang", "crash")):
        save(image(study=f"{number}"), tmp_path / "s" / name)
    with monkeypatch.context() as slow:
        slow.setattr(Archive, "task", staticmethod(misbehave))
        assert prepare(tmp_path / "s", tmp_path / "out", timeout=0.5)["rejected files"] == 2
    assert reasons(tmp_path / "out") == {
        "hang": "not done after 0.5 s",
        "crash": "a decoder crashed",
    }
    assert prepare(tmp_path / "s", tmp_path / "out")["images"] == 2


def test_the_common_spacing_is_the_most_frequent_one():
    assert common_spacing({(0.2, 0.2): 3, (0.1, 0.1): 5, None: 9}) == (0.1, 0.1)
    assert common_spacing({(0.2, 0.2): 3, (0.1, 0.1): 3}) == (0.1, 0.1)
    assert common_spacing({None: 9}) is None


def test_images_are_resampled_to_the_aspect_of_the_common_spacing(tmp_path):
    """Three images with pixels twice as high as wide are the rule: they keep their shape, the
    fourth is squeezed."""
    for number in range(3):
        save(
            image(np.full((24, 24), 4095, np.uint16), f"{number}", PixelSpacing=[0.2, 0.1]),
            tmp_path / f"s/{number}.dcm",
        )
    save(
        image(np.full((24, 24), 4095, np.uint16), "square", PixelSpacing=[0.1, 0.1]),
        tmp_path / "s/3.dcm",
    )
    prepare(tmp_path / "s", tmp_path / "out", suspects="accept")
    white_rows = sorted(
        (study.values["frontal"] > 0.5).all(axis=1).sum() for study in studies(tmp_path / "out")
    )
    assert white_rows == [12, 24, 24, 24]


@pytest.mark.slow
def test_a_kill_loses_the_files_in_flight_only_and_leaves_no_process(tmp_path):
    source, out, state = (
        tmp_path / "source",
        tmp_path / "out",
        tmp_path / "out.private" / "state.sqlite",
    )
    for number in range(300):
        save(image(ramp(700, 700), f"{number}"), source / f"{number}.dcm")
    command = [
        sys.executable,
        "-m",
        "medcodi.cli.app",
        "prepare",
        "dicom",
        source,
        "--output",
        out,
        "--size",
        "24",
    ]
    running = subprocess.Popen([*map(str, command), "--num-workers", "2"], start_new_session=True)
    while len(rows(state)) < 20:
        assert running.poll() is None
        time.sleep(0.02)
    running.kill()
    running.wait()
    before = rows(state)
    assert 20 <= len(before) < 300 and not out.exists()
    for _ in range(300):  # the workers see that they are alone
        if not alive(running.pid):
            break
        time.sleep(0.1)
    assert not alive(running.pid)
    assert subprocess.run([*map(str, command)], check=False).returncode == 0
    after = rows(state)
    assert (
        len(after) == 300 and {path: after[path] for path in before} == before
    )  # no finished file was read again
    assert len(studies(out)) == 300


def rows(state: Path) -> dict[bytes, int]:
    """path -> number of the row; a row that is written again gets another number."""
    if not state.exists():
        return {}
    with sqlite3.connect(f"file:{state}?mode=ro", uri=True) as db:
        try:
            return dict(db.execute("select path, rowid from files"))
        except sqlite3.OperationalError:  # the tables are being made
            return {}


def alive(session: int) -> bool:
    """Whether a process of the session is left."""
    try:
        os.killpg(session, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_memory_is_flat_over_10000_files(tmp_path):
    for number in range(10_000):
        folder = "few" if number < 1000 else "many"
        save(
            image(ramp(), f"{number}", f"{number // 3}"),
            tmp_path / folder / f"{number % 100}" / f"{number}.dcm",
        )
    grown = []
    for folder in ("few", "many"):
        before = resident()
        assert prepare(tmp_path / folder, tmp_path / f"{folder} out")["rejected files"] == 0
        grown.append(resident() - before)
    assert grown[1] < 64 << 20, grown


def resident() -> int:
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
