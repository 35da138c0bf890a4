"""The page of a quickstart run: one self-contained HTML file with samples, figures beside their
floors, and curves. What is shown is worked out here; how it looks stands in
`report/templates/quickstart.html`."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medcodi.quickstart.charts import Drawing, curve, strip
from medcodi.report.html import render
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
    tables, settings = document["tables"], document["settings"]
    follow, joint = (_rows(tables, name) for name in ("follow", "joint"))
    curves = {label: curve(rows) for label, rows in collect_metrics(run_dir).items()}
    page = render(
        "quickstart.html",
        title=f"medcodi quickstart: {run_dir.name}",
        facts=_facts(settings, follow, timing),
        num_shown=max((len(sheet["columns"]) for sheet in sheets), default=0),
        sheets=sheets,
        num_resamples=settings["num_resamples"],
        legend=_legend(),
        floor_names=list(FLOORS.values()),
        follow=[_route(route, rows) for route, rows in _grouped(follow).items()],
        coherence=[_joint(setting, rows) for setting, rows in _grouped(joint).items()],
        curves={label: drawing for label, drawing in curves.items() if drawing is not None},
        seed=settings["seed"],
        model_hash=document["model_hash"],
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


def _ends(cell: dict[str, Any]) -> tuple[float | None, float | None]:
    return cell["low"], cell["high"]


def _interval(cell: dict[str, Any]) -> str:
    low, high = _ends(cell)
    return "n/a" if low is None else f"{_number(low)} to {_number(high)}"


def _grouped(rows: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["system"], []).append(row)
    return groups


def _facts(
    settings: dict[str, Any], follow: Sequence[dict[str, Any]], timing: dict[str, Any] | None
) -> dict[str, Any]:
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
    return facts


def _legend() -> dict[str, Drawing]:
    marks = {
        "generated, with interval": (0.5, (0.2, 0.8), {}, None),
        "shuffled": (None, (), {"shuffled": 0.5}, None),
        "constant": (None, (), {"constant": 0.5}, None),
        "real outputs (ceiling)": (None, (), {}, 0.5),
        "nearest neighbour": (None, (), {"nearest_neighbour": 0.5}, None),
    }
    return {name: strip(*mark, 0, 1, width=46) for name, mark in marks.items()}


def _route(route: str, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    prompts, output = route.split(">")
    title = f"{' and '.join(ROUTE_NAMES[p] for p in prompts)} to {ROUTE_NAMES[output]}"
    return {"title": title, "note": route, "rows": [_figure(row) for row in rows]}


def _figure(row: dict[str, Any]) -> dict[str, Any]:
    cells, made = row["cells"], row["cells"]["generated"]
    floors = {key: cells[name] for key, name in FLOORS.items()}
    positives = cells.get("positives")
    verdict = "yes" if _above_chance(cells) else "no"
    return {
        "figure": cells["figure"],
        "value": _number(made["value"]),
        "interval": _interval(made),
        "floors": [_number(floor) for floor in floors.values()],
        "real": _number(cells["real"]),
        "n": row["n"] if positives is None else f"{row['n']} ({positives} positive)",
        "verdict": "undefined" if made["value"] is None else verdict,
        "drawing": strip(
            made["value"], _ends(made), floors, cells["real"], *_axis(cells["figure"])
        ),
    }


def _axis(metric: str) -> tuple[float, float]:
    """AUCs on 0.3 to 1, correlations on -0.3 to 1, shares on 0 to 1."""
    if "AUC" in metric:
        return 0.3, 1.0
    return (-0.3, 1.0) if "Spearman" in metric or "Pearson" in metric else (0.0, 1.0)


def _joint(setting: str, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    note = "blue: joint, violet: independent"
    return {"title": setting, "note": note, "rows": [_agreement(row) for row in rows]}


def _agreement(row: dict[str, Any]) -> dict[str, Any]:
    cells = row["cells"]
    joint, apart, difference = (cells[k] for k in ("joint", "independent", "difference"))
    shuffled = {"shuffled": cells["shuffled"]}
    return {
        "pair": cells["pair"],
        "figure": cells["figure"],
        "values": [(_number(c["value"]), _interval(c)) for c in (joint, apart, difference)],
        "shuffled": _number(cells["shuffled"]),
        "real": _number(cells["real"]),
        "n": row["n"],
        "verdict": "yes" if difference["low"] is not None and difference["low"] > 0 else "no",
        "drawings": [
            strip(joint["value"], _ends(joint), shuffled, cells["real"], -0.3, 1, "joint"),
            strip(apart["value"], _ends(apart), {}, None, -0.3, 1, "apart"),
        ],
    }
