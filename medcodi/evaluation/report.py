"""report.html (self-contained), report.md and report.json of an evaluation: tables with floors and
the paper's rows."""

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import medcodi
from medcodi.data.prepared import PreparedDataset
from medcodi.evaluation.context import EvaluationContext
from medcodi.files import jsonable, write_text
from medcodi.report.html import data_url, render
from medcodi.report.markdown import markdown_table

KIND_NAMES = {
    "ours": "generated",
    "baseline": "baseline",
    "floor": "floor",
    "real": "real",
    "paper": "published",
}

SUBGROUPS = (
    "By subgroup: means of the values by study, intervals by patient. Gap: highest mean minus "
    "lowest. Floor: the gap of groups of the same sizes, drawn at random; a gap is news when it is "
    "above that."
)
SUBGROUP_HEAD = ["system", "metric", "column", "groups", "gap", "floor"]


def write_report(context: EvaluationContext, tables: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Write the three files into `context.output`; returns the document of report.json."""
    has_model = (context.pipeline_dir / "model_index.json").is_file()
    document = jsonable(
        {
            "name": context.recipe.name,
            "medcodi": medcodi.__version__,
            "data": context.recipe.data.prepared,
            "data_source": _source(context),
            "model_hash": context.generations.model_hash if has_model else None,
            "settings": dataclasses.asdict(context.settings),
            "seconds": round(sum(t["seconds"] for t in tables.values()), 1),
            "tables": tables,
        }
    )
    context.output.mkdir(parents=True, exist_ok=True)
    write_text(context.output / "report.json", json.dumps(document, indent=1))
    write_text(context.output / "report.md", markdown(document))
    write_text(context.output / "report.html", page(document))
    return document


def _source(context: EvaluationContext) -> str:
    """The source that wrote the prepared folder, as its index says."""
    source = PreparedDataset.load(context.recipe.data.prepared, "test").index["notes"].get("source")
    return source if isinstance(source, str) else "folder"


def cell_text(value: Any) -> str:
    """A cell of a table's JSON as text: numbers with three significant digits, estimates with their
    interval."""
    if isinstance(value, dict):
        text = cell_text(value["value"])
        return (
            text
            if value.get("low") is None
            else f"{text} [{cell_text(value['low'])}, {cell_text(value['high'])}]"
        )
    if value is None:
        return "n/a"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, int) or value == 0:
        return str(int(value))
    if abs(value) < 5e-5:
        return f"{value:.0e}"
    digits = max(0, 2 - math.floor(math.log10(abs(value)))) if abs(value) < 100 else 0
    return f"{value:.{min(max(digits, 2 if abs(value) < 10 else digits), 6)}f}"


def row_cells(row: dict[str, Any], columns: Sequence[str]) -> list[str]:
    """Cells in the order of the columns; empty where the system has none. Published numbers stand
    as they were published."""
    text = (
        (lambda v: f"{v:.6g}" if isinstance(v, float) else cell_text(v))
        if row["kind"] == "paper"
        else cell_text
    )
    return [text(row["cells"][c]) if c in row["cells"] else "" for c in columns]


def _size(row: dict[str, Any]) -> str:
    return "" if row.get("n") is None else str(row["n"])


def _facts(document: dict[str, Any]) -> dict[str, str]:
    settings = document["settings"]
    states = [table["status"] for table in document["tables"].values()]
    return {
        "recipe": document["name"],
        "data": document["data_source"],
        "model": document["model_hash"] or "none",
        "studies a route, at most": str(settings["num_studies"]),
        "sampling steps": str(settings["num_inference_steps"]),
        "seed": str(settings["seed"]),
        "tables": f"{states.count('done')} of {len(states)}",
        "minutes": f"{document['seconds'] / 60:.1f}",
    }


def _heading(key: str, table: dict[str, Any]) -> str:
    return f"{' / '.join([key, *table['also']])}: {table['title']}"


def _evidence(table: dict[str, Any]) -> str:
    result = table["result"]
    seeds = ", ".join(map(str, result["seeds"])) or "none drawn"
    stale = "; from other settings, data or weights than the present ones" if table["stale"] else ""
    return f"n = {result['n']}; seeds: {seeds}; {table['seconds']:.0f} s{stale}"


def markdown(document: dict[str, Any]) -> str:
    facts = "; ".join(f"{k}: {v}" for k, v in _facts(document).items())
    parts = [f"# Evaluation of {document['name']}", facts]
    for key, table in document["tables"].items():
        parts.append(f"## {_heading(key, table)}")
        if table["status"] != "done":
            parts.append(f"{table['status']}: {table['message']}")
            continue
        result = table["result"]
        head = ["system", "what", "N", *result["columns"]]
        rows = [
            [row["system"], KIND_NAMES[row["kind"]], _size(row), *row_cells(row, result["columns"])]
            for row in result["rows"]
        ]
        parts += [_evidence(table), markdown_table(head, rows)]
        parts += ["\n".join(f"- {note}" for note in result["notes"])] if result["notes"] else []
        if table.get("subgroups"):
            parts += [SUBGROUPS, markdown_table(SUBGROUP_HEAD, _subgroup_cells(table))]
    return "\n\n".join(parts) + "\n"


def _subgroup_cells(table: dict[str, Any]) -> list[list[str]]:
    """Rows under SUBGROUP_HEAD."""
    rows = []
    for row in table.get("subgroups", ()):
        groups = [
            f"{name}: {cell_text(told)} (n {told['n']})" for name, told in row["groups"].items()
        ]
        gap = "" if row["gap"] is None else cell_text(row["gap"])
        floor = "" if row["floor"] is None else cell_text(row["floor"])
        rows.append([row["system"], row["metric"], row["column"], "; ".join(groups), gap, floor])
    return rows


def page(document: dict[str, Any]) -> str:
    return render(
        "evaluation.html",
        title=f"medcodi evaluation: {document['name']}",
        facts=_facts(document),
        tables=[_shown(key, table) for key, table in document["tables"].items()],
    )


def _shown(key: str, table: dict[str, Any]) -> dict[str, Any]:
    """A table as the template shows it."""
    shown = {"id": key, "heading": _heading(key, table)}
    if table["status"] != "done":
        return {**shown, "problem": f"{table['status']}: {table['message']}"}
    result = table["result"]
    rows = [
        {
            "kind": row["kind"],
            "kind_name": KIND_NAMES[row["kind"]],
            "system": row["system"],
            "n": _size(row),
            "cells": [_value_and_interval(cell) for cell in row_cells(row, result["columns"])],
        }
        for row in result["rows"]
    ]
    pictures = {caption: Path(path) for caption, path in result["pictures"].items()}
    return {
        **shown,
        "problem": None,
        "evidence": _evidence(table),
        "columns": result["columns"],
        "subgroups": _subgroup_cells(table),
        "subgroup_head": SUBGROUP_HEAD,
        "subgroup_note": SUBGROUPS,
        "rows": rows,
        "notes": result["notes"],
        "pictures": {
            caption: data_url(path.read_bytes()) if path.is_file() else None
            for caption, path in pictures.items()
        },
    }


def _value_and_interval(text: str) -> tuple[str, str]:
    """ "0.5 [0.4, 0.6]" -> "0.5", "[0.4, 0.6]": the interval stands below its value."""
    value, bracket, interval = text.partition(" [")
    return (value, f"[{interval}") if bracket and interval.endswith("]") else (text, "")
