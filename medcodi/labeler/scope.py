"""Scope: is a mention affirmed, negated or hedged? By cue phrases, in the order of the CheXpert
labeler (Irvin et al. 2019): pre-negation uncertainty ("cannot exclude X"), negation ("no X"),
post-negation uncertainty ("possible X"). Before all of them stand what was taken away
("X removal"), what the examination cannot show ("not sensitive for X"), history ("history of X":
what was there before is no finding) and questions ("rule out X", which the rest of the report may
answer).

A cue reaches the mentions on its side (`before` them or `after` them) until a stop of one of its
groups begins in between. Of overlapping cues the first and then the longest holds, so that "no
change in" hides the "no" in it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from medcodi.labeler.phrases import Span

POSITIVE, NEGATIVE, UNCERTAIN = 1, 0, -1
ASKED = -2  # a question: uncertain where the report does not answer it
STAGES = {
    "gone": NEGATIVE,
    "limits": None,
    "history": None,
    "pre_negation_uncertainty": UNCERTAIN,
    "negation": NEGATIVE,
    "question": ASKED,
    "post_negation_uncertainty": UNCERTAIN,
}
ORDER = tuple(STAGES)
LIST = "list"  # the group of stops that hide others: a comma within an enumeration
ASIDE = "aside"  # the group whose phrases hide the stops inside them: "which was seen before"


@dataclass(frozen=True)
class Cue:
    """A phrase that changes the status of the mentions before which (or after which) it stands.
    `stage` None: a phrase that looks like a cue and is none. `subject`: it speaks of the subject
    of its clause, so that no stop counts behind the last mention: "X is smaller and is gone"."""

    stage: str | None
    side: str = "before"  # before | after the mention, or within: around it
    stops: frozenset[str] = frozenset()
    max_words: int = 99
    subject: bool = False


@dataclass(frozen=True)
class Stop:
    """A phrase that ends the reach of cues that name its group."""

    group: str


def choose_cues(spans: Iterable[Span], mentions: Sequence[Span]) -> list[Span]:
    """Cues that do not overlap: the first, then the longest; one phrase may stand for several cues,
    and for none where it is a pseudo one too. One with none of `mentions` on its side is none."""
    first, last = min(m.end for m in mentions), max(m.start for m in mentions)
    sides = {"before": lambda s: s.end <= last, "after": lambda s: s.start >= first}
    speaking = (s for s in spans if sides.get(s.meaning.side, bool)(s) or s.meaning.stage is None)
    chosen: list[Span] = []
    for span in sorted(speaking, key=lambda s: (s.start, -s.end)):
        if (
            not chosen
            or span.start >= chosen[-1].end
            or (span.start, span.end) == (chosen[-1].start, chosen[-1].end)
        ):
            chosen.append(span)
    hidden = {(span.start, span.end) for span in chosen if span.meaning.stage is None}
    return [span for span in chosen if (span.start, span.end) not in hidden]


def choose_stops(spans: Iterable[Span]) -> list[Span]:
    """Stops without those that begin where one of the group `list` begins, or within an aside."""
    spans = list(spans)
    listed = {span.start for span in spans if span.meaning.group == LIST}
    asides = [span for span in spans if span.meaning.group == ASIDE]
    return [
        span
        for span in spans
        if span.start not in listed
        and not any(aside.start <= span.start < aside.end for aside in asides)
    ]


def status(
    mention: Span, cues: list[Span], stops: list[Span], sentence: str, mentions: Sequence[Span] = ()
) -> int | None:
    """POSITIVE, NEGATIVE, UNCERTAIN, ASKED, or None for history, of one mention of a cleaned
    sentence; `mentions` are all of the sentence."""
    reached = {
        cue.meaning.stage for cue in cues if _reaches(cue, mention, stops, sentence, mentions)
    }
    return next((STAGES[stage] for stage in ORDER if stage in reached), POSITIVE)


def _reaches(
    cue: Span, mention: Span, stops: list[Span], sentence: str, mentions: Sequence[Span]
) -> bool:
    if cue.meaning.side == "within":
        return cue.start <= mention.start and mention.end <= cue.end
    low, high = (
        (cue.end, mention.start) if cue.meaning.side == "before" else (mention.end, cue.start)
    )
    if high < low or sentence.count(" ", low, high) > cue.meaning.max_words:
        return False
    if cue.meaning.subject:
        high = max((m.end for m in mentions if low <= m.start and m.end <= high), default=low)
    return not any(low <= s.start < high and s.meaning.group in cue.meaning.stops for s in stops)
