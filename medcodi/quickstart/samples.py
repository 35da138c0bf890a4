"""Samples for the contact sheets, as JSON-like values: images are PNG data URIs, reports texts,
table rows dicts."""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from medcodi.data.study import Study
from medcodi.evaluation.context import EvaluationContext
from medcodi.evaluation.follow import ROUTES, parse_route
from medcodi.evaluation.routes import route_name

NUM_SHOWN = 8


def png_uri(image: np.ndarray) -> str:
    """Float image (H, W) in [0, 1] -> data URI of an 8-bit PNG."""
    buffer = io.BytesIO()
    pixels = (np.clip(np.asarray(image, np.float32), 0, 1) * 255).round().astype(np.uint8)
    Image.fromarray(pixels).save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def truth_text(truth: Mapping[str, Any]) -> str:
    """What was rendered, in a few words: "CTR 0.56, large left effusion, right upper
    consolidation"."""
    sizes = {side: truth[f"effusion_{side}"] for side in ("left", "right")}
    words = [f"CTR {truth['ctr']:.2f}"]
    words += [f"{side} effusion {size:.2f}" for side, size in sizes.items() if size > 0]
    if truth["consolidation"] != "none":
        words.append(f"{truth['consolidation'].replace('_', ' ')} consolidation")
    if truth["edema"] > 0:
        words.append(f"{truth['edema_grade']} edema")
    return ", ".join(words)


def all_sheets(context: EvaluationContext) -> list[dict[str, Any]]:
    """A sheet of every route and of unconditional joint samples: the first held-out studies, from
    the samples that the tables `follow` and `joint` measured."""
    letters = ("F", "L", "T", "table")
    studies, sheets = context.studies.held_out(letters)[:NUM_SHOWN], []
    for prompts, output in (*map(parse_route, ROUTES), ((), "")):
        outputs = (output,) if prompts else ("F", "L", "T")
        made = context.generations.samples(prompts, outputs, studies=studies)
        real = (
            {context.studies.name(o): context.studies.values(studies, o) for o in outputs}
            if prompts
            else {}
        )
        sheets.append(
            sheet(
                " and ".join(context.studies.names(prompts))
                + " to "
                + " and ".join(context.studies.names(outputs))
                if prompts
                else "generated together, from nothing",
                route_name(prompts, outputs),
                studies if prompts else [],
                {context.studies.name(p): context.studies.values(studies, p) for p in prompts},
                {context.studies.name(o): made[o] for o in outputs},
                real,
            )
        )
    return sheets


def sheet(
    title: str,
    note: str,
    studies: Sequence[Study],
    prompts: dict[str, list[Any]],
    generated: dict[str, list[Any]],
    real: dict[str, list[Any]],
) -> dict[str, Any]:
    """One contact sheet: {title, note, columns: [{name, truth}], rows: [{label, role, kind,
    values}]}.

    `studies` is empty for unconditional samples. Rows come in the order prompts, then each output
    with the real one.
    """
    rows = [_row(name, "prompt", values) for name, values in prompts.items()]
    for name, values in generated.items():
        rows.append(_row(name, "generated", values))
        if name in real:
            rows.append(_row(name, "real", real[name]))
    columns = [{"name": study.study_id, "truth": truth_text(study.truth)} for study in studies]
    columns = columns or [
        {"name": f"sample {i + 1}", "truth": ""} for i in range(len(rows[0]["values"]))
    ]
    return {"title": title, "note": note, "columns": columns, "rows": rows}


def _row(label: str, role: str, values: list[Any]) -> dict[str, Any]:
    first = values[0]
    kind = "image" if isinstance(first, np.ndarray) else "text" if isinstance(first, str) else "row"
    shown = [png_uri(value) for value in values] if kind == "image" else values
    return {"label": label, "role": role, "kind": kind, "values": shown}
