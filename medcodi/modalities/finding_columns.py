"""Which columns of a table are findings, and what they answer: yes, no, perhaps uncertain."""

from typing import Any

from medcodi.data.column import TRUTH, Column
from medcodi.data.notation import parse_number
from medcodi.data.table import TableSchema
from medcodi.labeler import NEGATIVE, POSITIVE, UNCERTAIN

SAID = {
    POSITIVE: {*TRUTH[True], "present", "positive"},
    NEGATIVE: {*TRUTH[False], "absent", "negative"},
    UNCERTAIN: {"-1", "uncertain", "possible"},
}


def findings_of(schema: TableSchema) -> dict[str, dict[int, Any]]:
    """column -> status of a label -> stored value, of the columns that answer yes and no: by
    categories that mean this, or by the numbers 1 and 0, with -1 for uncertain."""
    answers = {column.name: _answers(column) for column in schema.columns}
    return {name: found for name, found in answers.items() if found.keys() >= {POSITIVE, NEGATIVE}}


def _answers(column: Column) -> dict[int, Any]:
    if column.type == "integer" and column.maximum == 1 and column.minimum in (-1, 0):
        return {n: float(n) for n in (POSITIVE, NEGATIVE, UNCERTAIN) if n >= column.minimum}
    words = {_word(category): category for category in column.categories}
    said = {status: [words[w] for w in words if w in SAID[status]] for status in SAID}
    return {status: found[0] for status, found in said.items() if len(found) == 1}


def _word(category: str) -> str:
    """`1` for 1.0, lower case."""
    number = parse_number(category)
    return category.casefold() if number is None else f"{number.normalize():f}"
