"""Findings by name: labels are read, and mean one name or none."""

import pytest

from medcodi.labeler import NEGATIVE, POSITIVE, UNCERTAIN
from medcodi.labeler.names import FindingNames, Label, is_said, read_labels, said_names

CHESTXRAY14 = ["Effusion", "Edema", "Nodule", "Mass", "Pleural_Thickening", "No_Finding"]
CHEXPERT = ["Pleural Effusion", "Edema", "Lung Lesion", "Cardiomegaly", "Support Devices"]


def label(text: str) -> Label:
    (found,) = read_labels(text)
    return found


def test_labels_stand_between_commas():
    assert read_labels("Edema, no  pleural effusion , possible nodule") == [
        Label("Edema", "Edema", POSITIVE),
        Label("no pleural effusion", "pleural effusion", NEGATIVE),
        Label("possible nodule", "nodule", UNCERTAIN),
    ]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "labels '': nothing stands between two commas"),
        ("Edema,,nodule", "nothing stands between two commas"),
        ("Edema, no edema", "'edema' is named twice"),
        (3, "labels must be a text such as 'Edema, no effusion', got int"),
    ],
)
def test_what_is_no_list_of_labels(text, match):
    with pytest.raises(ValueError, match=match):
        read_labels(text)


@pytest.mark.parametrize(
    ("names", "text", "found"),
    [
        (CHESTXRAY14, "edema", ("Edema", POSITIVE)),
        (CHESTXRAY14, "pleural effusion", ("Effusion", POSITIVE)),
        (CHESTXRAY14, "no pleural thickening", ("Pleural_Thickening", NEGATIVE)),
        (CHESTXRAY14, "lung nodules", ("Nodule", POSITIVE)),
        (CHESTXRAY14, "No Finding", ("No_Finding", POSITIVE)),
        (CHEXPERT, "without effusion", ("Pleural Effusion", NEGATIVE)),
        (CHEXPERT, "mass", ("Lung Lesion", POSITIVE)),
        (CHEXPERT, "possible enlarged heart", ("Cardiomegaly", UNCERTAIN)),
        (CHEXPERT, "pacemaker", ("Support Devices", POSITIVE)),
        (CHEXPERT, "large left effusion", None),  # a name says nothing of size and side
        (CHEXPERT, "edema and effusion", None),
        (CHEXPERT, "opacity", None),
        (["is_icu", "Edema"], "no is icu", ("is_icu", NEGATIVE)),
    ],
)
def test_a_label_means_one_name_or_none(names, text, found):
    assert FindingNames(names).find(label(text)) == found


def test_a_label_that_two_names_mean_is_none():
    both = FindingNames(["Pleural Effusion", "Pleural_Fluid", "Edema"])
    assert both.find(label("hydrothorax")) is None
    assert both.find(label("pleural fluid")) == ("Pleural_Fluid", POSITIVE)


def test_reports_say_what_a_shipped_vocabulary_reads():
    assert is_said(label("Small left effusion")) and is_said(label("no hernia"))
    assert not is_said(label("efusoin")) and not is_said(label("No Finding"))
    assert {"Pleural Effusion", "Hernia"} <= set(said_names())
    assert all(is_said(Label(name, name, POSITIVE)) for name in said_names())
