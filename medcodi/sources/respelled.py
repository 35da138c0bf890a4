"""Cells that say a number or a date in another spelling: in full-width characters, "(7.56)" and
"7.56-" for negative numbers, "1.2 x 10^3". Each is read as the plain text that it stands for, and
told."""

import re
from collections.abc import Iterable

from medcodi.sources.numbers import POWER_SIGNS, take_apart

WIDE = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)} | {0x3000: " "}
ACCOUNTING = re.compile(r"\(\s*[$€£]?\s*\d[\d.,' ]*\)")
MINUS_BEHIND = re.compile(r"\d[\d.,' ]*[-\u2212]")
POWER = re.compile(
    r"([-+\u2212]?\d+(?:[.,]\d+)?)\s*[x×·*]\s*10"
    rf"(?:(?:\^|\*\*)([-+\u2212]?\d{{1,2}})|([{POWER_SIGNS}]{{1,3}}))"
)


def respelled(texts: Iterable[str]) -> dict[str, str]:
    """text -> the plain text that it stands for, of those that have another spelling; {} where the
    spelling is that of the whole column and says nothing else."""
    texts = list(texts)
    wide = {t: plain for t in texts if (plain := t.translate(WIDE)) != t and plain.isascii()}
    if any(any(map(str.isdigit, text)) for text in wide):
        return wide
    for pattern, plain in ((ACCOUNTING, _in_brackets), (MINUS_BEHIND, _minus_behind)):
        found = {text: plain(text) for text in texts if pattern.fullmatch(text)}
        if 0 < len(found) < len(texts):
            return found
    powers = {text: match for text in texts if (match := POWER.fullmatch(text))}
    exponents = {_exponent(match) for match in powers.values()}
    others = [text for text in texts if text not in powers and take_apart(text) is not None]
    if powers and (len(exponents) > 1 or others):  # else it is a unit
        return {text: f"{match[1]}e{_exponent(match)}" for text, match in powers.items()}
    return {}


def _in_brackets(text: str) -> str:
    return f"-{text[1:-1].strip()}"


def _minus_behind(text: str) -> str:
    return f"-{text[:-1].strip()}"


def _exponent(match: re.Match[str]) -> int:
    written = match[2] or match[3].translate(str.maketrans(POWER_SIGNS, "0123456789-+"))
    return int(written.replace("\u2212", "-"))
