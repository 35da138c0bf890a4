"""What is found out about a column, and how an ambiguity is told."""

import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any, NamedTuple

from medcodi.sources.mapping import ColumnRules

EXAMPLES = 3


@dataclass
class ColumnCorrection(ColumnRules):
    """What a column really is, in place of what was inferred; `type` drop leaves it out."""

    type: str = ""


@dataclass
class Country:
    """What a whole table says about the marks inside numbers: `decimal`, `thousands` where it is
    known, whether a decimal comma is likely, and whether a decimal point is certain."""

    style: tuple[str, str] | None = None
    comma: bool = False
    point: bool = False


class Finding(NamedTuple):
    """What the values of a column are; `details` are further arguments of the mapping."""

    kind: str
    why: str
    details: dict[str, Any]
    changed: list[str]
    ambiguous: str


def finding(
    kind: str,
    why: str,
    details: dict[str, Any] | None = None,
    changed: list[str] | None = None,
    ambiguous: str = "",
) -> Finding:
    return Finding(kind, why, details or {}, changed or [], ambiguous)


def settle(name: str, what: str, *lines: str) -> str:
    """An ambiguity with the lines of YAML, one of which settles it."""
    key = name if re.fullmatch(r"[A-Za-z][\w.-]*", name) else json.dumps(name, ensure_ascii=False)
    told = " or ".join(f"`{key}: {{{line}}}`" for line in lines)
    return f"{what}. Settle it under `columns:` by {told}"


def unread(texts: list[str], counts: Counter[str], what: str) -> list[str]:
    if not texts:
        return []
    told = ", ".join(f"{text[:30]!r} ({counts[text]})" for text in texts[:EXAMPLES])
    return [f"{sum(counts[t] for t in texts)} values are no {what}, to be listed: {told}"]


def known_style(rules: ColumnCorrection, country: Country) -> tuple[str, str] | None:
    if rules.decimal or rules.thousands:
        return rules.decimal or ".", rules.thousands
    return country.style
