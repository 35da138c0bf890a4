"""Phrases: the small pattern language of the vocabularies, and one table that finds all of them in
one pass.

A phrase is a row of words. Each word also matches its regular plural. Beyond plain words:

    a/b        one of several, `_` joins the words of a longer one: `heart/cardiac_silhouette`
    <set>      one of a named set of the vocabulary's `sets`
    word?      may be missing (also `a/b?` and `<set>?`)
    opaci*     any ending
    word!      exactly so, no plural
    ...        up to 4 words in between (`...9`: up to 9), never across punctuation or a word of
    `gap_stops`
    , : ;      punctuation; `.` is the end of the sentence

The first word of a phrase is never optional and never a gap.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

PUNCTUATION = {",", ":", ";", "(", ")", "."}
GAP = re.compile(r"\.\.\.(\d*)")
DEFAULT_GAP = 4


@dataclass(frozen=True)
class Span:
    """A found phrase: characters [start, end) of a cleaned sentence, and what the phrase stands
    for."""

    start: int
    end: int
    meaning: Any


def _word(word: str) -> str:
    """The regex of one word, with its regular plural."""
    if word in PUNCTUATION:
        return re.escape(word)
    if word.endswith("!"):
        return re.escape(word[:-1])
    if word.endswith("*"):
        return re.escape(word[:-1]) + r"[a-z0-9]*"
    if len(word) < 4 or not word.isalpha():
        return re.escape(word)
    if word[-1] == "y" and word[-2] not in "aeiou":
        return re.escape(word[:-1]) + "(?:y|ies)"
    return re.escape(word) + "(?:s|es)?"


def _forms(word: str) -> tuple[set[str], str | None]:
    """What `_word` matches: the words themselves, and the beginning of any others."""
    if word.endswith("*"):
        return set(), word[:-1]
    if word in PUNCTUATION or word.endswith("!") or len(word) < 4 or not word.isalpha():
        return {word.removesuffix("!")}, None
    if word[-1] == "y" and word[-2] not in "aeiou":
        return {word, word[:-1] + "ies"}, None
    return {word, word + "s", word + "es"}, None


class PhraseCompiler:
    """Turns phrases to regexes over cleaned sentences (words and punctuation, each followed by one
    blank)."""

    def __init__(self, sets: Mapping[str, Sequence[str]], gap_stops: Sequence[str] = ()) -> None:
        self.sets = sets
        unless = f"(?!(?:{'|'.join(map(re.escape, gap_stops))}) )" if gap_stops else ""
        self.gap_word = f"{unless}[^ ,:;().]+ "

    def alternatives(self, element: str) -> list[list[str]]:
        """The words of every alternative of one element, `_` split: [["heart"], ["cardiac",
        "silhouette"]]."""
        found = []
        for part in element.split("/"):
            name = part[1:-1]
            if not (part.startswith("<") and part.endswith(">")):
                found.append(part.split("_"))
            elif name in self.sets:
                found += [
                    option
                    for entry in self.sets[name]
                    for option in self.alternatives(entry.replace(" ", "_"))
                ]
            else:
                raise ValueError(
                    f"unknown set {part}; the vocabulary's sets are {sorted(self.sets)}"
                )
        return found

    def compile(self, phrase: str) -> tuple[list[str], re.Pattern]:
        """(the words that the phrase may begin with, regex of the whole phrase). ValueError names
        what is wrong with it."""
        elements = phrase.lower().split()
        if not elements or GAP.fullmatch(elements[0]) or elements[0].endswith("?"):
            raise ValueError(
                f"phrase {phrase!r} must begin with a word that is neither a gap nor optional"
            )
        try:
            pattern = "".join(map(self._element, elements))
            first = [option[0] for option in self.alternatives(elements[0])]
        except ValueError as error:
            raise ValueError(f"phrase {phrase!r}: {error}") from None
        return first, re.compile(pattern)

    def needed(self, phrase: str) -> frozenset[str]:
        """Words, one of which every match of `phrase` holds behind a gap of it; empty where that is
        not known."""
        elements, forms = phrase.lower().split(), frozenset[str]()
        gaps = [place for place, element in enumerate(elements) if GAP.fullmatch(element)]
        for element in elements[gaps[0] :] if gaps else ():
            if GAP.fullmatch(element) or element.endswith("?"):
                continue
            found = [_forms(option[0]) for option in self.alternatives(element)]
            if not any(beginning for _, beginning in found):
                forms = frozenset().union(*(words for words, _ in found))
        return forms

    def _element(self, element: str) -> str:
        if gap := GAP.fullmatch(element):
            return f"(?:{self.gap_word}){{0,{gap[1] or DEFAULT_GAP}}}?"
        optional = element.endswith("?")
        options = [
            "".join(f"{_word(word)} " for word in option)
            for option in self.alternatives(element.removesuffix("?"))
        ]
        return f"(?:{'|'.join(options)}){'?' if optional else ''}"


Candidate = tuple[re.Pattern, frozenset[str], Any]  # a phrase, words that it needs, its meaning


class PhraseTable:
    """Finds every phrase of a vocabulary. Candidates are looked up by the word at hand (remembered
    a word), so that the cost grows with the words of a sentence and hardly with the number of
    phrases."""

    def __init__(self, compiler: PhraseCompiler, phrases: Iterable[tuple[str, Any]]) -> None:
        self._words: dict[str, list[Candidate]] = defaultdict(list)
        self._beginnings: list[tuple[str, Candidate]] = []
        self._by_word: dict[str, list[Candidate]] = {}
        for phrase, meaning in phrases:
            first, regex = compiler.compile(phrase)
            candidate = (regex, compiler.needed(phrase), meaning)
            for form in sorted(set().union(*(_forms(word)[0] for word in first))):
                self._words[form].append(candidate)
            self._beginnings += [
                (beginning, candidate)
                for word in first
                if (beginning := _forms(word)[1]) is not None
            ]

    def find(self, sentence: str) -> list[Span]:
        """Every match of every phrase, by start; phrases may overlap."""
        found, start = [], 0
        words = sentence.split()
        held = frozenset(words)
        for word in words:
            candidates = self._by_word.get(word)
            if candidates is None:
                candidates = self._by_word[word] = self._candidates(word)
            for regex, needed, meaning in candidates:
                if needed and held.isdisjoint(needed):
                    continue
                if match := regex.match(sentence, start):
                    found.append(Span(start, match.end(), meaning))
            start += len(word) + 1
        return found

    def _candidates(self, word: str) -> list[Candidate]:
        begun = [entry for beginning, entry in self._beginnings if word.startswith(beginning)]
        return [*self._words.get(word, ()), *begun]
