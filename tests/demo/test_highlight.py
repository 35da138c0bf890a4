"""Findings are marked where they stand in the report."""

import pytest

from medcodi.demo.highlight import findings, highlighted
from medcodi.labeler import Labeler


@pytest.fixture(scope="module")
def labeler():
    return Labeler.from_vocabulary("chexpert")


def test_pieces_join_to_the_report_and_name_findings(labeler):
    report = "Small left pleural effusion.  No pneumothorax; possible EDEMA."
    pieces = highlighted(report, labeler)
    assert "".join(text for text, _ in pieces) == report
    marked = {label: text for text, label in pieces if label}
    assert marked["Pleural Effusion: present"].lower().endswith("effusion")
    assert marked["Pneumothorax: absent"] == "pneumothorax"
    assert marked["Edema: uncertain"] == "EDEMA"
    assert ["Pneumothorax", "absent"] in findings(report, labeler)


@pytest.mark.parametrize("report", ["", "The patient is here.", "..."])
def test_a_report_without_findings_is_one_piece(labeler, report):
    assert [text for text, label in highlighted(report, labeler) if not label] == (
        [report] if report else []
    )
