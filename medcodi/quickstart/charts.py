"""Small drawings of the page as paths of SVG: a figure among its floors, and training curves."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

STRIP_WIDTH, STRIP_HEIGHT = 220, 22
CURVE_WIDTH, CURVE_HEIGHT, CURVE_LEFT, CURVE_BOTTOM = 260, 120, 44, 18


@dataclass
class Drawing:
    """What `templates/drawing.html` draws: `paths` are (class, d of the path), `texts` are (x, y,
    anchor, words); `note` says what the axis shows."""

    width: int
    height: int
    paths: list[tuple[str, str]]
    texts: list[tuple[float, float, str, str]] = field(default_factory=list)
    note: str = ""


def _upright(x: float) -> str:
    return f"M{x} 4V{STRIP_HEIGHT - 4}"


def _level(first: float, last: float) -> str:
    return f"M{first} {STRIP_HEIGHT / 2}H{last}"


def _circle(x: float, y: float, radius: float) -> str:
    turn = f"a{radius} {radius} 0 1 0"
    return f"M{x - radius:.1f} {y:.1f}{turn} {2 * radius} 0{turn} {-2 * radius} 0z"


FLOOR_MARKS = {
    "shuffled": ("shuffled", _upright),
    "constant": ("constant", lambda x: _circle(x, STRIP_HEIGHT / 2, 3.2)),
    "nearest_neighbour": ("nearest", lambda x: f"M{x} {STRIP_HEIGHT / 2 - 5}l5 5-5 5-5-5z"),
}


def strip(
    value: float | None,
    interval: Sequence[float | None],
    floors: dict[str, float | None],
    ceiling: float | None,
    low: float,
    high: float,
    kind: str = "value",
    width: int = STRIP_WIDTH,
) -> Drawing:
    """A value with its interval on the axis [low, high], the floors below it and the ceiling."""

    def x(v: float) -> float:
        return round(6 + (min(max(v, low), high) - low) / (high - low) * (width - 12), 1)

    paths = [("axis", _level(6, width - 6))]
    for name, floor in floors.items():
        if floor is not None:
            mark, path = FLOOR_MARKS[name]
            paths.append((mark, path(x(floor))))
    if ceiling is not None:
        paths.append(("ceiling", _upright(x(ceiling))))
    if value is not None:
        if None not in interval:
            paths.append((f"interval {kind}", _level(x(interval[0]), x(interval[1]))))
        paths.append((f"dot {kind}", _circle(x(value), STRIP_HEIGHT / 2, 4.2)))
    return Drawing(width, STRIP_HEIGHT, paths)


def curve(rows: Sequence[dict[str, Any]], key: str = "loss") -> Drawing | None:
    """Training loss as a line and validation loss as dots over the steps, on a logarithmic axis
    where all is positive.

    `rows` are those of metrics.jsonl; None when none has `key`.
    """
    lines = {
        split: [
            (r["step"], r[key])
            for r in rows
            if r.get("split", "train") == split and _finite(r.get(key))
        ]
        for split in ("train", "validation")
    }
    points = lines["train"] + lines["validation"]
    if not points:
        return None
    values = [value for _, value in points]
    logarithmic = min(values) > 0
    scale = math.log if logarithmic else float
    low, high = scale(min(values)), scale(max(values))
    last, span = max(step for step, _ in points), (high - low) or 1.0

    def at(step: float, value: float) -> tuple[float, float]:
        x = CURVE_LEFT + step / max(last, 1) * (CURVE_WIDTH - CURVE_LEFT - 8)
        return x, 8 + (high - scale(value)) / span * (CURVE_HEIGHT - CURVE_BOTTOM - 14)

    bottom = CURVE_HEIGHT - CURVE_BOTTOM
    line = "L".join(f"{x:.1f} {y:.1f}" for x, y in (at(*point) for point in lines["train"]))
    paths = [("frame", f"M{CURVE_LEFT} 4V{bottom}H{CURVE_WIDTH - 6}")]
    paths += [("train", f"M{line}")] if line else []
    paths += [("validation", _circle(*at(*point), 2.6)) for point in lines["validation"]]
    texts = [
        (CURVE_LEFT - 5, 14, "end", f"{max(values):.3g}"),
        (CURVE_LEFT - 5, bottom - 2, "end", f"{min(values):.3g}"),
        (CURVE_LEFT, CURVE_HEIGHT - 3, "start", "0"),
        (CURVE_WIDTH - 8, CURVE_HEIGHT - 3, "end", f"step {last}"),
    ]
    note = f"{key}, log" if logarithmic else key
    return Drawing(CURVE_WIDTH, CURVE_HEIGHT, paths, texts, note)


def _finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)
