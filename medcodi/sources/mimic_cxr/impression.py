"""The impression of a radiology report as MIMIC-CXR has them: sections under headings in capitals,
at times none.

Rules, the first that gives a text: the section IMPRESSION (in any of its spellings, the last one
where there are several); CONCLUSION; in a report without sections of findings or conclusions, its
last paragraph. Findings are taken only when asked for. An addendum stands before (at times behind)
the report that it adds to; it counts where it has an impression of its own, which is then the
revised one. A wet read or a provisional impression is a preliminary text and never counts.
"""

import difflib
import itertools
import re
from dataclasses import dataclass

SECTIONS = ("impression", "conclusion", "last paragraph", "findings")
DEFAULT_SECTIONS = SECTIONS[:3]
HEADING = re.compile(  # with a colon; some words without one too
    r"^[ \t]*(?:([A-Z][A-Z0-9 /&,()'._-]{2,60}?|[A-Z][a-z]+(?: (?:and )?[A-Za-z]+){0,3})[ "
    r"\t]*:(?!\d)"
    r"|((?:IMPRESSION|CONCLUSION|FINDING|Impression|Conclusion|Finding)[Ss]?)[ "
    r"\t]*(?:$|[.-](?=\s)))",
    re.MULTILINE,
)
PARTS = re.compile(
    r"^[ \t]*(FINAL REPORT|FINAL ADDENDUM|ADDENDUM|WET READ)\b[^\n:]{0,80}:?", re.MULTILINE
)
RULE = re.compile(
    r"^[ \t]*[_=*-]{5,}[ \t]*$", re.MULTILINE
)  # ___ alone is the mark of a removed name
BLANK_LINES = re.compile(r"\n[ \t]*(?:\n[ \t]*)+")
KINDS = {  # word of a heading -> section; the others end a section, and that is all
    "impression": "impression",
    "impressions": "impression",
    "conclusion": "conclusion",
    "conclusions": "conclusion",
    "summary": "conclusion",
    "opinion": "conclusion",
    "findings": "findings",
    "finding": "findings",
    "recommendation": "other",
    "recommendations": "other",
    "notification": "other",
    "notifications": "other",
    "comparison": "other",
    "comparisons": "other",
    "indication": "other",
    "indications": "other",
    "history": "other",
    "technique": "other",
    "examination": "other",
    "exam": "other",
    "study": "other",
    "addendum": "other",
    "reason": "other",
    "clinical": "other",
    "views": "other",
    "view": "other",
    "chest": "findings",
    "type": "other",
}
PRELIMINARY = {"provisional", "preliminary"}  # PROVISIONAL FINDINGS IMPRESSION: what a wet read is
SIMILAR = 0.85  # a misspelling, as IMPRESION


@dataclass(slots=True)
class Impression:
    """`text`: one line; `section`: which of SECTIONS it was."""

    text: str
    section: str


def find_impression(report: str, sections: tuple[str, ...] = DEFAULT_SECTIONS) -> Impression | None:
    """The impression of `report` from the first of `sections` that gives one, None where none
    does."""
    addenda, body = _parts(report)
    found: dict[str, str] = {}
    for text in (body, *addenda):  # later ones revise
        found |= {
            kind: words
            for kind, words in _sections(text).items()
            if text is body or kind == "impression"
        }
    if "impression" not in found and "conclusion" not in found and "findings" not in found:
        found["last paragraph"] = _last_paragraph(body)
    for section in sections:
        if found.get(section):
            return Impression(found[section], section)
    return None


def _parts(report: str) -> tuple[list[str], str]:
    """(addenda, the report itself), without wet reads."""
    report = RULE.sub("\n", report.replace("\r\n", "\n"))
    marks = [*PARTS.finditer(report), None]
    addenda, body = [], report[: marks[0].start()] if marks[0] else report
    for mark, following in itertools.pairwise(marks):
        text = report[mark.end() : following.start() if following else len(report)]
        if "ADDENDUM" in mark[1]:
            addenda.append(text)
        elif mark[1] == "FINAL REPORT":
            body = f"{body}\n\n{text}"
    return addenda, body


def _sections(text: str) -> dict[str, str]:
    """section -> its text in one line; the last one of a kind that is not blank."""
    headings = [
        (match, kind) for match in HEADING.finditer(text) if (kind := _kind(match[1] or match[2]))
    ]
    ends = [*[match.start() for match, _ in headings], len(text)][1:]
    found = {}
    for (match, kind), end in zip(headings, ends, strict=True):
        words = " ".join(text[match.end() : end].split())
        if words and kind != "other":
            found[kind] = words
    return found


def _kind(heading: str) -> str:
    """Section that a heading opens, "" for a line that only looks like one (Lungs:). Findings and
    impression under one heading are an impression."""
    words = re.findall(r"[a-z]+", heading.lower())
    if PRELIMINARY & set(words):
        return "other"
    kinds = [KINDS[known] for word in words if (known := _known(word))]
    if kinds:
        return min(kinds, key=["impression", "conclusion", "other", "findings"].index)
    return "other" if heading.isupper() else ""


def _known(word: str) -> str:
    if word in KINDS:
        return word
    long_words = [known for known in KINDS if len(known) > 7] if len(word) > 6 else []
    return next(iter(difflib.get_close_matches(word, long_words, 1, SIMILAR)), "")


def _last_paragraph(text: str) -> str:
    """The last paragraph that is no heading; "" for a text of one paragraph that opens with one."""
    for paragraph in reversed(BLANK_LINES.split(text)):
        match = HEADING.match(paragraph.strip())
        words = " ".join(paragraph.split())
        if words and not (match and _kind(match[1] or match[2])) and not words.isupper():
            return words
    return ""
