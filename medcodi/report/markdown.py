"""Markdown tables."""

from collections.abc import Iterable, Sequence


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Lines of a Markdown table, without a line end behind the last one; cells become text on one
    line, their bars escaped.

    Raises ValueError for a row that has another number of cells than `head`.
    """
    lines = [_line(head), "| --- " * len(head) + "|"]
    for row in rows:
        if len(row) != len(head):
            raise ValueError(f"expected {len(head)} cells ({', '.join(head)}), got {list(row)}")
        lines.append(_line(row))
    return "\n".join(lines)


def _line(cells: Sequence[object]) -> str:
    escaped = (str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells)
    return f"| {' | '.join(escaped)} |"
