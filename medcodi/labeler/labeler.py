"""Report labeler: clean -> split sentences -> mentions -> scope -> aggregate (Irvin et al. 2019,
CheXpert, section 3.2).

Written anew on token phrases instead of dependency graphs: no parser, no download, thousands of
reports a second. Legend: R reports, K observations.
"""

import itertools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from medcodi.labeler.phrases import PhraseTable, Span
from medcodi.labeler.scope import (
    ASKED,
    NEGATIVE,
    POSITIVE,
    UNCERTAIN,
    Cue,
    Stop,
    choose_cues,
    choose_stops,
    status,
)
from medcodi.labeler.sides import name_again, tell_sides_apart, tells_sides
from medcodi.labeler.text import TextCleaner
from medcodi.labeler.vocabulary import Vocabulary, load_vocabulary

CACHED_SENTENCES = 200_000
MAX_PARTS = 3  # how often a sentence that tells the sides apart is parted
SAYS_NOW = frozenset(["no", "not", "without", "clear", "normal"])  # beside the history, of today
STRENGTH = (ASKED, NEGATIVE, UNCERTAIN, POSITIVE)  # the later one holds when a report says both


@dataclass(frozen=True)
class _Mention:
    """What a phrase says of an observation: kind is mention | absent | exclude | uncertain |
    implied."""

    observation: str
    kind: str


@dataclass(frozen=True)
class Mention:
    """One finding of one sentence: `phrase` as it stands in the cleaned sentence. `status` None:
    history, no finding."""

    observation: str
    status: int | None
    phrase: str
    sentence: str


class Labeler:
    """Labels reports with a vocabulary. Distinct sentences are parsed once and remembered."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.columns = vocabulary.columns
        self._cleaner = TextCleaner(
            vocabulary.rewrites,
            vocabulary.sections.skip,
            vocabulary.sections.keep,
            vocabulary.words,
        )
        self._findings = PhraseTable(vocabulary.compiler, _finding_phrases(vocabulary))
        self._scope = PhraseTable(vocabulary.compiler, _scope_phrases(vocabulary))
        rule = vocabulary.no_finding
        self._needs, self._limits = (
            PhraseTable(vocabulary.compiler, [(phrase, None) for phrase in phrases])
            for phrases in ((rule.needs, rule.limits) if rule else ((), ()))
        )
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
        """The labels of one report: only what is mentioned. Nothing for a report without content
        (".", "___", "None.", a history and no findings, "Limited study."), which is no normal
        chest."""
        found: dict[str, int] = {}
        read = self._sentences(text)
        if all(_only_history(mentions) for mentions in read):
            return found
        for mention in itertools.chain.from_iterable(read):
            if mention.status is not None:
                before = found.get(mention.observation, ASKED)
                found[mention.observation] = max(before, mention.status, key=STRENGTH.index)
        found = {name: _answered(value) for name, value in found.items()}
        if rule := self.vocabulary.no_finding:
            found.pop(rule.observation, None)
            others = [value for name, value in found.items() if name not in rule.ignore]
            if all(value == NEGATIVE for value in others) and (found or self._speaks(text)):
                found[rule.observation] = POSITIVE
        return found

    def _speaks(self, text: str) -> bool:
        """Does a text that mentions no observation say that all is well, or speak of the body?"""
        rule = self.vocabulary.no_finding
        if not (rule and rule.needs):
            return True
        sentences = self._cleaner.sentences(self._cleaner.findings(text))
        return any(map(self._is_said, sentences))

    def _is_said(self, sentence: str) -> bool:
        """Does a sentence speak of the body, and not of history or of what cannot be seen?"""
        if _only_history(read := self._sentence(sentence)):
            return False
        text = self._cleaner.clean(sentence)
        if self._limits.find(text) and SAYS_NOW.isdisjoint(text.split()):
            return False
        return bool(
            self._needs.find(text) or (self._findings.find(text) and not read)  # "pericardial ..."
        )

    def mentions(self, text: str) -> list[Mention]:
        """Every mention with its sentence: why a report is labelled as it is."""
        mentions = itertools.chain.from_iterable(self._sentences(text))
        return [
            replace(mention, status=_answered(mention.status))
            for mention in mentions
            if mention.status is not None
        ]

    def has_content(self, text: str) -> bool:
        """Does the report say anything of findings? One that does not has no labels."""
        return bool(self._cleaner.findings(text))

    def _sentences(self, text: str) -> list[tuple[Mention, ...]]:
        """The mentions of every sentence that speaks of findings, those of history too."""
        findings = self._cleaner.findings(text)
        return [self._sentence(raw) for raw in self._cleaner.sentences(findings)]

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
        return tuple(self._read(self._cleaner.clean(raw)))

    def _read(self, sentence: str, depth: int = 0) -> list[Mention]:
        """The mentions of a cleaned sentence; one that tells the sides apart is read in parts."""
        mentions = self._counted(self._findings.find(sentence))
        if " : " in sentence and len(mentions) > 1:
            mentions = _without_keys(mentions, sentence)
        if not mentions:
            return []
        if depth < MAX_PARTS and (parts := _parts(sentence, mentions)):
            return [found for part in parts for found in self._read(part, depth + 1)]
        spans: dict[type, list[Span]] = defaultdict(list)
        for span in self._scope.find(sentence):
            spans[type(span.meaning)].append(span)
        cues, stops = choose_cues(spans[Cue], mentions), choose_stops(spans[Stop])
        found = []
        for span in mentions:
            value = status(span, cues, stops, sentence, mentions)
            if span.meaning.kind == "absent" and value is not None:
                value = NEGATIVE
            if span.meaning.kind == "uncertain" and value == POSITIVE:
                value = UNCERTAIN
            if span.meaning.kind == "implied" and value is not None:
                value = None if value == NEGATIVE else UNCERTAIN
            phrase = sentence[span.start : span.end].strip()
            found.append(Mention(span.meaning.observation, value, phrase, sentence.strip()))
        return found

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
                        other.meaning.kind in ("mention", "absent", "uncertain")
                        and other.meaning.observation in covering
                        and other.end - other.start > span.end - span.start
                    )
                )
                for other in spans
            )
            if kind != "exclude" and (kind == "implied" or not hidden):
                counted.append(span)
        return counted


def _parts(sentence: str, mentions: list[Span]) -> list[str] | None:
    """The statements of a sentence that tells the sides apart, or that names a finding again."""
    if parts := name_again(sentence, [(span.start, span.end) for span in mentions]):
        return parts
    if tells_sides(sentence):
        for span in mentions:
            if parts := tell_sides_apart(sentence, span.start, span.end):
                return parts
    return None


def _without_keys(mentions: list[Span], sentence: str) -> list[Span]:
    """Without the key of a line whose value names the finding again: "Effusion: no effusion"."""
    return [
        span
        for span in mentions
        if not sentence.startswith(": ", span.end)
        or all(
            other.start <= span.end or other.meaning.observation != span.meaning.observation
            for other in mentions
        )
    ]


def _answered(status: int) -> int:
    """The label of a status: a question that nothing answers is uncertain."""
    return UNCERTAIN if status == ASKED else status


def _only_history(mentions: tuple[Mention, ...]) -> bool:
    """Does a sentence speak of history alone?"""
    return bool(mentions) and all(
        mention.status is None and SAYS_NOW.isdisjoint(mention.sentence.split())
        for mention in mentions
    )


def _finding_phrases(vocabulary: Vocabulary) -> list[tuple[str, _Mention]]:
    """Every phrase of the observations with what it stands for."""
    found = []
    for name, observation in vocabulary.observations.items():
        for kind, phrases in (
            ("mention", observation.mentions),
            ("absent", observation.absent),
            ("exclude", observation.exclude),
            ("uncertain", observation.uncertain),
        ):
            found += [(phrase, _Mention(name, kind)) for phrase in phrases]
    for implication in vocabulary.implications:
        meaning = _Mention(implication.observation, "implied")
        found += [(phrase, meaning) for phrase in implication.mentions]
    return found


def _scope_phrases(vocabulary: Vocabulary) -> list[tuple[str, Cue | Stop]]:
    """Every phrase of the scope rules with what it stands for."""
    scope = vocabulary.scope
    found: list[tuple[str, Cue | Stop]] = [(phrase, Cue(None)) for phrase in scope.pseudo]
    for rule in scope.cues.values():
        found += [(phrase, cue) for phrase in rule.phrases for cue in rule.cues]
    for group, phrases in scope.stops.items():
        found += [(phrase, Stop(group)) for phrase in phrases]
    return found
