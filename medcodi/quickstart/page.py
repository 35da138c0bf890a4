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
FLOORS = ("shuffled", "nearest_neighbour", "constant")
ROUTE_NAMES = {
    "T>F": "report to frontal",
    "T>L": "report to lateral",
    "F>L": "frontal to lateral",
    "F>T": "frontal to report",
    "FL>T": "frontal and lateral to report",
    "FT>table": "frontal and report to table row",
}


def build_page(
    run_dir: str | Path,
    figures: dict[str, Any],
    samples: Sequence[dict[str, Any]] | None = None,
    metrics: dict[str, list[dict[str, Any]]] | None = None,
) -> Path:
    """Write `run_dir/index.html` and return its path.

    `figures` is what `evaluate_phantom` returned, with an optional key `timing` ({seconds, total,
    peak_memory_gib}); `samples` defaults to its key `samples`, `metrics` (label -> rows of
    metrics.jsonl) to those found in `run_dir`.
    """
    run_dir = Path(run_dir)
    sheets = figures.get("samples", []) if samples is None else samples
    metrics = collect_metrics(run_dir) if metrics is None else metrics
    settings = figures["settings"]
    template = Template(
        importlib.resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    )
    page = template.substitute(
        title=f"medcodi quickstart: {html.escape(run_dir.name)}",
        facts=_facts(figures),
        num_shown=max((len(sheet["columns"]) for sheet in sheets), default=0),
        sheets="".join(_sheet(sheet) for sheet in sheets),
        num_resamples=settings["num_resamples"],
        legend=_legend(),
        follow="".join(
            _route(route, rows) for route, rows in _grouped(figures["follow"], "route").items()
        ),
        coherence="".join(_coherence(figures["coherence"])),
        coupling=_coupling(figures["coupling"]),
        marginals=_marginals(figures["marginals"]),
        curves="".join(curve(label, rows) for label, rows in metrics.items())
        or "<p>No metrics.jsonl here.</p>",
        seed=settings["seed"],
        model_hash=html.escape(str(settings["model_hash"])),
    )
    run_dir.mkdir(parents=True, exist_ok=True)
    (run_dir / PAGE).write_text(page, encoding="utf-8")
    return run_dir / PAGE


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


def _grouped(rows: Sequence[dict[str, Any]], *keys: str) -> dict[Any, list[dict[str, Any]]]:
    groups: dict[Any, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(
            row[keys[0]] if len(keys) == 1 else tuple(row[key] for key in keys), []
        ).append(row)
    return groups


def _facts(figures: dict[str, Any]) -> str:
    settings, timing = figures["settings"], figures.get("timing")
    above = sum(row["above_chance"] for row in figures["follow"])
    facts = {
        "held-out studies": settings["num_studies"],
        "training studies for readers": settings["num_training_studies"],
        "sampling steps": settings["num_inference_steps"],
        "prompt figures above chance": f"{above} of {len(figures['follow'])}",
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
        undefined = row["value"] is None
        verdict = row["note"] if undefined else "yes" if row["above_chance"] else "no"
        count = (
            str(row["n"])
            if row["positives"] is None
            else f"{row['n']} ({row['positives']} positive)"
        )
        lines.append(
            f"<tr{' class=lead' if i == 0 else ''}><td>{html.escape(row['metric'])}</td>"
            + f'<td class="n value">{_number(row["value"])}</td>'
            + _cells(_interval(row["interval"]))
            + _cells(
                *(_number(row["floors"][name]) for name in FLOORS),
                _number(row["ceiling"]),
                kind="n muted",
            )
            + _cells(count)
            + f'<td class="n {"muted" if undefined else verdict}">{verdict}</td>'
            + f"<td>{strip(row['value'], row['interval'], row['floors'], row['ceiling'], *_axis(row))}</td></tr>"
        )
    head = (
        "figure",
        "generated",
        "95% interval",
        "shuffled",
        "nearest n.",
        "constant",
        "ceiling",
        "n",
        "above chance",
        "",
    )
    return _card(
        html.escape(ROUTE_NAMES.get(route, route)), html.escape(route), _table(head, lines)
    )


def _axis(row: dict[str, Any]) -> tuple[float, float]:
    """AUCs on 0.3 to 1, correlations on -0.3 to 1, shares on 0 to 1."""
    metric = row["metric"]
    return (
        (0.3, 1.0)
        if "AUC" in metric
        else (-0.3, 1.0)
        if "Spearman" in metric or "Pearson" in metric
        else (0.0, 1.0)
    )


def _coherence(rows: Sequence[dict[str, Any]]) -> list[str]:
    cards = []
    for (setting, pair), figures in _grouped(rows, "setting", "pair").items():
        lines = []
        for i, row in enumerate(figures):
            joint, apart, difference = row["joint"], row["independent"], row["difference"]
            low = difference["interval"][0]
            verdict = "yes" if low is not None and low > 0 else "no"
            strips = strip(
                joint["value"], joint["interval"], row["floors"], row["ceiling"], -0.3, 1, "joint"
            ) + strip(apart["value"], apart["interval"], {}, None, -0.3, 1, "apart")
            lines.append(
                f"<tr{' class=lead' if i == 0 else ''}><td>{html.escape(row['metric'])}</td>"
                + f'<td class="n value">{_number(joint["value"])}</td>'
                + _cells(
                    _interval(joint["interval"]),
                    _number(apart["value"]),
                    _interval(apart["interval"]),
                )
                + f'<td class="n value">{_number(difference["value"])}</td>'
                + _cells(_interval(difference["interval"]))
                + _cells(
                    _number(row["floors"]["shuffled"]), _number(row["ceiling"]), kind="n muted"
                )
                + _cells(row["n"])
                + f'<td class="n {verdict}">{verdict}</td><td>{strips}</td></tr>'
            )
        head = (
            "agreement",
            "joint",
            "95% interval",
            "independent",
            "95% interval",
            "difference",
            "95% interval",
            "shuffled",
            "real pairs",
            "n",
            "joint higher",
            "",
        )
        note = f"{html.escape(setting)}; blue: joint, violet: independent"
        cards.append(_card(html.escape(pair), note, _table(head, lines)))
    return cards


def _coupling(rows: Sequence[dict[str, Any]]) -> str:
    """Matrix of derivatives, and the largest one without coupling."""
    names = list(dict.fromkeys(row["output"] for row in rows))
    value = {(row["output"], row["of"]): row for row in rows}
    lines = [
        f"<tr><td>output {html.escape(a)}</td>"
        + _cells(
            *(
                "" if a == b else f"{value[a, b]['coupled']:.2g} / {value[a, b]['independent']:.2g}"
                for b in names
            )
        )
        + "</tr>"
        for a in names
    ]
    note = (
        "|d out_a / d x_b| over |d out_a / d x_a|, coupled / independent; halfway through sampling"
    )
    head = ("", *(f"noisy {html.escape(b)}" for b in names))
    return _card("What does an output see of its noisy partners?", note, _table(head, lines))


def _marginals(rows: Sequence[dict[str, Any]]) -> str:
    lines = [
        f"<tr><td>{html.escape(row['column'])}</td><td>{row['distance']}</td>"
        + f'<td class="n value">{_number(row["value"])}</td>'
        + _cells(_number(row["real_vs_real"]), kind="n muted")
        + _cells(_summary(row["real"]), _summary(row["generated"]), " / ".join(map(str, row["n"])))
        + "</tr>"
        for row in rows
    ]
    head = (
        "column",
        "distance",
        "generated to real",
        "real to real",
        "real",
        "generated",
        "n of the three",
    )
    return _card("Marginals", "", _table(head, lines, left=2))


def _summary(values: dict[str, float]) -> str:
    if set(values) == {"mean", "sd"}:
        return f"{_number(values['mean'], 1)} ± {_number(values['sd'], 1)}"
    return ", ".join(f"{html.escape(name)} {share:.0%}" for name, share in values.items())


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
