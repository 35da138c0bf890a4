"""Report labeler: clean -> split sentences -> mentions -> scope -> aggregate (Irvin et al. 2019,
CheXpert, section 3.2).

Written anew on token phrases instead of dependency graphs: no parser, no download, thousands of
reports a second. Legend: R reports, K observations.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from medcodi.labeler.phrases import PhraseTable, Span
from medcodi.labeler.scope import (
    NEGATIVE,
    POSITIVE,
    UNCERTAIN,
    Cue,
    Stop,
    choose_cues,
    choose_stops,
    status,
)
from medcodi.labeler.text import TextCleaner
from medcodi.labeler.vocabulary import Vocabulary, load_vocabulary

CACHED_SENTENCES = 200_000
STRENGTH = (NEGATIVE, UNCERTAIN, POSITIVE)  # the later one holds when a report says both


@dataclass(frozen=True)
class _Mention:
    """What a phrase says of an observation: kind is mention | absent | exclude | implied."""

    observation: str
    kind: str


@dataclass(frozen=True)
class Mention:
    """One finding of one sentence: `phrase` as it stands in the cleaned sentence."""

    observation: str
    status: int
    phrase: str
    sentence: str


class Labeler:
    """Labels reports with a vocabulary. Distinct sentences are parsed once and remembered."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.columns = vocabulary.columns
        self._cleaner = TextCleaner(
            vocabulary.rewrites, vocabulary.sections.skip, vocabulary.sections.keep
        )
        self._table = PhraseTable(vocabulary.compiler, _meanings(vocabulary))
        self._sentence = lru_cache(CACHED_SENTENCES)(self._parse)

    @classmethod
    def from_vocabulary(cls, name_or_path: str | Path) -> "Labeler":
        """`chexpert`, `chestxray14` or the path of a YAML file (its keys: `vocabulary.py`)."""
        vocabulary = load_vocabulary(name_or_path)
        try:
            return cls(vocabulary)
        except ValueError as error:  # a phrase that cannot be
            raise ValueError(f"vocabulary {name_or_path}: {error}") from None

    def label(self, texts: Sequence[str | None]) -> pd.DataFrame:
        """(R, K) labels: 1 positive, 0 negative, -1 uncertain, NaN not mentioned. A report without
        text (None, NaN, blank) is NaN throughout. Raises ValueError for anything else that is no
        string."""
        rows = np.full((len(texts), len(self.columns)), np.nan)
        for row, text in zip(rows, texts, strict=True):
            if text is None or (isinstance(text, float) and np.isnan(text)):
                continue
            if not isinstance(text, str):
                raise ValueError(
                    f"a report must be a string or absent, got {type(text).__name__} {text!r}"
                )
            for observation, value in self.label_one(text).items():
                row[self.columns.index(observation)] = value
        return pd.DataFrame(rows, columns=self.columns)

    def label_one(self, text: str) -> dict[str, int]:
        """The labels of one report: only what is mentioned."""
        found: dict[str, int] = {}
        if not text.strip():
            return found
        for mention in self.mentions(text):
            before = found.get(mention.observation, NEGATIVE)
            found[mention.observation] = max(before, mention.status, key=STRENGTH.index)
        if rule := self.vocabulary.no_finding:
            found.pop(rule.observation, None)
            others = [value for name, value in found.items() if name not in rule.ignore]
            if all(value == NEGATIVE for value in others):
                found[rule.observation] = POSITIVE
        return found

    def mentions(self, text: str) -> list[Mention]:
        """Every mention with its sentence: why a report is labelled as it is."""
        return [
            mention
            for sentence in self._cleaner.sentences(text)
            for mention in self._sentence(sentence)
        ]

    def contradictions(self, text: str) -> list[str]:
        """The observations that one and the same report both affirms and denies. What differs by
        place ("no left effusion, small right effusion") counts too: compare with the share among
        real reports."""
        stated = defaultdict(set)
        for mention in self.mentions(text):
            stated[mention.observation].add(mention.status)
        return [
            observation for observation, values in stated.items() if {POSITIVE, NEGATIVE} <= values
        ]

    def _parse(self, raw: str) -> tuple[Mention, ...]:
        sentence = self._cleaner.clean(raw)
        spans: dict[type, list[Span]] = defaultdict(list)
        for span in self._table.find(sentence):
            spans[type(span.meaning)].append(span)
        if not spans[_Mention]:
            return ()
        cues, stops, found = choose_cues(spans[Cue]), choose_stops(spans[Stop]), []
        for span in self._counted(spans[_Mention]):
            value = (
                NEGATIVE if span.meaning.kind == "absent" else status(span, cues, stops, sentence)
            )
            if span.meaning.kind == "implied":
                if value == NEGATIVE:
                    continue
                value = UNCERTAIN
            found.append(
                Mention(
                    span.meaning.observation,
                    value,
                    sentence[span.start : span.end].strip(),
                    sentence.strip(),
                )
            )
        return tuple(found)

    def _counted(self, spans: list[Span]) -> list[Span]:
        """Without mentions in an exclude phrase, or in a longer phrase of the same observation or
        of one in `covered_by`."""
        counted = []
        for span in spans:
            name, kind = span.meaning.observation, span.meaning.kind
            covering = {name, *self.vocabulary.observations[name].covered_by}
            hidden = any(
                other.start <= span.start
                and span.end <= other.end
                and (
                    (
                        other.meaning.kind == "exclude"
                        and other.meaning.observation == name
                        and kind == "mention"
                    )
                    or (
                        other.meaning.kind in ("mention", "absent")
                        and other.meaning.observation in covering
                        and other.end - other.start > span.end - span.start
                    )
                )
                for other in spans
            )
            if kind != "exclude" and (kind == "implied" or not hidden):
                counted.append(span)
        return counted


def _meanings(vocabulary: Vocabulary) -> list[tuple[str, _Mention | Cue | Stop]]:
    """Every phrase of a vocabulary with what it stands for."""
    found: list[tuple[str, _Mention | Cue | Stop]] = []
    for name, observation in vocabulary.observations.items():
        found += [(phrase, _Mention(name, "mention")) for phrase in observation.mentions]
        found += [(phrase, _Mention(name, "absent")) for phrase in observation.absent]
        found += [(phrase, _Mention(name, "exclude")) for phrase in observation.exclude]
    for implication in vocabulary.implications:
        found += [
            (phrase, _Mention(implication.observation, "implied"))
            for phrase in implication.mentions
        ]
    for rule in vocabulary.scope.cues.values():
        found += [(phrase, cue) for phrase in rule.phrases for cue in rule.cues]
    found += [(phrase, Cue(None)) for phrase in vocabulary.scope.pseudo]
    return found + [
        (phrase, Stop(group))
        for group, phrases in vocabulary.scope.stops.items()
        for phrase in phrases
    ]
