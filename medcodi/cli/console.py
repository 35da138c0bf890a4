"""What the commands share: where they print, and how they read lists."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

console = Console()


def show_table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(*head, title=title)
    for row in rows:
        table.add_row(*row)
    console.print(table)


def show_counts(title: str, counts: Mapping[str, Any]) -> None:
    table = Table(title=title)
    table.add_column("what")
    table.add_column("count", justify="right")
    for key, value in counts.items():
        table.add_row(key, str(value))
    console.print(table)


def names(text: str) -> list[str]:
    """`a,b` -> ["a", "b"]."""
    return [name.strip() for name in text.split(",") if name.strip()]
