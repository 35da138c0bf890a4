"""Out and in again: a DICOM study that was written goes through the DICOM source to the same pixels and text."""

import numpy as np
import pytest

from medcodi.data.prepared import PreparedDataset
from tests.pipeline.studies import phantom_values, write_all

SIZE = 32


@pytest.mark.parametrize("name", ["dicom", "fhir"])
def test_written_studies_come_back(tmp_path, name):
    prepare = pytest.importorskip("medcodi.data.sources.dicom.prepare").prepare_dicom
    values = phantom_values(3, SIZE)
    values[1]["report"] = "Große Ergüsse beidseits. No pneumothorax.\nHeart size is normal."
    write_all(tmp_path / "dicom", name, values, SIZE)
    options = {"front": "frontal", "side": "lateral", "text": "report", "size": SIZE}
    counts = prepare(tmp_path / "dicom", options, tmp_path / "prepared", num_workers=1, validation=0.0, test=0.0)
    assert counts["studies"] == 3
    back = PreparedDataset.load(tmp_path / "prepared", "train")
    found = {study.values["report"]: study.values for study in back.batch(range(len(back)))}
    assert len(found) == 3
    for stored in values:
        again = found[stored["report"].strip()]
        for view in ("frontal", "lateral"):
            pixels = np.round(stored[view] * 4095)  # what 12 bits hold
            assert np.abs(again[view] - pixels / 4095).max() <= 1 / 65535
