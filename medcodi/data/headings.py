"""Headings of radiology reports: where they stand and which section they open."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace


def words(text: str) -> list[str]:
    """The words of a line: a list that is easier to read."""
    return text.split()


CONTENT = ("impression", "conclusion", "findings")
KINDS = {  # word of a heading -> the section it opens
    "impression": "impression",
    "impressions": "impression",
    "imp": "impression",
    "impr": "impression",
    **dict.fromkeys(
        words("conclusion conclusions summary opinion interpretation assessment"), "conclusion"
    ),
    **dict.fromkeys(words("findings finding narrative observations discussion"), "findings"),
    **dict.fromkeys(
        words(
            "indication indications history hx pmh pmhx hpi reason clinical complaint symptoms "
            "request question"
        ),
        "indication",
    ),
    **dict.fromkeys(words("comparison comparisons"), "comparison"),
    **dict.fromkeys(
        words("technique procedure examination exam study type views view protocol"), "technique"
    ),
    **dict.fromkeys(words("recommendation recommendations advice"), "recommendation"),
    **dict.fromkeys(words("provisional preliminary wet"), "preliminary"),
    **dict.fromkeys(
        words("notification notifications addendum communication accession signed dictated"),
        "other",
    ),
    **dict.fromkeys(words("comment comments"), "weak conclusion"),
    **dict.fromkeys(words("diagnosis diagnoses dx"), "diagnosis"),
    **dict.fromkeys(words("chest report result results"), "weak findings"),
}
ORDER = (  # which word of a heading counts
    "preliminary",
    *CONTENT,
    "indication",
    "comparison",
    "technique",
    "recommendation",
    "other",
    "diagnosis",
    "weak conclusion",
    "weak findings",
)
# Words of headings within the findings: what they head stays part of the section, with its heading.
PARTS = frozenset(
    words(
        "lung lungs pleura pleural heart cardiac cardiovascular cardiomediastinum "
        "cardiomediastinal mediastinum mediastinal hila hilar bone bones osseous skeletal "
        "musculoskeletal soft tissue tissues line lines tube tubes device devices support "
        "airway airways trachea diaphragm abdomen upper other additional miscellaneous "
        "vessels vasculature airspace parenchyma wall spine rib ribs hardware catheter "
        "catheters thorax left right bilateral effusion effusions pneumothorax "
        "pneumothoraces ptx consolidation edema oedema atelectasis pneumonia pna nodule "
        "nodules mass masses lesion lesions fracture fractures cardiomegaly opacity "
        "opacities infiltrate infiltrates emphysema fibrosis hernia thickening congestion chf "
        "failure fx consol eff effs hemothorax haemothorax empyema pneumomediastinum "
        "adenopathy aspiration"
    )
)
SIMILAR = 0.85  # a misspelling, as IMPRESION
MARKUP = r"[ \t>*#_]*"  # of Markdown
LINE = re.compile(  # at the start of a line: with a colon; some words without one too
    rf"^{MARKUP}(?:([A-Z](?:[A-Z0-9 /&,()'_-]|\.(?! )){{1,60}}?"
    rf"|[A-Z][a-z]+(?: (?:and )?[A-Za-z]+){{0,3}})[ \t*_]*:[*_]*(?!\d)"
    rf"|((?:IMPRESSION|CONCLUSION|FINDING|Impression|Conclusion|Finding)[Ss]?)[ \t*_]*"
    rf"(?:$|[.-](?=\s))|((?:INDICATION|COMPARISON|TECHNIQUE|HISTORY|CLINICAL HISTORY)[Ss]?)"
    rf"[ \t*_]*$)|(?<![^.:\n]\n)((?i:impressions?|conclusions?|findings?|opinion|summary|"
    rf"interpretation|comments?|narrative))[ \t\r*_]*$",
    re.MULTILINE,
)
NAMES = (  # of sections, where no colon follows
    r"(?:clinical )?(?:indication|history)s?|reason for (?:the |this )?(?:exam|examination|study)|"
    r"(?:clinical )?(?:information|details)|findings?|impressions?|comparisons?|technique|"
    r"conclusions?|opinion|interpretation|summary|comments?"
)
DASHED = re.compile(  # "Indication - cough. Findings = clear lungs."
    rf"(?:^|(?<=[.\n]))([ \t]*(?:{NAMES}))"
    r"(?:[ \t]+-+[ \t]+|[ \t]*[\u2013\u2014]+[ \t]*|[ \t]*[;=][ \t]*)(?=\w)",
    re.IGNORECASE,
)
BRACKETED = re.compile(rf"(?:^|(?<=[.\n]))([ \t]*)\[({NAMES})\][ \t]*:?", re.IGNORECASE)
BARE = re.compile(  # "FINDINGS The lungs are clear. IMPRESSION Normal."
    r"(?:^|(?<=[.!?]\s)|(?<=\n))((?:FINDING|IMPRESSION|CONCLUSION|INDICATION|TECHNIQUE|COMPARISON|"
    r"HISTORY|Finding|Impression|Conclusion)[Ss]?)[ \t]+(?=[A-Z][a-z]|\d{1,2}[.)])"
)
INLINE = re.compile(  # names of sections wherever they stand, up to their colon
    r"(?<![\w/])((?:end of |clinical |relevant |patient |past medical |brief |final |revised |"
    r"type of |other |overall |prior |previous |pertinent )?"
    r"(?:findings?(?: and |/| & )impressions?|"
    r"impressions?(?: and |/| & )(?:recommendations?|findings?|plan)|findings?|impressions?|"
    r"conclusions?|opinion|interpretation|summary|assessment|discussion|report|"
    r"indications?(?: for (?:exam|examination|study))?|"
    r"(?:(?:admitting|admission|working|referring) )(?:diagnosis|dx)|referral|chief complaint|"
    r"order comments|clinical (?:summary|details|notes?)|pmhx?|"
    r"(?:history|indications?)(?: and |/| & )(?:indications?|history)|history|hx|info|information|"
    r"data|details|statement|question|reason for (?:the |this )?(?:exam|examination|study|visit|"
    r"test|request|order)|comparisons?|comments?|impr?|diagnos[ei]s|stud(?:y|ies)|exams?|"
    r"examinations?|technique|procedure(?: comments)?|recommendations?|narrative|addendum|"
    r"notification|accession number|wet read)"
    r"(?: ?\([^()\n]{0,40}\))?)[ \t*_]*$",
    re.IGNORECASE,
)
LONGEST = 120  # characters of such a name, and of what stands before it
AFTER_COLON = re.compile(r":[*_]*(?!\d)")
OPENING = re.compile(r"[.;:!?)\]*]\s*$|\n\s*$|^\s*$|\s{2}$|\s-\s*$")  # what may stand before one
ASKED = re.compile(  # what they think who ask
    r"\b(?:clinical (?:summary|impression|assessment|diagnosis|dx|interpretation|notes?)"
    r"|(?:admitting|admission|working|referring|presenting|ordering|order|requesting|pre ?op\w*)"
    r" (?:diagnosis|diagnoses|dx|comments?|summary|notes?)|referral|complaint)\b"
)
PRIOR = re.compile(r"\b(?:prior|previous|old) (?:stud|exam|film|radiograph|image|report|x)")


@dataclass(frozen=True, slots=True)
class Heading:
    """Characters [start, end) of a report; the section begins at `end`."""

    start: int
    end: int
    kind: str
    text: str


def with_colons(report: str) -> str:
    """`report` with a colon behind the names of sections that a dash, "=", ";" or brackets mark, or
    that stand in capitals before a sentence."""
    report = BARE.sub(r"\1: ", DASHED.sub(r"\1: ", report))
    return BRACKETED.sub(r"\1\2: ", report) if "[" in report else report


def find_headings(report: str, known: Mapping[str, str]) -> list[Heading]:
    """The headings that open sections, in their order. `known`: further ones in lower case ->
    kind. One within the findings ("Lungs:") opens a section only behind one without findings, and
    stays in its text then."""
    found: dict[int, Heading] = {}
    for match in LINE.finditer(report):
        text = match[1] or match[2] or match[3] or match[4]
        start = match.start() + match[0].index(text)
        if _runs_into(text):
            continue  # it is found where it stands
        if kind := heading_kind(text, known):
            found[start] = Heading(match.start(), match.end(), kind, text)
    lower, colon = report.islower(), report.find(":")
    while colon >= 0:
        match, end = _name_before(report, colon), AFTER_COLON.match(report, colon)
        if match and end and match.start() not in found:
            before = report[max(0, match.start() - 40) : match.start()]
            if match[1][0].isupper() or OPENING.search(before) or lower:
                kind = heading_kind(match[1], known)
                found[match.start()] = Heading(match.start(), end.end(), kind, match[1])
        colon = report.find(":", colon + 1)
    return _without_parts(report, [found[start] for start in sorted(found)])


def _name_before(report: str, colon: int) -> re.Match[str] | None:
    """The name of a section that ends at `colon`."""
    return INLINE.search(report, max(0, colon - LONGEST), colon)


def _runs_into(text: str) -> bool:
    """The end of a sentence in capitals with a heading behind it: "EFFUSION IMPRESSION"."""
    words = re.findall(r"[a-z]+", text.lower())
    if PARTS.isdisjoint(words) or not (name := INLINE.search(text)):
        return False
    return not PARTS.isdisjoint(re.findall(r"[a-z]+", text[: name.start()].lower()))


def _without_parts(report: str, headings: list[Heading]) -> list[Heading]:
    """Parts of the findings open a section (theirs, with the heading in it) only behind one that
    is none."""
    kept: list[Heading] = []
    for place, heading in enumerate(headings):
        if kept and heading.start < kept[-1].end:
            continue
        if heading.kind == "diagnosis":
            before = any(later.kind in CONTENT for later in headings[place + 1 :])
            heading = replace(heading, kind="indication" if before else "conclusion")
        if heading.kind != "part":
            kept.append(heading)
        elif kept and kept[-1].kind not in CONTENT:
            kept.append(Heading(heading.start, heading.start, "findings", ""))
    return kept


def heading_kind(heading: str, known: Mapping[str, str]) -> str:
    """Section that a heading opens: one of ORDER ("diagnosis" is a conclusion, or before the
    findings what was asked), "part" for one within the findings, "other" for
    an unknown one in capitals, "" for a line that only looks like one. Findings and impression
    under one heading are an impression."""
    lowered = " ".join(heading.lower().split())
    if lowered in known:
        return known[lowered]
    words = re.findall(r"[a-z]+", lowered)
    if lowered.startswith("end of"):
        return "other"
    if "differential" in words or "ddx" in words:
        return ""  # what follows may be
    if PRIOR.search(lowered):
        return "comparison"
    if ASKED.search(lowered.replace("-", " ")):
        return "indication"
    kinds = [KINDS[name] for word in words if (name := _known(word))]
    if kinds:
        return min(kinds, key=ORDER.index).removeprefix("weak ")
    if PARTS.intersection(words):
        return "part"
    return "other" if heading.isupper() and len(heading) > 2 else ""


def _known(word: str) -> str:
    if word in KINDS:
        return word
    long_words = [known for known in KINDS if len(known) > 7] if len(word) > 6 else []
    return next(iter(difflib.get_close_matches(word, long_words, 1, SIMILAR)), "")
