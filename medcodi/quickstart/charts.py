"""Small inline SVG drawings for the page: a figure among its floors, and training curves."""

import html
import math
from collections.abc import Sequence
from typing import Any

STRIP_WIDTH, STRIP_HEIGHT = 220, 22
CURVE_WIDTH, CURVE_HEIGHT, CURVE_LEFT, CURVE_BOTTOM = 260, 120, 44, 18


def strip(
    value: float | None,
    interval: Sequence[float | None],
    floors: dict[str, float | None],
    ceiling: float | None,
    low: float,
    high: float,
    kind: str = "value",
    width: int = STRIP_WIDTH,
) -> str:
    """A value with its interval on the axis [low, high], the floors below it and the ceiling, as
    one line of SVG."""
    middle = STRIP_HEIGHT / 2

    def x(v: float) -> float:
        return round(6 + (min(max(v, low), high) - low) / (high - low) * (width - 12), 1)

    def upright(at: float, name: str) -> str:
        return f'<line x1="{at}" x2="{at}" y1="4" y2="{STRIP_HEIGHT - 4}" class="{name}"/>'

    def level(first: float, last: float, name: str) -> str:
        return f'<line x1="{first}" x2="{last}" y1="{middle}" y2="{middle}" class="{name}"/>'

    shapes = {
        "shuffled": lambda at: upright(at, "shuffled"),
        "constant": lambda at: f'<circle cx="{at}" cy="{middle}" r="3.2" class="constant"/>',
        "nearest_neighbour": lambda at: (
            f'<path d="M{at} {middle - 5}l5 5-5 5-5-5z" class="nearest"/>'
        ),
    }
    parts = [level(6, width - 6, "axis")]
    parts += [shapes[name](x(floor)) for name, floor in floors.items() if floor is not None]
    if ceiling is not None:
        parts.append(upright(x(ceiling), "ceiling"))
    if value is not None:
        if None not in interval:
            parts.append(level(x(interval[0]), x(interval[1]), f"interval {kind}"))
        parts.append(f'<circle cx="{x(value)}" cy="{middle}" r="4.2" class="dot {kind}"/>')
    return f'<svg class="strip" width="{width}" height="{STRIP_HEIGHT}">{"".join(parts)}</svg>'


def curve(title: str, rows: Sequence[dict[str, Any]], key: str = "loss") -> str:
    """Training loss as a line and validation loss as dots over the steps, on a logarithmic axis
    where all is positive.

    `rows` are those of metrics.jsonl; empty when none has `key`.
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
        return ""
    logarithmic = min(v for _, v in points) > 0
    scale = math.log if logarithmic else float
    low, high = (f(scale(v) for _, v in points) for f in (min, max))
    last, span = max(step for step, _ in points), (high - low) or 1.0

    def at(step: float, value: float) -> tuple[float, float]:
        x = CURVE_LEFT + step / max(last, 1) * (CURVE_WIDTH - CURVE_LEFT - 8)
        return x, 8 + (high - scale(value)) / span * (CURVE_HEIGHT - CURVE_BOTTOM - 14)

    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*point) for point in lines["train"]))
    dots = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6" class="validation"/>'
        for x, y in (at(*point) for point in lines["validation"])
    )
    bottom = CURVE_HEIGHT - CURVE_BOTTOM
    largest, smallest = (f(v for _, v in points) for f in (max, min))
    text = (
        f'<text x="{CURVE_LEFT - 5}" y="14" text-anchor="end">{largest:.3g}</text>'
        f'<text x="{CURVE_LEFT - 5}" y="{bottom - 2}" text-anchor="end">{smallest:.3g}</text>'
        f'<text x="{CURVE_LEFT}" y="{CURVE_HEIGHT - 3}">0</text>'
        f'<text x="{CURVE_WIDTH - 8}" y="{CURVE_HEIGHT - 3}" text-anchor="end">step {last}</text>'
    )
    axis = f'<path d="M{CURVE_LEFT} 4V{bottom}H{CURVE_WIDTH - 6}" class="frame"/>'
    return (
        f"<figure><figcaption>{html.escape(title)}"
        f"<span>{key}{', log' if logarithmic else ''}</span></figcaption>"
        f'<svg width="{CURVE_WIDTH}" height="{CURVE_HEIGHT}">{axis}<polyline points="{path}" '
        'class="train"/>'
        f"{dots}{text}</svg></figure>"
    )


def _finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)
