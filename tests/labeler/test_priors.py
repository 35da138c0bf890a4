"""Which words of a report speak of an earlier study."""

import pytest

from medcodi.labeler.priors import prior_mentions


@pytest.mark.parametrize(
    "report, words",
    [
        ("Compared with the prior radiograph, the effusion has increased.", 3),
        ("Unchanged small left effusion.", 1),
        ("Interval removal of the endotracheal tube.", 1),
        ("No significant change since the previous exam.", 2),
        ("Stable cardiomegaly.", 1),
        ("A new opacity in the left base.", 1),
        ("Persistent atelectasis, again seen at the base.", 2),
    ],
)
def test_mentions(report, words):
    assert len(prior_mentions(report)) == words


@pytest.mark.parametrize(
    "report",
    [
        "",
        "Heart size is normal. No pneumothorax.",
        "No prior studies are available.",
        "No comparison.",
        "Status post prior sternotomy, prior CABG.",
        "Renewed attention to the left base is advised.",
        "The patient is clinically stable.",
    ],
)
def test_no_mention(report):
    assert prior_mentions(report) == []
