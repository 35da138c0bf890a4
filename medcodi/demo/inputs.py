"""The left side of the page: prompts, kept parts, outputs and settings."""

import functools
import html
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from medcodi.data.storage import Storage
from medcodi.demo.studio import MAX_SEED, MAX_STEPS, MAX_TEXT, Given, Studio, windowed
from medcodi.modalities.base import Modality

PRIVATE: dict[str, Any] = {"api_visibility": "private"}
PROMPT, KEPT = "prompt", "kept part"
PAINT = "paint in white what is to be generated; the rest is kept"


def told(function: Callable) -> Callable:
    """Errors of users are shown in one line."""

    @functools.wraps(function)
    def wrapped(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        except (ValueError, RuntimeError, OSError) as error:
            message = html.escape(" ".join(str(error).split()), quote=False)
            raise gr.Error(message, duration=None, print_exception=False) from error

    return wrapped


class Inputs:
    """`widgets` are the inputs of a call of the studio, which `read` makes its arguments of;
    `state` holds pictures and what was drawn, name -> Given."""

    def __init__(self, studio: Studio, state: gr.State) -> None:
        self.studio, self.state = studio, state
        self.files: dict[str, tuple[gr.Image, gr.ImageEditor]] = {}
        self.typed: dict[str, Any] = {}
        self.roles: dict[str, gr.Radio] = {}
        gr.Markdown("### Given")
        for modality in studio.modalities:
            with gr.Accordion(modality.name, open=True):
                self._of(modality)
        self._drawing()
        gr.Markdown("### Generate")
        names = [m.name for m in studio.modalities]
        outputs = gr.CheckboxGroup(names, value=names[:1], label="outputs", elem_id="outputs")
        with gr.Row():
            seed = gr.Number(0, label="seed", precision=0, minimum=0, maximum=MAX_SEED)
            other = gr.Button("Another seed")
        steps = gr.Slider(1, MAX_STEPS, 25, step=1, label="steps")
        guidance = gr.Slider(0, 10, 0, step=0.5, label="guidance (0: as the recipe says)")
        strength = gr.Slider(
            0.05, 1, 1, step=0.05, label="strength: below 1, kept pictures are varied as a whole"
        )
        other.click(lambda: random.randrange(2**31), None, seed, **PRIVATE)
        editors = [editor for _, editor in self.files.values()]
        self.widgets = [*self.typed.values(), *editors, *self.roles.values()]
        self.widgets += [outputs, seed, steps, guidance, strength]
        self.button = gr.Button("Generate", variant="primary", elem_id="generate")

    def _of(self, modality: Modality) -> None:
        name = modality.name
        if modality.storage == Storage.IMAGE:
            self._picture(name)
        elif modality.storage == Storage.TEXT:
            self.typed[name] = gr.Textbox(
                label=f"{name} (at most {MAX_TEXT:,} characters; as a kept part, ... is generated)",
                lines=4,
                elem_id=f"text-{name}",
            )
        elif modality.storage == Storage.TABLE:
            self.typed[name] = gr.Dataframe(
                self.studio.cells(name, None),
                headers=["column", "value"],
                label=f"{name} (empty: missing)",
                type="array",
                interactive=True,
                static_columns=[0],
                elem_id=f"row-{name}",
            )
        else:
            return  # a kind that the page has no widget for can be an output only
        self.roles[name] = gr.Radio(
            [PROMPT, KEPT], value=PROMPT, label=f"{name} is a", elem_id=f"role-{name}"
        )

    def _picture(self, name: str) -> None:
        file = gr.File(label=f"{name}: an image file", height=130, elem_id=f"file-{name}")
        preview = gr.Image(
            label=f"{name}, given",
            format="png",
            interactive=False,
            height=220,
            elem_id=f"given-{name}",
        )
        with gr.Accordion(f"{name}: a region", open=False):
            editor = gr.ImageEditor(
                label=PAINT,
                type="numpy",
                sources=(),
                transforms=(),
                layers=False,
                brush=gr.Brush(default_size=40, colors=["#ffffff"], color_mode="fixed"),
                format="png",
                height=420,
            )
        self.files[name] = preview, editor
        shown = [preview, editor, self.state]
        upload = told(functools.partial(self._upload, name))
        file.upload(upload, [file, self.state], shown, **PRIVATE)
        forget = told(functools.partial(self._forget, name))
        file.clear(forget, [self.state], shown, **PRIVATE)
        # a drawn picture has no file to clear
        clear = gr.Button(f"Take {name} out", size="sm", elem_id=f"clear-{name}")
        clear.click(forget, [self.state], shown, **PRIVATE)

    def _drawing(self) -> None:
        with gr.Row():
            number = gr.Number(
                0, label="held-out study, by number", precision=0, minimum=0, elem_id="study"
            )
            chosen = gr.CheckboxGroup(
                [*self.files, *self.typed], label="take from it", elem_id="take"
            )
            draw = gr.Button("Draw", interactive=self.studio.studies is not None, elem_id="draw")
        pictures = [widget for pair in self.files.values() for widget in pair]
        shown = [self.state, *pictures, *self.typed.values()]
        draw.click(told(self._draw), [number, chosen, self.state], shown, **PRIVATE)

    def _upload(
        self, name: str, path: str, state: dict[str, Given]
    ) -> tuple[Any, Any, dict[str, Given]]:
        """Reads the file and removes it: the picture stays in memory."""
        file = Path(path)
        try:
            given = self.studio.read_picture(name, file, file.name)
        finally:
            file.unlink(missing_ok=True)
        picture = windowed(given.value, 0.5, 1.0)
        return picture, picture, {**state, name: given}

    def _forget(self, name: str, state: dict[str, Given]) -> tuple[None, None, dict[str, Given]]:
        return None, None, {n: given for n, given in state.items() if n != name}

    def _draw(self, number: float, chosen: list[str], state: dict[str, Given]) -> list[Any]:
        if not chosen:
            raise ValueError("choose what to take from the study")
        drawn = self.studio.draw(int(number))
        missing = [name for name in chosen if name not in drawn]
        if missing:
            raise ValueError(f"this study has no {', '.join(missing)}: choose another number")
        shown: list[Any] = [{**state, **{name: drawn[name] for name in chosen}}]
        for name in self.files:
            picture = windowed(drawn[name].value, 0.5, 1.0) if name in chosen else gr.skip()
            shown += [picture, picture]
        for name in self.typed:
            shown.append(self._shown(name, drawn[name].value) if name in chosen else gr.skip())
        return shown

    def _shown(self, name: str, value: Any) -> Any:
        return value if isinstance(value, str) else self.studio.cells(name, value)

    def read(self, state: dict[str, Given], values: tuple[Any, ...]) -> dict[str, Any]:
        """Arguments of `Studio.generate`, from the state and the values of `widgets`."""
        values = list(values)
        typed, painted, roles = (
            dict(zip(names, [values.pop(0) for _ in names], strict=True))
            for names in (self.typed, self.files, self.roles)
        )
        outputs, seed, steps, guidance, strength = values
        given = {name: state[name] for name in self.files if name in state}
        for name, value in typed.items():
            read = self.studio.read_text if isinstance(value, str) else self.studio.read_row
            one = read(name, value, state.get(name))
            if one is not None:
                given[name] = one
        kept = {
            name: given.pop(name) for name, role in roles.items() if role == KEPT and name in given
        }
        for name in self.files:
            if name in kept and (mask := painted_mask(painted[name], kept[name].value)) is not None:
                kept[name] = Given((kept[name].value, mask), kept[name].origin)
        return {
            "given": given,
            "outputs": outputs,
            "seed": seed,
            "num_inference_steps": steps,
            "guidance_scale": guidance or None,
            "kept": kept,
            "strength": strength,
        }


def painted_mask(painted: dict[str, Any] | None, picture: np.ndarray) -> np.ndarray | None:
    """What was painted over a picture (H, W), as a mask of its size (bool, True is generated): a
    pixel counts when half of it is painted. None for nothing."""
    layers = (painted or {}).get("layers") or []
    covered = [layer[..., 3] for layer in layers if layer is not None and layer.ndim == 3]
    if not covered or not np.max(covered):
        return None
    alpha = Image.fromarray(np.max(covered, axis=0).astype(np.uint8))
    size = (picture.shape[1], picture.shape[0])
    return np.asarray(alpha.resize(size, Image.Resampling.BOX)) >= 128
