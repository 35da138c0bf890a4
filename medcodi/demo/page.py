"""The page of the demo. What it does is in studio.py, its two sides in inputs.py and results.py."""

import functools
from pathlib import Path
from typing import Any

import gradio as gr

from medcodi.demo.inputs import PRIVATE, Inputs, told
from medcodi.demo.results import Results
from medcodi.demo.studio import Given, Studio
from medcodi.generation.formats.base import NOT_CLINICAL

FONTS = gr.themes.Base(  # fonts of the machine: nothing is fetched
    font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
)
STYLE = """
#banner { background: #7a1f1f; padding: 6px 14px; border-radius: 8px; }
#banner * { color: white !important; }
"""
SESSION = 3600  # seconds that a session's values stay after its last call


def build(studio: Studio, memory: Path) -> gr.Blocks:
    """The page; `memory` is a folder for downloads."""
    with gr.Blocks(
        title="medcodi demo", analytics_enabled=False, delete_cache=(60, SESSION)
    ) as page:
        name = studio.pipe.family.recipe.name
        gr.Markdown(f"**{NOT_CLINICAL}** Pipeline: {name}", elem_id="banner")
        state = gr.State({}, time_to_live=SESSION)
        sample = gr.State(None, time_to_live=SESSION)
        with gr.Row():
            with gr.Column():
                inputs = Inputs(studio, state)
            with gr.Column():
                results = Results(studio, sample, memory)
        inputs.button.click(
            told(functools.partial(_generate, studio, inputs, results)),
            [state, *inputs.widgets, *results.windows],
            [sample, *results.widgets],
            concurrency_limit=1,
            **PRIVATE,
        )
    return page


def _generate(
    studio: Studio, inputs: Inputs, results: Results, state: dict[str, Given], *values: Any
) -> list[Any]:
    count = len(inputs.widgets)
    sample = studio.generate(**inputs.read(state, values[:count]))
    return [sample, *results.show(sample, values[count:])]
