"""report.html (self-contained), report.md and report.json of an evaluation: tables with floors and
the paper's rows."""

import base64
import dataclasses
import html
import importlib.resources
import json
import math
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import Any

import medcodi
from medcodi.evaluation.context import EvaluationContext
from medcodi.files import jsonable

KIND_NAMES = {
    "ours": "generated",
    "baseline": "baseline",
    "floor": "floor",
    "real": "real",
    "paper": "published",
}


def write_report(context: EvaluationContext, tables: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Write the three files into `context.output`; returns the document of report.json."""
    has_model = (context.pipeline_dir / "model_index.json").is_file()
    document = jsonable(
        {
            "name": context.recipe.name,
            "medcodi": medcodi.__version__,
            "data": context.recipe.data.prepared,
            "data_source": context.recipe.data.source,
            "model_hash": context.model_hash if has_model else None,
            "settings": dataclasses.asdict(context.settings),
            "seconds": round(sum(t["seconds"] for t in tables.values()), 1),
            "tables": tables,
        }
    )
    context.output.mkdir(parents=True, exist_ok=True)
    (context.output / "report.json").write_text(json.dumps(document, indent=1))
    (context.output / "report.md").write_text(markdown(document), encoding="utf-8")
    (context.output / "report.html").write_text(page(document), encoding="utf-8")
    return document


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
    lines = [
        f"# Evaluation of {document['name']}",
        "",
        "; ".join(f"{k}: {v}" for k, v in _facts(document).items()),
        "",
    ]
    for key, table in document["tables"].items():
        lines += [f"## {_heading(key, table)}", ""]
        if table["status"] != "done":
            lines += [f"{table['status']}: {table['message']}", ""]
            continue
        result = table["result"]
        lines += [
            _evidence(table),
            "",
            "| system | what | N | " + " | ".join(result["columns"]) + " |",
            "| --- " * (len(result["columns"]) + 3) + "|",
        ]
        for row in result["rows"]:
            cells = [
                row["system"],
                KIND_NAMES[row["kind"]],
                _size(row),
                *row_cells(row, result["columns"]),
            ]
            lines.append(
                "| "
                + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells)
                + " |"
            )
        lines += ["", *(f"- {note}" for note in result["notes"]), ""]
    return "\n".join(lines)


def page(document: dict[str, Any]) -> str:
    template = Template(
        importlib.resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    )
    facts = "".join(
        f"<div><b>{html.escape(v)}</b><span>{html.escape(k)}</span></div>"
        for k, v in _facts(document).items()
    )
    links = "".join(
        f'<a href="#{html.escape(key)}">{html.escape(key)}</a>' for key in document["tables"]
    )
    sections = "".join(_section(key, table) for key, table in document["tables"].items())
    title = f"medcodi evaluation: {html.escape(document['name'])}"
    return template.substitute(title=title, facts=facts, links=links, sections=sections)


def _section(key: str, table: dict[str, Any]) -> str:
    head = (
        '<section class="card" '
        f'id="{html.escape(key)}"><h2>{html.escape(_heading(key, table))}</h2>'
    )
    if table["status"] != "done":
        return (
            f'{head}<p class="problem">{table["status"]}: '
            f"{html.escape(table['message'])}</p></section>"
        )
    result = table["result"]
    columns = "".join(f'<th class="n">{html.escape(name)}</th>' for name in result["columns"])
    rows = "".join(
        f'<tr class="{row["kind"]}"><td>{html.escape(row["system"])}</td><td '
        f'class="kind">{KIND_NAMES[row["kind"]]}</td>'
        + f'<td class="n">{_size(row)}</td>'
        + "".join(
            f'<td class="n">{_html_cell(cell)}</td>' for cell in row_cells(row, result["columns"])
        )
        + "</tr>"
        for row in result["rows"]
    )
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in result["notes"])
    figures = "".join(_picture(caption, Path(path)) for caption, path in result["pictures"].items())
    return (
        f"{head}<p>{html.escape(_evidence(table))}</p><div "
        'class="wide"><table><thead><tr><th>system</th><th></th>'
        f'<th class="n">N</th>{columns}</tr></thead><tbody>{rows}</tbody></table></div><ul>{notes}</ul>{figures}</section>'
    )


def _html_cell(text: str) -> str:
    """The interval of an estimate stands below its value."""
    value, bracket, interval = text.partition(" [")
    is_estimate = bracket and interval.endswith("]")
    return (
        f"{html.escape(value)}<small>[{html.escape(interval)}</small>"
        if is_estimate
        else html.escape(text)
    )


def _picture(caption: str, path: Path) -> str:
    if not path.is_file():
        return (
            f'<p class="problem">{html.escape(caption)}: the picture is gone, run the table '
            "again</p>"
        )
    source = f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
    caption = html.escape(caption)
    return (
        f'<figure><img src="{source}" alt="{caption}"><figcaption>{caption}</figcaption></figure>'
    )
