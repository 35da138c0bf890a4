"""Categories of a column of texts: spellings of one thing are one category, nothing else is
merged, and what was merged is told."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

YES = "true yes y t 1 on x ja j oui o si sí sì s sim ✓ ✔ + pos positive positiv present"
NO = "false no n f 0 off nein non nee não nao - neg negative negativ absent none"
TRUTHS = frozenset(YES.split()), frozenset(NO.split())
MALE = "m male man mann männlich männl maennlich herr homme masculin hombre masculino maschio"
FEMALE = "f female woman w frau weiblich weibl femme féminin feminin mujer femenino femmina"
SEXES = frozenset(MALE.split()), frozenset(FEMALE.split())
NUMBER = r"(-?\d+(?:\.\d+)?)"
INTERVAL = re.compile(
    rf"(?:[\[(]\s*)?(?:[<>≥≤]=?|=)?\s*{NUMBER}\s*"
    rf"(?:(?:(?<=\d)\s*(?:-|\u2013|to|\.\.)\s*(?:[<≤]=?\s*)?{NUMBER})|\+)?\s*[\])]?"
)
PAIR = re.compile(rf"[\[(]\s*{NUMBER}\s*[,;]\s*(?:{NUMBER}|inf)\s*[\])]", re.IGNORECASE)
SAME_1, SAME_0 = "\0one", "\0other"  # keys of merged groups, which no text has
FIRST, LAST = re.compile(r"[<≤]"), re.compile(r"[>≥]|\+$")


@dataclass
class Levels:
    """`categories` in order; `map` raw text -> category, of those that differ; `changed` tells it;
    `clash` says which two levels would become one and only one would be left."""

    categories: list[str]
    map: dict[str, str] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)
    clash: str = ""


def is_interval(text: str) -> bool:
    return bool(INTERVAL.fullmatch(text) or PAIR.fullmatch(text))


def read_levels(counts: Mapping[str, int]) -> Levels:
    """Levels of texts with their counts: case and blanks do not tell levels apart, nor do words of
    one truth value where both values occur."""
    groups: dict[str, Counter[str]] = {}
    for text, n in counts.items():
        groups.setdefault(_key(text), Counter())[text] += n
    if len(groups) == 1 and len(counts) > 1:
        return Levels(sorted(counts), clash=" and ".join(map(repr, sorted(counts)[:2])))
    for pair in (TRUTHS, SEXES):
        groups = _merged(groups, *pair)
    named = {
        _spelling(group, prefer=-1 if key in (SAME_0, SAME_1) else 1): group
        for key, group in groups.items()
    }
    if all(is_interval(text) for text in named):
        order = sorted(named, key=_lower_end)
    else:
        order = sorted(named)
    return _levels(order, named)


def _key(text: str) -> str:
    """What spellings of one level have in common: no case, single blanks, composed letters, nothing
    invisible."""
    seen = "".join(one for one in text if unicodedata.category(one) != "Cf")
    return " ".join(unicodedata.normalize("NFC", seen).split()).casefold()


def number_levels(
    numbers: Mapping[str, Decimal], counts: Mapping[str, int], censored: Mapping[str, float]
) -> Levels:
    """Levels of numbers, and of bounds, in their order; each keeps its most frequent spelling."""
    groups: dict[Decimal | float, Counter[str]] = {}
    for text, number in numbers.items():
        groups.setdefault(number, Counter())[text] += counts[text]
    for text, bound in censored.items():
        groups.setdefault(bound, Counter())[text] += counts[text]
    named = {_spelling(groups[number]): groups[number] for number in sorted(groups, key=float)}
    return _levels(list(named), named)


def _levels(order: list[str], named: Mapping[str, Counter[str]]) -> Levels:
    mapped = {text: name for name in order for text in named[name] if text != name}
    changed = [f"{text!r} ({named[name][text]}) is {name!r}" for text, name in mapped.items()]
    return Levels(order, mapped, changed)


def _spelling(group: Counter[str], prefer: int = 1) -> str:
    """The most frequent spelling, the shortest (-1: longest) of equally frequent ones, capitals
    first."""
    return min(group, key=lambda text: (-group[text], prefer * len(text), text))


def _merged(
    groups: dict[str, Counter[str]], ones: frozenset[str], others: frozenset[str]
) -> dict[str, Counter[str]]:
    """Groups that say the same in `ones`, and in `others`, made one where a column has both. Beside
    further levels only words of two letters or more, and letters that such a word begins with."""
    sides = {key: SAME_1 if key in ones else SAME_0 if key in others else key for key in groups}
    if not {SAME_0, SAME_1} <= set(sides.values()):
        return groups
    if set(sides.values()) > {SAME_0, SAME_1}:
        words = [key for key, side in sides.items() if side != key and len(key) > 1]
        if not words:
            return groups
        sides = {
            key: side if key in words or (key.isalpha() and _fits(key, words)) else key
            for key, side in sides.items()
        }
    merged: dict[str, Counter[str]] = {}
    for key, group in groups.items():
        merged.setdefault(sides[key], Counter()).update(group)
    return merged


def _fits(letter: str, words: Iterable[str]) -> bool:
    """Whether a letter is the beginning of one of the words: y of yes."""
    return any(word.startswith(letter) for word in words)


def _lower_end(text: str) -> tuple[float, int]:
    start = float(re.search(NUMBER, text)[1])
    return start, -1 if FIRST.match(text) else 1 if LAST.search(text) else 0
