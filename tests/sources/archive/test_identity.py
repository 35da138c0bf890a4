"""Nothing that names the patient reaches the prepared folder."""

import stat

import pytest

from medcodi.sources.archive.identity import keyed_hash, load_key, without_identity
from tests.sources.dicom_files import image


def test_hashes_depend_on_key_purpose_and_value():
    hashes = {
        keyed_hash(key, purpose, value)
        for key in (b"k" * 16, b"l" * 16)
        for purpose in "ab"
        for value in "xy"
    }
    assert len(hashes) == 8 and all(len(one) == 32 for one in hashes)
    assert keyed_hash(b"k" * 16, "a", "x") == keyed_hash(b"k" * 16, "a", b"x")


def test_the_key_is_made_once_and_is_private(tmp_path, monkeypatch):
    monkeypatch.delenv("MEDCODI_PATIENT_KEY", raising=False)
    key = load_key(None, tmp_path / "private")
    assert key == load_key(None, tmp_path / "private") and len(key) == 64
    assert key != load_key(None, tmp_path / "other")
    assert stat.S_IMODE((tmp_path / "private" / "key").stat().st_mode) == 0o600


def test_a_key_file_comes_before_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDCODI_PATIENT_KEY", "e" * 20)
    (tmp_path / "mine").write_text("f" * 20 + "\n")
    assert load_key(tmp_path / "mine", tmp_path) == b"f" * 20
    assert load_key(None, tmp_path) == b"e" * 20 and not (tmp_path / "key").exists()


def test_bad_keys_are_refused(tmp_path):
    (tmp_path / "short").write_text("abc")
    with pytest.raises(ValueError, match="has 3 characters, expected at least 16"):
        load_key(tmp_path / "short", tmp_path)
    with pytest.raises(FileNotFoundError, match="key file"):
        load_key(tmp_path / "missing", tmp_path)


@pytest.mark.parametrize(
    "text, expected, removed",
    [
        ("Mrs. Abernathy was seen.", "Mrs. ___ was seen.", 1),
        ("ABERNATHY, QUINCY: no effusion", "___, ___: no effusion", 2),
        ("Born 03/07/1950 (1950-03-07).", "Born ___ (___).", 2),
        ("MRN MR-123/4.", "MRN ___.", 1),
        ("Read by Dr. Oyelaran.", "Read by Dr. ___.", 1),
        ("Abernathys law; no effusion.", "Abernathys law; no effusion.", 0),  # whole words only
        ("Small left effusion, 2 cm.", "Small left effusion, 2 cm.", 0),
    ],
)
def test_names_numbers_and_birth_dates_leave_the_text(text, expected, removed):
    ds = image(
        PatientName="Abernathy^Quincy^J",
        PatientBirthDate="19500307",
        patient="MR-123/4",
        PerformingPhysicianName="Oyelaran^T",
        AccessionNumber="77",
    )
    assert without_identity(text, ds) == (expected, removed)
