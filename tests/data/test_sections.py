"""The one section reader: headings, content, pointing sections, whole reports."""

import pytest

from medcodi.data.headings import heading_kind
from medcodi.data.sections import (
    COMPARES,
    ReportText,
    count_sections,
    has_content,
    points_elsewhere,
    read_report,
    split_sections,
)

DEFAULT = ("impression", "conclusion", "last paragraph")

BODY = " FINDINGS:\n\n Heart size: normal.\n Lungs: clear.\n\n{}"
LINE = "_" * 70


@pytest.mark.parametrize(
    ("report", "text", "section"),
    [
        (
            BODY.format(" IMPRESSION:\n\n 1.  One\n thing.\n 2.  Dr. ___.\n"),
            "1. One thing. 2. Dr. ___.",
            "impression",
        ),
        (
            BODY.format(" IMPRESSION:  A.\n\n NOTIFICATION:  By telephone at 3:15 PM.\n"),
            "A.",
            "impression",
        ),
        (BODY.format(" IMPRESSION:  A.\n\n RECOMMENDATION(S):  B.\n"), "A.", "impression"),
        (BODY.format(" Impression: A at 3:15 PM.\n"), "A at 3:15 PM.", "impression"),
        (BODY.format(" IMPRESSSION: A.\n"), "A.", "impression"),
        (BODY.format(" CONCLUSION: A.\n"), "A.", "conclusion"),
        (BODY.format(" CONCLUSIONS: A.\n IMPRESSION: B.\n"), "B.", "impression"),
        (BODY.format(" IMPRESSION: A.\n IMPRESSION: B.\n"), "B.", "impression"),
        (BODY.format(" IMPRESSION: A.\n\n IMPRESSION:\n"), "A.", "impression"),
        (" FINDINGS AND IMPRESSION:  A.\n", "A.", "impression"),
        (
            f" FINAL ADDENDUM\n ADDENDUM: Left is right.\n{LINE}\n FINAL REPORT\n IMPRESSION: A.\n",
            "A.",
            "impression",
        ),
        (
            f" FINAL ADDENDUM\n REVISED IMPRESSION: B.\n{LINE}\n FINAL REPORT\n IMPRESSION: A.\n",
            "B.",
            "impression",
        ),
        (
            f" WET READ: ___ ___ 8:15 PM\n  Nothing.\n{LINE}\n FINAL REPORT\n IMPRESSION: A.\n",
            "A.",
            "impression",
        ),
        (BODY.format(" IMPRESSION\n\n A.\n"), "A.", "impression"),
        (BODY.format(" Impression\n A.\n"), "A.", "impression"),
        (BODY.format(" CONCLUSION -  A.\n"), "A.", "conclusion"),
        (BODY.format(" IMPRESSION.  A.\n"), "A.", "impression"),
        (
            f"PROVISIONAL FINDINGS IMPRESSION (PFI): B.\n{LINE}\n FINAL REPORT\n IMPRESSION: A.\n",
            "A.",
            "impression",
        ),
        (
            " FINAL REPORT\n CHEST, TWO VIEWS\n\n HISTORY: A.\n\n Big.\n\n No\n mass.\n",
            "No mass.",
            "last paragraph",
        ),
        ("Big heart.\r\n\r\nNo pneumonia.\r\n", "No pneumonia.", "last paragraph"),
    ],
)
def test_impressions(report, text, section):
    found = read_report(report).choose(DEFAULT)
    assert (found.text, found.section) == (text, section)


@pytest.mark.parametrize(
    "report",
    [
        "",
        " \n\n ",
        BODY.format(""),
        " WET READ: A.\n",
        "FINAL REPORT\n\n EXAMINATION: CHEST\n",
        f"PROVISIONAL FINDINGS IMPRESSION (PFI): A.\n{LINE}\n FINAL REPORT\n FINDINGS: B.\n",
    ],
)
def test_reports_without_an_impression(report):
    found = read_report(report).choose(DEFAULT)
    assert (found.text, found.section) == ("", "")


def test_findings_when_asked_for():
    assert read_report(BODY.format("")).choose().text == "Heart size: normal. Lungs: clear."
    assert (
        read_report(BODY.format(" IMPRESSION: A.")).choose(("findings", "impression")).section
        == "findings"
    )


def test_long_lines_take_no_time():
    """Headings and paragraphs over a hostile text: linear, far below the limit of a test."""
    text = "A" * 500_000 + " \n" * 100_000 + "IMPRESSION: B. " + "IMPRESSION " * 20_000
    assert read_report(text).choose().text.startswith("B.")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  \n",
        ".",
        "...",
        "___",
        "XXXX XXXX.",
        "xxxx",
        "None.",
        "none",
        "N/A",
        "NA",
        "nil",
        "null",
        "NaN",
        "-",
        "1.",
        "1. 2.",
        "?",
        "[** name **]",
        "[REDACTED]",
        "<removed>",
        "Not available.",
        "No report.",
        "Not reported.",
        "Report to follow.",
        "Dictation pending.",
        "To be dictated.",
        "Chest, PA and lateral views.",
        "PORTABLE CHEST",
        "Exam cancelled.",
        "as above",
        "As above.",
        "See findings.",
        "See above.",
        "As described above.",
        "Please see the findings section.",
        "Same.",
        "Per findings.",
        "Refer to the body of the report.",
        "Electronically signed by Jane Doe",
        "Stable.",
        "Unchanged from the prior examination.",
        "No significant interval change.",
        "Please see separate CT report.",
        "Nondiagnostic study.",
        "Wet read pending",
    ],
)
def test_texts_without_content(text):
    assert not has_content(text)
    assert not has_content(text.upper()) and not has_content(f" {text}\n")


@pytest.mark.parametrize(
    "text",
    [
        "Normal.",
        "Clear.",
        "No acute disease.",
        "Negative.",
        "Stable small effusion.",
        "Normal chest, unchanged.",
        "No effusion.",
        "Big heart.",
        "XXXX is clear.",
        "As above, with edema.",
        "None of the lines has moved.",
        "Unremarkable.",
    ],
)
def test_texts_with_content(text):
    assert has_content(text) and has_content(text.upper()) and not points_elsewhere(text)


FINDINGS = "Small left effusion."


@pytest.mark.parametrize(
    "impression",
    [
        "___",
        "",
        "XXXX.",
        "None.",
        ".",
        "As above.",
        "See findings.",
        "N/A",
        "Same.",
        "Unchanged.",
        "No interval change.",
    ],
)
@pytest.mark.parametrize("form", ["FINDINGS: {}\nIMPRESSION: {}", "Findings: {} Impression: {}"])
def test_an_impression_that_says_nothing_gives_the_findings(impression, form):
    report = read_report(form.format(FINDINGS, impression))
    assert report.choose(("impression", "findings")).text == FINDINGS
    default = report.choose(DEFAULT)
    if points_elsewhere(impression):
        assert (default.text, default.section) == (FINDINGS, "findings")
        assert default.notes == ("impression that points to the findings",)
    else:
        assert default == ReportText("", "", ("impression without content",))


def kinds(report):
    return [(section.kind, " ".join(section.text.split())) for section in split_sections(report)]


@pytest.mark.parametrize(
    "report, expected",
    [
        (
            "Findings: None. Impression: 1. SMALL\nEFFUSION.",
            [("findings", "None."), ("impression", "1. SMALL EFFUSION.")],
        ),
        (
            "EXAM: CHEST HISTORY: Cough FINDINGS: A IMPRESSION: B",
            [
                ("technique", "CHEST"),
                ("indication", "Cough"),
                ("findings", "A"),
                ("impression", "B"),
            ],
        ),
        (
            "NARRATIVE: A. SUMMARY: B. END OF IMPRESSION: C",
            [("findings", "A."), ("conclusion", "B."), ("other", "C")],
        ),
        ("**Findings:** A.\n\n**Impression:** B.", [("findings", "A."), ("impression", "B.")]),
        ("# Findings: A\n# Impression: B", [("findings", "A"), ("impression", "B")]),
        (
            "INDICATION: Cough. Rule out pneumonia. A.",
            [("indication", "Cough. Rule out pneumonia."), ("", "A.")],
        ),
        ("Comparison: none. A.\n\nB.", [("comparison", "none."), ("", "A. B.")]),
        ("HISTORY:\n\nCough.\n\nA.", [("indication", "Cough."), ("", "A.")]),
        (
            "TECHNIQUE: AP.\nLUNGS: A.\nHEART: B.",
            [("technique", "AP."), ("findings", "LUNGS: A. HEART: B.")],
        ),
        (
            "FINDINGS:\nLungs: A.\nPNEUMOTHORAX: NONE.\nIMPRESSION: B.",
            [("findings", "Lungs: A. PNEUMOTHORAX: NONE."), ("impression", "B.")],
        ),
        (
            "FINDINGS: SMALL\nEFFUSION. IMPRESSION: B",
            [("findings", "SMALL EFFUSION."), ("impression", "B")],
        ),
        ("findings: a. impression: b.", [("findings", "a."), ("impression", "b.")]),
        ("No heading at all.", [("", "No heading at all.")]),
        ("findings\na.\n\nimpression\nb.", [("findings", "a."), ("impression", "b.")]),
        ("Findings; a. Impression = b.", [("findings", "a."), ("impression", "b.")]),
        ("FINDINGS The A. IMPRESSION No B.", [("findings", "The A."), ("impression", "No B.")]),
        ("FINDINGS \u2013A.\nOPINION \u2013B.", [("findings", "A."), ("conclusion", "B.")]),
        ("[FINDINGS] A.\n[IMPRESSION] B.", [("findings", "A."), ("impression", "B.")]),
        ("1. FINDINGS: A.\n2. IMPRESSION: B.", [("findings", "A."), ("impression", "B.")]),
        ("REPORT: A.\n\nCOMMENT: B.", [("findings", "A."), ("conclusion", "B.")]),
        ("Opinion\nA.", [("conclusion", "A.")]),
        ("Dx: cough. Findings: A.", [("indication", "cough."), ("findings", "A.")]),
        ("Findings: A.\nDiagnosis: B.", [("findings", "A."), ("conclusion", "B.")]),
        ("Reason for exam - A. Findings - B.", [("indication", "A."), ("findings", "B.")]),
        ("IMP: A. Differential diagnosis: B.", [("impression", "A. Differential diagnosis: B.")]),
        ("Clear lungs\nfindings\nare normal.", [("", "Clear lungs findings are normal.")]),
    ],
)
def test_sections_wherever_their_headings_stand(report, expected):
    assert kinds(report) == expected
    assert kinds(report.replace("\n", "\r\n")) == expected or "\n\n" in report


@pytest.mark.parametrize(
    "heading, kind",
    [
        ("IMPRESSION", "impression"),
        ("FINDINGS AND IMPRESSION", "impression"),
        ("Clinical History", "indication"),
        ("REASON FOR EXAM", "indication"),
        ("PRIOR STUDIES", "comparison"),
        ("CHEST RADIOGRAPH", "findings"),
        ("Lungs", "part"),
        ("Pneumothorax", "part"),
        ("DR SMITH", "other"),
        ("Some words", ""),
        ("PROVISIONAL FINDINGS IMPRESSION", "preliminary"),
        ("MINE", "technique"),
    ],
)
def test_kinds_of_headings(heading, kind):
    assert heading_kind(heading, {"mine": "technique"}) == kind


def test_what_was_met_is_counted():
    reports = [
        "IMPRESSION: A.",
        "FINDINGS: A.\nIMPRESSION: ___",
        "FINDINGS: A.\nIMPRESSION: As above.",
    ]
    assert count_sections(read_report(text).choose(DEFAULT) for text in reports) == {
        "impression that points to the findings": 1,
        "impression without content": 1,
        "report from findings": 1,
        "report from impression": 1,
        "report without text": 1,
    }


@pytest.mark.parametrize(
    "words", ["Stable.", "No change.", "Unchanged.", "As before.", "Similar to prior."]
)
def test_a_report_that_only_compares_is_text(words):
    """What it stands for is in the earlier one: kept as text, no content for the labeler."""
    assert not has_content(words)
    for report in (words, f"IMPRESSION: {words}"):
        found = read_report(report).choose(DEFAULT)
        assert found.text == words and found.notes == (COMPARES,)
    findings = read_report(f"FINDINGS: {FINDINGS}\nIMPRESSION: {words}").choose(DEFAULT)
    assert findings.text == FINDINGS and COMPARES not in findings.notes


def test_a_report_that_points_nowhere_is_none():
    assert read_report("IMPRESSION: See above.").choose(DEFAULT).text == ""


@pytest.mark.parametrize(
    ("report", "text", "kept"),
    [
        ("FINDINGS: A.\nIMPRESSION: B.", "A. B.", {"findings": "A.", "impression": "B."}),
        ("FINDINGS: A.\nCONCLUSION: B.", "A. B.", {"findings": "A.", "impression": "B."}),
        ("FINDINGS: A.\nIMPRESSION: As above.", "A.", {"findings": "A."}),
        ("FINDINGS: A.\nIMPRESSION: ___", "A.", {"findings": "A."}),
        ("FINDINGS: A.\nIMPRESSION: A.", "A.", {"findings": "A.", "impression": "A."}),
        ("IMPRESSION: Stable.", "Stable.", {}),
        ("Findings: A. Impression: B.", "A. B.", {"findings": "A.", "impression": "B."}),
        ("Findings - A.\nImpression - B.", "A. B.", {"findings": "A.", "impression": "B."}),
    ],
)
def test_findings_and_impression_are_kept_and_joined(report, text, kept):
    found = read_report(report).choose(["both"])
    assert (found.text, found.kept) == (text, kept)
    assert read_report(report).choose(DEFAULT).kept == kept
