"""Published values beside ours: `papers.yaml` as rows of kind "paper"."""

import functools
from collections.abc import Container
from pathlib import Path
from typing import Any

from medcodi.config_io import load_yaml, unknown_key
from medcodi.evaluation.table import Row

PAPERS = Path(__file__).with_name("papers.yaml")


def published(table: str, columns: Container[str] | None = None) -> list[Row]:
    """The rows of a key of `papers.yaml`, such as "T4" or "T8 F"; with `columns`, only their cells.
    ValueError for an unknown key and for a row that has more or fewer values than columns."""
    blocks = _load()
    if table not in blocks:
        raise unknown_key(table, blocks, PAPERS.name)
    rows = []
    for block in blocks[table]:
        for system, values in block["rows"].items():
            try:
                cells = dict(zip(block["columns"], values, strict=True))
            except ValueError as error:
                raise ValueError(f"{PAPERS.name}, {table}, {system!r}: {error}") from None
            kept = {k: v for k, v in cells.items() if columns is None or k in columns}
            rows.append(Row(system, "paper", kept, block.get("n")))
    return rows


@functools.cache
def _load() -> dict[str, list[dict[str, Any]]]:
    return load_yaml(PAPERS)
