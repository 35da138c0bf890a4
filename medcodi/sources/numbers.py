"""Numbers as hospitals write them: which notation a column of texts is in, or which ones it may be
in.

A cell is (bound) (currency) number (unit), as in "< 0,1 mg/L". A column has one notation. Where two
read all of its cells and give different numbers, both are returned, and nobody guesses.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache

from medcodi.data.notation import SPACES, beyond, parse_number

STYLES = (
    (".", ""),
    (",", ""),
    (".", ","),
    (",", "."),
    (".", " "),
    (",", " "),
    (".", "'"),
    (",", "'"),
)
SHARE_OF_NUMBERS = 0.95
BELOW = ("<=", "=<", "<", "≤", "less than", "under", "below")
ABOVE = (">=", "=>", ">", "≥", "more than", "greater than", "over", "above")
AND_ABOVE = r"\s+(?:and|or)\s+(?:over|older|more|above|up|higher|greater)"  # behind the number
AND_BELOW = r"\s+(?:and|or)\s+(?:under|younger|less|fewer|below|lower)"
KNOWN_UNITS = """
% ‰ mg g kg µg ug mcg ng pg fg t lb lbs oz l dl cl ml µl ul fl pl cc m dm cm mm µm um nm km in
inch ft s sec ms min mins minutes minute h hr hrs hour hours d day days w wk week weeks mo month
months y yr yrs year years a mmhg cmh2o kpa pa bar mbar bpm °c °f c k mol mmol µmol umol nmol pmol
mosm u iu ui miu mu ku meq eq hz khz mhz j kj cal kcal w kw v mv ma gy mgy cgy sv msv bq kbq mbq gbq
cells copies beats breaths hpf lpf m2 m² cm2 cm² mm2 mm² m3 cm3 mm3 cm³ mm³ m³ 1.73m2 1.73m² 10^9
10^12 10^6 10^3 x10^9 x10^12 x10^6 x10^3 pack-years packyears points pts x/min jahre jahr tage tag
stunden stunde std wochen woche monate monat ans an jours jour mois semaines semaine heures heure
yo y/o y.o. yrs. yr. mo. mos mths mth percent prozent pct nl tsd
thou thousand thousands mil mill million millions giga tera mcl mcmol mcgm gm gms kgs cms mls
"""
UNITS = frozenset(KNOWN_UNITS.split())
LONG_AGE = re.compile(r"[- ]+(old|of age|alt)$")  # behind a unit
SAME_UNITS = """
y yr yrs yr. yrs. year years yo y/o y.o. jahr jahre ans an
mo mo. mos month months mth mths monat monate mois
wk week weeks woche wochen semaine semaines
d day days tag tage jour jours
h hr hrs hour hours std stunde stunden heure heures
min mins minute minutes
µg ug mcg
% percent prozent pct
"""
SAME = {word: line.split()[0] for line in SAME_UNITS.split("\n") for word in line.split()}
POWER_SIGNS = "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺"
POWER_OF_TEN = re.compile(r"[x×·*]?\s*10\s?(?:\^|\*\*?|e|x|\()(-?\d{1,2})\)?", re.IGNORECASE)
COUNTED = re.compile(r"(\d{1,4}(?:[.,]\d{1,2})?)\s?(\S*)")  # a part of a unit: 24h, 100 mL, 1000
FIGURED = re.compile(  # a unit with a figure in front, behind its number: "5 10E9/L", "9.1 1000/uL"
    rf"(?P<number>.*\d)\s+(?P<unit>(?:[x×·*]\s?)?10(?:\^|\*\*?|[eE]|x|\(|(?=[{POWER_SIGNS}]))\S+"
    r"|1[.,]?000\s?/\s?\S+)"
)
GLUED = frozenset("gmshdlLy%‰")  # one letter after a digit that is a unit: 2A and 3C are codes
CELL = re.compile(
    rf"(?P<bound>{'|'.join(map(re.escape, (*BELOW, *ABOVE)))})?\s*(?P<prefix>[€$£¥]\s*)?"
    rf"(?P<core>[-+\u2212\u2013]?[\d.,'\u2019{SPACES}]*\d[.,]?(?:[eE][-+]?\d{{1,3}}(?![\d.]))?)"
    rf"(?P<plus>\+|{AND_ABOVE}$)?(?P<less>{AND_BELOW}$)?"
    r"(?P<suffix>\s*[^\d\s<>≤≥+\-(\[^*].{0,24})?",
    re.IGNORECASE,
)
CODE = re.compile(r"[-+]?0\d+")  # a leading zero is lost in a number


@dataclass(frozen=True)
class Cell:
    """One distinct text, taken apart. `bound`: "<", ">" or ""."""

    bound: str
    prefix: str
    core: str
    suffix: str


@dataclass
class Reading:
    """The cells of a column in one notation: `numbers` text -> number, of those that it reads;
    `censored` text -> bound."""

    decimal: str
    thousands: str
    prefix: str
    suffix: str
    numbers: dict[str, Decimal]
    censored: dict[str, float] = field(default_factory=dict)

    @property
    def style(self) -> tuple[str, str]:
        return self.decimal, self.thousands

    def places(self) -> int | None:
        """The number of decimals where every number has as many, and at least one."""
        marks = "." if self.decimal == "." else "," if self.decimal == "," else ".,"
        found = set()
        for text in self.numbers:
            core = take_apart(text, self.suffix.strip() or None).core
            if "e" in core.lower():
                return None
            position = max(core.rfind(mark) for mark in marks)
            found.add(len(core) - position - 1 if position >= 0 else 0)
        return found.pop() if len(found) == 1 and found != {0} else None


@dataclass
class Numbers:
    """What the texts of a column are as numbers: no reading (they are none), one, or several that
    differ; `mixed` says that cells have different units, or why no notation reads them all."""

    readings: list[Reading]
    mixed: str = ""
    units: tuple[str, ...] = ()


def take_apart(text: str, unit: str | None = None) -> Cell | None:
    """None for a text that is no number with a bound, a currency or a unit. `unit`: what is known
    to be one."""
    if not any(character.isdigit() for character in text):
        return None
    if not all(character.isprintable() or character in SPACES for character in text):
        return None
    figured = FIGURED.fullmatch(text)
    number = figured["number"] if figured and is_unit(figured["unit"]) else text
    if unit and text.endswith(unit):
        number = text.removesuffix(unit).rstrip()
    match = CELL.fullmatch(number)
    if match is None or "_" in text or (number != text and match["suffix"]):
        return None
    suffix = text[len(number) :] if number != text else match["suffix"] or ""
    if unit and suffix.strip() == unit:
        return Cell(_sign(match), match["prefix"] or "", match["core"].strip(), suffix)
    if suffix and not suffix[0].isspace() and not _is_glued_unit(suffix):
        return None
    if any(character.isdigit() for character in suffix) and not is_unit(suffix.strip()):
        return None  # "27. März 2020"
    return Cell(_sign(match), match["prefix"] or "", match["core"].strip(), suffix)


def _sign(cell: re.Match[str]) -> str:
    """The bound of a cell: "<", ">" or ""."""
    bound = cell["bound"] or ""
    if bound.lower() in BELOW or cell["less"]:
        return "<"
    return ">" if bound or cell["plus"] else ""


def _is_glued_unit(suffix: str) -> bool:
    return is_unit(suffix) and (len(suffix) > 1 or suffix in GLUED)


def is_unit(text: str) -> bool:
    """Whether a text is a unit, or several with / * ^ between."""
    text = LONG_AGE.sub("", _plain(text).lower())
    if text in UNITS:
        return True
    text = re.sub(r"\s*(/|\*|·|\bper\b)\s*", "/", text)
    parts = [
        re.sub(r"\^?-?[123]$", "", part) if part not in UNITS else part for part in text.split("/")
    ]
    return bool(text.strip("/")) and all(map(_is_part, parts))


def _is_part(part: str) -> bool:
    """Whether a part of a unit, between its strokes, is one: "l", "10^9", "24h", "1.73m"."""
    if part in UNITS or part in ("", "1") or POWER_OF_TEN.fullmatch(part):
        return True
    counted = COUNTED.fullmatch(part)
    return counted is not None and (
        counted[2] in UNITS or (not counted[2] and counted[1] == "1000")
    )


def _plain(unit: str) -> str:
    """A unit in the characters of a keyboard: "×10⁹/L" is "x10^9/L"."""
    unit = re.sub(rf"[{POWER_SIGNS}]+", lambda found: f"^{found[0].translate(_DIGITS)}", unit)
    unit = re.sub(r"(?<![\d.,])1[.,]000(?!\d)", "1000", unit)
    unit = re.sub(r"(?<=/)(\d+(?:\.\d+)?)\s(?=[^\W\d])", r"\1", unit)
    return POWER_OF_TEN.sub(r"x10^\1", unit.replace("μ", "µ").strip())


_DIGITS = str.maketrans(POWER_SIGNS, "0123456789-+")


@lru_cache(maxsize=4096)
def same_unit(unit: str) -> str:
    """What all spellings of a unit have in common: "yrs" and "y/o" are "y". The case of a single
    letter says something: G/L and g/L differ."""
    text = LONG_AGE.sub("", _plain(unit))
    if text.lower() in SAME:
        return SAME[text.lower()]
    parts = [re.sub(r"([mµdcfnu]?)[lL]", r"\1L", p) for p in re.split(r"\s*/\s*", text)]
    parts = [part if len(part) < 2 else part.lower() for part in parts]
    return "/".join(SAME.get(part, part) for part in parts)


def read_numbers(
    counts: Mapping[str, int], style: tuple[str, str] | None = None, unit: str | None = None
) -> Numbers:
    """The readings of distinct texts with their counts. `style`: the notation, where it is known;
    `unit`: the suffix, where it is known."""
    cells = {text: cell for text in counts if (cell := take_apart(text, unit)) is not None}
    total = sum(counts.values())
    if not cells or sum(counts[text] for text in cells) < SHARE_OF_NUMBERS * total:
        return Numbers([])
    if any(CODE.fullmatch(cell.core) for cell in cells.values()):
        return Numbers([])
    prefix, suffix, told = _affixes(cells, counts, unit)
    if told is not None:
        return told
    found = []
    for decimal, thousands in [style] if style else STYLES:
        numbers = {
            text: number
            for text, cell in cells.items()
            if (number := parse_number(cell.core, decimal, thousands)) is not None
        }
        weight = sum(counts[text] for text in numbers)
        if weight:
            found.append((weight, Reading(decimal, thousands, prefix, suffix, numbers)))
    best = max((weight for weight, _ in found), default=0)
    if best < SHARE_OF_NUMBERS * total:
        marks = sorted({mark for cell in cells.values() for mark in ".," if mark in cell.core})
        mixed = "the decimal mark changes from cell to cell" if len(marks) == 2 else ""
        return Numbers([], mixed)
    readings: list[Reading] = []
    for weight, reading in found:
        if weight == best and all(reading.numbers != other.numbers for other in readings):
            readings.append(reading)
    for reading in readings:
        _censor(reading, cells, counts)
    return Numbers(readings)


def _affixes(
    cells: dict[str, Cell], counts: Mapping[str, int], unit: str | None
) -> tuple[str, str, Numbers | None]:
    """The currency and the unit of a column; instead of them, what is told where there are
    several."""
    prefixes = Counter()
    suffixes: dict[str, Counter[str]] = {}
    for text, cell in cells.items():
        prefixes[cell.prefix] += counts[text]
        suffixes.setdefault(same_unit(cell.suffix), Counter())[cell.suffix] += counts[text]
    if len({prefix.strip() for prefix in prefixes}) > 1:
        return "", "", Numbers([], "the currency changes from cell to cell")
    if unit is not None:
        wanted = same_unit(unit)
        suffix = max(suffixes[wanted], key=suffixes[wanted].get) if wanted in suffixes else unit
        for text in [t for t, cell in cells.items() if same_unit(cell.suffix) not in ("", wanted)]:
            del cells[text]
    elif len(suffixes) > 1:
        spelled = {key: max(found, key=found.get).strip() for key, found in suffixes.items()}
        if all(not key or is_unit(key) for key in spelled.values()):
            units = tuple(sorted(spelled.values()))
            named = ", ".join(repr(key) if key else "none" for key in units)
            return "", "", Numbers([], f"the unit changes from cell to cell ({named})", units)
        return "", "", Numbers([])
    else:
        suffix = max(next(iter(suffixes.values())).items(), key=lambda item: item[1])[0]
        if suffix and not is_unit(suffix.strip()) and len(cells) < 3:
            return "", "", Numbers([])
    return max(prefixes, key=prefixes.get), suffix, None


def _censor(reading: Reading, cells: dict[str, Cell], counts: Mapping[str, int]) -> None:
    """Take the cells with a bound out of `numbers`."""
    taken: dict[float, tuple[str, Decimal, bool]] = {}
    bounded = [text for text in reading.numbers if cells[text].bound]
    for text in sorted(bounded, key=lambda text: -counts[text]):
        number, above = reading.numbers.pop(text), cells[text].bound == ">"
        closed = bool(re.search(r"[=≤≥+]| (?:and|or) ", text))
        same = next((v for v, key in taken.items() if key == (closed, number, above)), None)
        value = same if same is not None else beyond(float(number), above, set(taken))
        taken[value] = (closed, number, above)
        reading.censored[text] = value


def collisions(reading: Reading) -> tuple[str, str] | None:
    """Two texts of different numbers that are one 64-bit number, None where there are none."""
    seen: dict[float, tuple[Decimal, str]] = {}
    for text, number in reading.numbers.items():
        other = seen.setdefault(float(number), (number, text))
        if other[0] != number:
            return other[1], text
    return None
