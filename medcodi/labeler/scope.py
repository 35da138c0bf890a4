"""Scope: is a mention affirmed, negated or hedged? By cue phrases, in the order of the CheXpert
labeler (Irvin et al. 2019): pre-negation uncertainty ("cannot exclude X"), negation ("no X"),
post-negation uncertainty ("possible X").

A cue reaches the mentions on its side (`before` them or `after` them) until a stop of one of its
groups stands in between. Of overlapping cues the first and then the longest holds, so that "no
change in" hides the "no" in it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from medcodi.labeler.phrases import Span

POSITIVE, NEGATIVE, UNCERTAIN = 1, 0, -1
STAGES = {
    "pre_negation_uncertainty": UNCERTAIN,
    "negation": NEGATIVE,
    "post_negation_uncertainty": UNCERTAIN,
}
ORDER = tuple(STAGES)
LIST = "list"  # the group of stops that hide others: a comma within an enumeration


@dataclass(frozen=True)
class Cue:
    """A phrase that changes the status of the mentions before which (or after which) it stands.
    `stage` None: a phrase that looks like a cue and is none."""

    stage: str | None
    side: str = "before"  # before | after the mention
    stops: frozenset[str] = frozenset()
    max_words: int = 99


@dataclass(frozen=True)
class Stop:
    """A phrase that ends the reach of cues that name its group."""

    group: str


def choose_cues(spans: Iterable[Span]) -> list[Span]:
    """Cues that do not overlap: the first, then the longest; one phrase may stand for several
    cues."""
    chosen: list[Span] = []
    for span in sorted(spans, key=lambda s: (s.start, -s.end)):
        if (
            not chosen
            or span.start >= chosen[-1].end
            or (span.start, span.end) == (chosen[-1].start, chosen[-1].end)
        ):
            chosen.append(span)
    return [span for span in chosen if span.meaning.stage is not None]


def choose_stops(spans: Iterable[Span]) -> list[Span]:
    """Stops without those that begin where one of the group `list` begins."""
    spans = list(spans)
    listed = {span.start for span in spans if span.meaning.group == LIST}
    return [span for span in spans if span.start not in listed]


def status(mention: Span, cues: list[Span], stops: list[Span], sentence: str) -> int:
    """POSITIVE, NEGATIVE or UNCERTAIN for one mention of a cleaned sentence."""
    reached = {cue.meaning.stage for cue in cues if _reaches(cue, mention, stops, sentence)}
    return next((STAGES[stage] for stage in ORDER if stage in reached), POSITIVE)


def _reaches(cue: Span, mention: Span, stops: list[Span], sentence: str) -> bool:
    low, high = (
        (cue.end, mention.start) if cue.meaning.side == "before" else (mention.end, cue.start)
    )
    if high < low or sentence.count(" ", low, high) > cue.meaning.max_words:
        return False
    return not any(
        low <= s.start and s.end <= high and s.meaning.group in cue.meaning.stops for s in stops
    )
