"""The page of a quickstart run: one self-contained HTML file with samples, figures beside their
floors, and curves."""

import html
import importlib.resources
import math
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import Any

from medcodi.quickstart.charts import curve, strip
from medcodi.training.tracking import read_metrics

PAGE = "index.html"
FLOORS = {"shuffled": "shuffled", "nearest_neighbour": "nearest study", "constant": "constant"}
ROUTE_NAMES = {"F": "frontal", "L": "lateral", "T": "report", "table": "table row"}


def build_page(
    run_dir: str | Path,
    document: dict[str, Any],
    sheets: Sequence[dict[str, Any]],
    timing: dict[str, Any] | None = None,
) -> Path:
    """Write `run_dir/index.html` and return its path.

    `document` is that of `run_suite` with the tables `follow` and `joint`, `sheets` are contact
    sheets of `samples.sheet`, `timing` {seconds, total, peak_memory_gib} of the run. Curves come
    from each metrics.jsonl below `run_dir`.
    """
    run_dir = Path(run_dir)
    metrics, tables = collect_metrics(run_dir), document["tables"]
    follow, joint = (_rows(tables, name) for name in ("follow", "joint"))
    template = Template(
        importlib.resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    )
    page = template.substitute(
        title=f"medcodi quickstart: {html.escape(run_dir.name)}",
        facts=_facts(document["settings"], follow, timing),
        num_shown=max((len(sheet["columns"]) for sheet in sheets), default=0),
        sheets="".join(_sheet(sheet) for sheet in sheets),
        num_resamples=document["settings"]["num_resamples"],
        legend=_legend(),
        follow="".join(_route(route, rows) for route, rows in _grouped(follow).items()),
        coherence="".join(_joint(setting, rows) for setting, rows in _grouped(joint).items()),
        curves="".join(curve(label, rows) for label, rows in metrics.items())
        or "<p>No metrics.jsonl here.</p>",
        seed=document["settings"]["seed"],
        model_hash=html.escape(str(document["model_hash"])),
    )
    (run_dir / PAGE).write_text(page, encoding="utf-8")
    return run_dir / PAGE


def _rows(tables: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """Rows of a table that was measured. ValueError with its message for one that was not."""
    if tables[name]["status"] != "done":
        raise ValueError(f"table {name} was not measured: {tables[name]['message']}")
    return tables[name]["result"]["rows"]


def _above_chance(cells: dict[str, Any]) -> bool:
    """The whole interval lies above the shuffled and the constant floor."""
    floors = [cells[name] for name in ("shuffled", "constant") if cells[name] is not None]
    low = cells["generated"]["low"]
    return low is not None and low > max(floors, default=-math.inf)


def collect_metrics(run_dir: Path) -> dict[str, list[dict[str, Any]]]:
    """metrics.jsonl of every finished or running stage below `run_dir`, in the order of the
    stages."""
    paths = sorted(
        path for path in run_dir.glob("*/**/metrics.jsonl") if "checkpoints" not in path.parts
    )
    return {path.parent.relative_to(run_dir).as_posix(): read_metrics(path) for path in paths}


def _number(value: float | None, digits: int = 2) -> str:
    if value is None or math.isnan(value):
        return "n/a"
    return f"{round(value, digits) + 0.0:.{digits}f}".replace(
        "-", "\N{MINUS SIGN}"
    )  # + 0.0: no minus zero


def _interval(interval: Sequence[float | None]) -> str:
    return f"{_number(interval[0])} to {_number(interval[1])}" if interval[0] is not None else "n/a"


def _cells(*values: Any, kind: str = "n") -> str:
    return "".join(f'<td class="{kind}">{value}</td>' for value in values)


def _table(head: Sequence[str], rows: Sequence[str], left: int = 1) -> str:
    """`head` names the columns; those after the first `left` are right-aligned."""
    cells = "".join(
        f"<th{' class=n' if i >= left else ''}>{name}</th>" for i, name in enumerate(head)
    )
    return f"<table><thead><tr>{cells}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _card(title: str, note: str, body: str) -> str:
    return (
        "<section "
        f'class="card"><header><h3>{title}</h3><span>{note}</span></header>{body}</section>'
    )


def _grouped(rows: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["system"], []).append(row)
    return groups


def _facts(
    settings: dict[str, Any], follow: Sequence[dict[str, Any]], timing: dict[str, Any] | None
) -> str:
    above = sum(_above_chance(row["cells"]) for row in follow)
    facts = {
        "held-out studies": settings["num_studies"],
        "training studies for readers": settings["num_training_studies"],
        "sampling steps": settings["num_inference_steps"],
        "prompt figures above chance": f"{above} of {len(follow)}",
    }
    if timing:
        facts["minutes in total"] = _number(timing["total"] / 60, 1)
        facts["GiB peak memory"] = _number(timing["peak_memory_gib"], 1)
    return "".join(f"<div><b>{value}</b><span>{name}</span></div>" for name, value in facts.items())


def _legend() -> str:
    marks = {
        "generated, with interval": (0.5, (0.2, 0.8), {}, None),
        "shuffled": (None, (), {"shuffled": 0.5}, None),
        "constant": (None, (), {"constant": 0.5}, None),
        "real outputs (ceiling)": (None, (), {}, 0.5),
        "nearest neighbour": (None, (), {"nearest_neighbour": 0.5}, None),
    }
    return "".join(
        f"<span>{strip(*mark, 0, 1, width=46)}{name}</span>" for name, mark in marks.items()
    )


def _route(route: str, rows: Sequence[dict[str, Any]]) -> str:
    lines = []
    for i, row in enumerate(rows):
        cells, made = row["cells"], row["cells"]["generated"]
        undefined = made["value"] is None
        verdict = "undefined" if undefined else "yes" if _above_chance(cells) else "no"
        positives = cells.get("positives")
        count = f"{row['n']}" if positives is None else f"{row['n']} ({positives} positive)"
        floors = {key: cells[name] for key, name in FLOORS.items()}
        drawn = strip(made["value"], _ends(made), floors, cells["real"], *_axis(cells["figure"]))
        lines.append(
            f"<tr{' class=lead' if i == 0 else ''}><td>{html.escape(cells['figure'])}</td>"
            + f'<td class="n value">{_number(made["value"])}</td>'
            + _cells(_interval(_ends(made)))
            + _cells(*map(_number, floors.values()), _number(cells["real"]), kind="n muted")
            + _cells(count)
            + f'<td class="n {"muted" if undefined else verdict}">{verdict}</td>'
            + f"<td>{drawn}</td></tr>"
        )
    head = (
        "figure",
        "generated",
        "95% interval",
        *FLOORS.values(),
        "real",
        "n",
        "above chance",
        "",
    )
    prompts, output = route.split(">")
    title = f"{' and '.join(ROUTE_NAMES[p] for p in prompts)} to {ROUTE_NAMES[output]}"
    return _card(html.escape(title), html.escape(route), _table(head, lines))


def _ends(cell: dict[str, Any]) -> tuple[float | None, float | None]:
    return cell["low"], cell["high"]


def _axis(metric: str) -> tuple[float, float]:
    """AUCs on 0.3 to 1, correlations on -0.3 to 1, shares on 0 to 1."""
    return (
        (0.3, 1.0)
        if "AUC" in metric
        else (-0.3, 1.0)
        if "Spearman" in metric or "Pearson" in metric
        else (0.0, 1.0)
    )


def _joint(setting: str, rows: Sequence[dict[str, Any]]) -> str:
    lines = []
    for row in rows:
        cells = row["cells"]
        joint, apart, difference = (cells[k] for k in ("joint", "independent", "difference"))
        verdict = "yes" if difference["low"] is not None and difference["low"] > 0 else "no"
        shuffled = {"shuffled": cells["shuffled"]}
        strips = strip(joint["value"], _ends(joint), shuffled, cells["real"], -0.3, 1, "joint")
        strips += strip(apart["value"], _ends(apart), {}, None, -0.3, 1, "apart")
        lead = " class=lead" if cells["figure"].startswith("mean") else ""
        lines.append(
            f"<tr{lead}><td>{html.escape(cells['pair'])}</td><td>{html.escape(cells['figure'])}</td>"
            + "".join(
                f'<td class="n value">{_number(cell["value"])}</td>{_cells(_interval(_ends(cell)))}'
                for cell in (joint, apart, difference)
            )
            + _cells(_number(cells["shuffled"]), _number(cells["real"]), kind="n muted")
            + _cells(row["n"])
            + f'<td class="n {verdict}">{verdict}</td><td>{strips}</td></tr>'
        )
    columns = ("joint", "independent", "difference")
    head = ("pair", "agreement", *(h for name in columns for h in (name, "95% interval")))
    head = (*head, "shuffled", "real pairs", "n", "joint higher", "")
    note = "blue: joint, violet: independent"
    return _card(html.escape(setting), note, _table(head, lines, left=2))


def _sheet(sheet: dict[str, Any]) -> str:
    head = "".join(
        f"<th><b>{html.escape(c['name'])}</b>{html.escape(c['truth'])}</th>"
        for c in sheet["columns"]
    )
    rows = []
    for row in sheet["rows"]:
        cells = "".join(f"<td>{_value(row['kind'], value)}</td>" for value in row["values"])
        label = f"{html.escape(row['label'])} <span>{row['role']}</span>"
        if row["kind"] == "row":
            names = "".join(
                f"<div>{html.escape(key.replace('_', ' '))}</div>" for key in row["values"][0]
            )
            label += f'<div class="names">{names}</div>'
        style = f"{row['role']}{' fields' if row['kind'] == 'row' else ''}"
        rows.append(f'<tr class="{style}"><th class="role">{label}</th>{cells}</tr>')
    head = f'<thead><tr><th class="role"></th>{head}</tr></thead>'
    table = f'<table class="sheet">{head}<tbody>{"".join(rows)}</tbody></table>'
    return _card(html.escape(sheet["title"]), html.escape(sheet["note"]), table)


def _value(kind: str, value: Any) -> str:
    if kind == "image":
        return f'<img src="{value}" alt="">'
    if kind == "text":
        return f'<div class="cell">{html.escape(value)}</div>'
    return f'<div class="cell fields">{"".join(_cell(cell) for cell in value.values())}</div>'


def _cell(cell: Any) -> str:
    if cell is None:
        return '<div class="missing">missing</div>'
    return f"<div>{html.escape(f'{cell:.4g}' if isinstance(cell, float) else str(cell))}</div>"
