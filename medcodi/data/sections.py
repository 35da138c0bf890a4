"""The sections of a radiology report: one reader for every source and for the labeler.

A heading stands at the start of a line or inside one ("Findings: None. Impression: 1. Small
effusion."), in capitals or not, and some words need no colon. What a section says is its text; one
without content ("", "___", "XXXX.", "None.") says nothing, and one that points ("As above.", "See
findings.") says what the findings say. Other words for findings, such as "Lungs:" or
"Pneumothorax: none", are parts of the section they stand in.
"""

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from medcodi.data.headings import CONTENT, Heading, find_headings, with_colons, words

BOTH = "both"  # findings and impression, joined
SECTIONS = ("impression", "conclusion", "findings", BOTH, "last paragraph")
KEPT = ("findings", "impression")  # sections that sources keep as fields of their own
# What a report may hold by words that are no finding: who asked, with what, and since when.
FILLERS = frozenset(
    words(
        "none nil null nan na not no available unavailable reported report pending "
        "dictated yet removed redacted deidentified de identified blank empty unknown "
        "unspecified provided given text applicable recorded documented entered to be "
        "follow follows tbd tba placeholder impression impressions conclusion dictation "
        "transcription awaiting await cancelled canceled performed done obtained review "
        "patient refused images image interpretation generate chest pa ap lateral lat "
        "frontal portable view views two one single x ray rays xray radiograph "
        "radiographs radiography film films cxr exam examination study upright erect "
        "supine semi semiupright semierect and of the at hours hrs hour am pm date time "
        "dated was were is are has been will signed electronically dictated transcribed "
        "verified approved interpreted by projection projections posteroanterior postero "
        "anteroposterior antero anterior posterior bedside mobile final dr mr ms md there "
        "this for with nondiagnostic uninterpretable interpretable inadequate wet read deleted test"
    )
)
# A section of these words alone, at least one of POINTERS among them, points to another one, or to
# an older report.
CHANGES = frozenset(words("unchanged change changes stable similar before"))
POINTERS = CHANGES | frozenset(words("see above below refer same per as ditto idem"))
POINTED = POINTERS | frozenset(
    words(
        "findings finding section sections the in of report body for details detail "
        "described stated noted detailed discussed mentioned please to full complete "
        "further text this is are and impression conclusion narrative dictated listed "
        "outlined given dictation reported comment comments description note no change "
        "changes unchanged interval significant significantly appreciable essentially stable since "
        "prior previous earlier last recent most compared comparison with from by appearance chest "
        "study examination exam radiograph film x ray cxr separate ct again an otherwise overall "
        "relevant substantial substantially little made before previously"
    )
)
COMPARES = "report that only says that nothing changed (kept, without labels)"
SAYS_NOTHING = FILLERS | POINTED | {"n", "a"}
OPENING, MARKED = 100, frozenset("[<_")  # characters that are looked at first, quickly
MARKS = re.compile(  # of removed names, of bullets, of a signature
    r"\bn[/.]?a\b|\[\*\*[^\n]{0,200}?\*\*\]|\[[^\]\n]{0,60}\]|<[^<>\n]{1,60}>|\bx{2,}\b|"
    r"\b(?:electronically )?(?:signed|dictated|transcribed|verified|approved|interpreted|reported)"
    r"(?: and \w+){0,2} by\b[^.\n]*",
    re.IGNORECASE,
)
WORD = re.compile(r"(?!x+\b)[^\W\d_]+")
PARTS = re.compile(
    r"^[ \t]*(FINAL REPORT|FINAL ADDENDUM|ADDENDUM|WET READ)\b[^\n:]{0,80}:?", re.MULTILINE
)
RULE = re.compile(
    r"^[ \t]*[_=*-]{5,}[ \t]*$", re.MULTILINE
)  # ___ alone is the mark of a removed name
ORPHAN = re.compile(r"(?:^|(?<=\s))[(]?\d{1,2}[.)]\s*$")  # the number of the heading behind
BLANK_LINES = re.compile(r"\n[ \t]*(?:\n[ \t]*)+")
SENTENCE = re.compile(r"[.;!?]+(?=\s|$)|\n")
ASKED = re.compile(  # what goes on with the question, or with the history
    r"\s*(?:rule\s+out|r/o|please|evaluat|eval\b|assess|question|query|concern|history|hx\b|h/o|"
    r"s/p|status\s+post|exclude|\?|year|yo\b|y/o|patient|follow)|[^.\n]*\b(?:year|yr)s?[ -]old\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Section:
    """`kind`: findings, impression, conclusion, indication, comparison, technique,
    recommendation, preliminary, other, or "" for text under no heading. `text`: as it stands."""

    kind: str
    text: str
    heading: str = ""


@dataclass(frozen=True, slots=True)
class ReportText:
    """The text that stands for a report. `text`: one line, "" where no section gives one.
    `section`: which of SECTIONS gave it. `notes`: what was met on the way, to be counted. `kept`:
    each of KEPT that says something, whatever was chosen."""

    text: str
    section: str
    notes: tuple[str, ...] = ()
    kept: Mapping[str, str] = field(default_factory=dict, compare=False)


@dataclass
class Report:
    """`sections`: kind -> text in one line, of those with content that do not point; of several
    a kind the last. `pointing`, `without_content`: kinds of the others. `comparing`: kind -> text
    of those that only say what did not change ("Stable.")."""

    sections: dict[str, str] = field(default_factory=dict)
    comparing: dict[str, str] = field(default_factory=dict)
    pointing: set[str] = field(default_factory=set)
    without_content: set[str] = field(default_factory=set)

    def add(self, kind: str, text: str) -> None:
        words = " ".join(text.split())
        if points_elsewhere(words):
            self.pointing.add(kind)
            if only_compares(words):
                self.comparing[kind] = words
        elif has_content(words):
            self.sections[kind] = words
        else:
            self.without_content.add(kind)

    @property
    def kept(self) -> dict[str, str]:
        """Findings and impression (else the conclusion), as far as they say something."""
        found = {
            "findings": self.sections.get("findings", ""),
            "impression": self.sections.get("impression", self.sections.get("conclusion", "")),
        }
        return {kind: text for kind, text in found.items() if text}

    def choose(self, order: Iterable[str] = SECTIONS) -> ReportText:
        """The first of `order` that says something; one that points gives the findings. A report
        that says nothing but that nothing changed is text too, which no labeler can read."""
        order, notes, kept = list(order), [], self.kept
        for kind in order:
            if kind == BOTH and kept:
                return ReportText(
                    " ".join(dict.fromkeys(kept.values())), " and ".join(kept), tuple(notes), kept
                )
            if kind in self.sections:
                return ReportText(self.sections[kind], kind, tuple(notes), kept)
            if kind in self.pointing:
                notes.append(f"{kind} that points to the findings")
                if "findings" in self.sections:
                    return ReportText(self.sections["findings"], "findings", tuple(notes), kept)
            elif kind in self.without_content:
                notes.append(f"{kind} without content")
        for kind in [*order, *(CONTENT if BOTH in order else ())]:
            if kind in self.comparing:
                return ReportText(self.comparing[kind], kind, (COMPARES,), kept)
        return ReportText("", "", tuple(notes), kept)


def words_of(text: str) -> list[str]:
    """The words of `text` in lower case, without marks of removed names and signatures."""
    return WORD.findall(MARKS.sub(" ", text.replace("_", " ")).lower())


def has_content(text: str) -> bool:
    """Does `text` say anything? Not so: blanks, punctuation, numbers, marks of removed names,
    "None.", "n/a", "Report to follow.", "Chest, two views."; nor what only points elsewhere."""
    opening = text[:OPENING].lower()
    plain = MARKED.isdisjoint(opening) and " by " not in opening
    if plain and not SAYS_NOTHING.issuperset(WORD.findall(opening)):
        return True
    words = words_of(text)
    return not (FILLERS.issuperset(words) or _points(words))


def points_elsewhere(text: str) -> bool:
    """Is all that `text` says that another section, or another report, says it?"""
    return _points(words_of(text))


def only_compares(text: str) -> bool:
    """Is all that `text` says that nothing changed since another examination ("Stable.")? Such a
    report is kept as text; without the earlier one it has no labels."""
    words = words_of(text)
    return _points(words) and not CHANGES.isdisjoint(words)


def _points(words: list[str]) -> bool:
    return bool(words) and POINTED.issuperset(words) and not POINTERS.isdisjoint(words)


def split_sections(report: str, known: Mapping[str, str] | None = None) -> list[Section]:
    """The sections of `report` in their order, the text before the first heading first. `known`:
    further headings in lower case -> kind. Nothing of the report is lost but headings."""
    report = with_colons(report)
    headings = find_headings(report, known or {})
    end = headings[0].start if headings else len(report)
    sections = [Section("", ORPHAN.sub("", report[:end]) if headings else report)]
    for heading, following in itertools.pairwise([*headings, None]):
        text = report[heading.end : following.start if following else len(report)]
        text = ORPHAN.sub("", text) if following else text
        sections += _with_rest(heading, text, last=following is None)
    return [section for section in sections if section.text.strip() or section.heading]


def _with_rest(heading: Heading, text: str, last: bool) -> list[Section]:
    """The section of `heading`, and what stands behind it under no heading: a question or a
    comparison ends with its paragraph, inside a line with its first sentence."""
    if heading.kind in CONTENT or heading.kind in ("other", "preliminary"):
        return [Section(heading.kind, text, heading.text)]
    start = len(text) - len(text.lstrip())
    blank = BLANK_LINES.search(text, start)
    end = blank.start() if blank else len(text)
    if last and (heading.kind in ("comparison", "technique") or not blank):
        end = _end_of_question(text, start, end)
    rest = text[end:]
    return [
        Section(heading.kind, text[:end], heading.text),
        *([Section("", rest)] if rest.strip() else []),
    ]


def _end_of_question(text: str, start: int, end: int) -> int:
    """Where what is asked for, or compared with, ends within [start, end)."""
    place = start
    while found := SENTENCE.search(text, place, end):
        place = found.end()
        if text[place:end].strip() and not ASKED.match(text, place) and not _runs_on(found, text):
            return place
    return end


def _runs_on(found: re.Match, text: str) -> bool:
    """A line end in the middle of a sentence."""
    following = text[found.end() :].lstrip()[:1]
    return found[0] == "\n" and (following.islower() or not text[: found.start()].strip())


def read_report(report: str) -> Report:
    """The sections of a whole report, addenda and preliminary texts told apart.

    An addendum stands before (at times behind) the report that it adds to; it counts where it has
    an impression of its own, which is then the revised one. A wet read or a provisional impression
    is a preliminary text and never counts. A report without findings, impression or conclusion has
    its last paragraph.
    """
    addenda, body = _parts(report)
    read = Report()
    for text in (body, *addenda):  # later ones revise
        for section in split_sections(text):
            if section.kind and (text is body or section.kind == "impression"):
                read.add(section.kind, section.text)
    if not any(kind in held for held in (read.sections, read.pointing) for kind in CONTENT):
        read.add("last paragraph", _last_paragraph(body))
    return read


def _parts(report: str) -> tuple[list[str], str]:
    """(addenda, the report itself), without wet reads."""
    report = RULE.sub("\n", report.replace("\r\n", "\n"))
    marks = list(PARTS.finditer(report))
    addenda, body = [], report[: marks[0].start()] if marks else report
    for mark, following in itertools.pairwise([*marks, None]):
        text = report[mark.end() : following.start() if following else len(report)]
        if "ADDENDUM" in mark[1]:
            addenda.append(text)
        elif mark[1] == "FINAL REPORT":
            body = f"{body}\n\n{text}"
    return addenda, body


def _last_paragraph(text: str) -> str:
    """The last paragraph that is no heading; "" for a text of one paragraph that opens with one."""
    for paragraph in reversed(BLANK_LINES.split(text)):
        opening = find_headings(paragraph.strip(), {})[:1]
        words = " ".join(paragraph.split())
        if words and not (opening and opening[0].start == 0) and not words.isupper():
            return words
    return ""


def count_sections(reports: Iterable[ReportText]) -> dict[str, int]:
    """How often which section gave the text, and what was met on the way; for what is printed."""
    counts: Counter[str] = Counter()
    for report in reports:
        counts.update(report.notes)
        counts[f"report from {report.section}" if report.section else "report without text"] += 1
    return dict(sorted(counts.items()))
