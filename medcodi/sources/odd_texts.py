"""Texts that look like numbers or times in a form that is not known: no names of rows, and no
categories without a question."""

import json
import re
from collections import Counter

from medcodi.data.notation import parse_number
from medcodi.sources import moments, numbers
from medcodi.sources.finding import EXAMPLES, settle
from medcodi.sources.number_kinds import MAX_LEVELS

LEAST_NUMBERS = 3  # different ones that make a column of numbers with texts among them
DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}")
NO_DATE = re.compile(r"0{1,4}[-/.]0{1,2}[-/.]0{1,4}.*")
BELOW_DETECTION = re.compile(
    r"blq|bloq|bdl|bql|<?\s*(?:lod|loq|lloq)|n\.?d\.?|(?:not detect|undetect|below ).*",
    re.IGNORECASE,
)
YEAR, MONTH = r"(?:19|20)\d\d", r"[^\W\d_]{3,12}\.?"
TIME = re.compile(  # a time of a day, a day with the name of its month, how long something took
    r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}\D.{0,12}\d\d?:\d\d.{0,16}|\d+:\d\d(:\d\d)?(\.\d+)?"
    r"|.{0,24}\b\d\d?[:.]\d\d[:.]\d\d.{0,16}|\d+ ?(d|days?)[ ,]+\d.{0,20}|P(?=T?\d)[\dYMWDTHS.]+"
    rf"|\D{{0,12}}\d\d?\W.{{0,4}}{MONTH}\D{{1,4}}{YEAR}.{{0,16}}"
    rf"|{MONTH} \d\d?\D{{1,4}}{YEAR}.{{0,16}}"
)
FIGURED = re.compile(r"(?P<number>[-+]?\d+(?:[.,]\d+)?)(?P<rest>\s*['\"%(*].*|\s.*)", re.DOTALL)


def odd_texts(counts: Counter[str], name: str) -> str:
    """What settles texts that are, for the most part, numbers or times in another form; "" for
    other texts."""
    total = sum(counts.values())
    return (
        _among_days(counts, name, total)
        or _among_numbers(counts, name, total)
        or _times(counts, name, total)
        or _figured(counts, name, total)
    )


def _among_days(counts: Counter[str], name: str, total: int) -> str:
    """Texts among days."""
    days = moments.most_days(counts)
    odd = [json.dumps(t[:30], ensure_ascii=False) for t in counts if t not in days]
    if not odd or sum(counts[text] for text in days) <= total / 2 or any(map(_is_plain, counts)):
        return ""
    what = f"most are dates, others are not ({', '.join(odd[:EXAMPLES])})"
    lines = (f"missing: [{', '.join(odd[:EXAMPLES])}]", "type: categorical", "type: drop")
    return settle(name, what, *lines)


def _among_numbers(counts: Counter[str], name: str, total: int) -> str:
    """Texts among numbers."""
    plain = [text for text in counts if _is_plain(text)]
    rest = [text for text in counts if text not in plain]
    share = sum(counts[text] for text in plain) / total
    if len(plain) < LEAST_NUMBERS or share <= 0.5 or not rest or any(map(str.isspace, rest)):
        return ""
    told = [json.dumps(text[:30], ensure_ascii=False) for text in rest[:EXAMPLES]]
    what = f"most are numbers, others are not ({', '.join(told)})"
    return settle(name, what, f"missing: [{', '.join(told)}]", "type: categorical")


def _times(counts: Counter[str], name: str, total: int) -> str:
    times = [text for text in counts if TIME.fullmatch(text)]
    if sum(counts[text] for text in times) <= total / 2:
        return ""
    what = f"{times[0]!r} looks like a time or a date in a form that is not known"
    return settle(name, what, 'date_format: "FORM"', "type: categorical", "type: drop")


def _figured(counts: Counter[str], name: str, total: int) -> str:
    """Numbers with other texts behind them."""
    found = {text: match for text in counts if (match := FIGURED.fullmatch(text))}
    different = {match["number"] for match in found.values()}
    rests = {match["rest"] for match in found.values()}
    several = sum(any(map(str.isdigit, rest)) for rest in rests) > len(rests) / 2  # "5 ft 4 in"
    few = len(different) < LEAST_NUMBERS and not (several and len(counts) > MAX_LEVELS)
    if few or sum(counts[text] for text in found) <= total / 2:
        return ""
    what = f"{next(iter(found))!r} is a number with a text behind it"
    if len(rests) == 1 and len(found) == len(counts):
        suffix = f"suffix: {json.dumps(rests.pop(), ensure_ascii=False)}"
        return settle(name, what, suffix, "type: categorical")
    if len(counts) <= MAX_LEVELS:
        return ""
    return settle(name, what, "type: categorical", "type: drop")


def _is_plain(text: str) -> bool:
    return parse_number(text) is not None


def are_values(counts: Counter[str]) -> bool:
    """Whether most texts are numbers with something about them, or times: no names of rows."""
    found = [text for text in counts if numbers.take_apart(text) and not text.isdigit()]
    times = [text for text in counts if TIME.fullmatch(text)]
    return max(len(found), len(times)) > len(counts) / 2 and not moments.read_moments(counts).forms


def about_text(counts: Counter[str], total: int) -> str:
    """Why a column is free text, and what would make it more."""
    why = f"{len(counts)} texts in {total} rows"
    cells = {text for text in counts if numbers.take_apart(text) is not None}
    if sum(counts[text] for text in cells) > total / 2:
        rest = [text for text, _ in counts.most_common() if text not in cells]
        if rest:
            told = ", ".join(json.dumps(t[:30], ensure_ascii=False) for t in rest[:EXAMPLES])
            bound = f" or as `censored: {{{json.dumps(rest[0][:30], ensure_ascii=False)}: BOUND}}`"
            bound = bound if BELOW_DETECTION.fullmatch(rest[0]) else ""
            return f"{why}; most are numbers: list the others as `missing: [{told}]`{bound}"
    if sum(counts[text] for text in counts if TIME.fullmatch(text)) > total / 2:
        return f"{why}; they look like times or dates in a form that is not known: date_format"
    rest = [text for text, _ in counts.most_common() if not DATE.match(text)]
    rest += [text for text in counts if NO_DATE.fullmatch(text)]
    if rest and sum(counts[text] for text in rest) < total / 2:
        told = ", ".join(json.dumps(t[:30], ensure_ascii=False) for t in rest[:EXAMPLES])
        return f"{why}; most look like dates: list the others as `missing: [{told}]`"
    return why
