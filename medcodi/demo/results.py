"""The right side of the page: what was generated, beside what it was made of."""

import functools
import random
from pathlib import Path
from typing import Any

import gradio as gr

from medcodi.data.storage import Storage
from medcodi.demo.inputs import PRIVATE, told
from medcodi.demo.studio import PACKAGES, Sample, Studio, windowed
from medcodi.generation.formats.base import NOT_CLINICAL


class Results:
    """What was generated. `widgets` in the order in which `show` fills them; `windows` are the
    sliders of the pictures."""

    def __init__(self, studio: Studio, sample: gr.State, memory: Path) -> None:
        self.studio, self.memory = studio, memory
        gr.Markdown(f"### Generated\n{NOT_CLINICAL}")
        self.names = [m.name for m in studio.modalities]
        self.storage = {m.name: m.storage for m in studio.modalities}
        self.widgets: list[Any] = []
        self.pictures: dict[str, tuple[gr.Image, gr.Slider, gr.Slider]] = {}
        for name in self.names:
            self._result(name)
        self.windows = [s for _, level, width in self.pictures.values() for s in (level, width)]
        self.widgets += [
            gr.Dataframe(headers=["what", "is"], label="What is synthetic", elem_id="origins"),
            gr.Dataframe(
                headers=["output", "training study", "distance", "usual distance", "unit"],
                label="Nearest training study (usual: median of held-out studies)",
                elem_id="nearest",
            ),
            gr.Markdown(elem_id="note"),
        ]
        with gr.Row():
            for kind in PACKAGES:
                button = gr.DownloadButton(f"Download {kind}", interactive=False)
                self.widgets.append(button)
        for name, (picture, level, width) in self.pictures.items():
            for slider in (level, width):
                slider.release(
                    told(functools.partial(self._window, name)),
                    [sample, level, width],
                    picture,
                    **PRIVATE,
                )

    def _result(self, name: str) -> None:
        label = f"{name}. {NOT_CLINICAL}"
        if self.storage[name] == Storage.IMAGE:
            picture = gr.Image(
                label=label,
                format="png",
                interactive=False,
                buttons=["fullscreen"],
                elem_id=f"made-{name}",
            )
            with gr.Row():
                level = gr.Slider(0, 1, 0.5, label=f"{name}: level")
                width = gr.Slider(0.05, 2, 1, label=f"{name}: window width")
            self.pictures[name] = picture, level, width
            self.widgets.append(picture)
        elif self.storage[name] == Storage.TEXT:
            self.widgets.append(gr.HighlightedText(label=label, elem_id=f"made-{name}"))
            self.widgets.append(
                gr.Dataframe(headers=["finding", "state"], label=f"{name}: findings (labeler)")
            )
        else:
            self.widgets.append(
                gr.Dataframe(headers=["column", "value"], label=label, elem_id=f"made-{name}")
            )

    def show(self, sample: Sample, windows: tuple[float, ...]) -> list[Any]:
        """Values of `widgets`."""
        values: list[Any] = []
        places = {name: windows[2 * i : 2 * i + 2] for i, name in enumerate(self.pictures)}
        for name in self.names:
            made = sample.stored.get(name)
            if self.storage[name] == Storage.IMAGE:
                values.append(None if made is None else windowed(made, *places[name]))
            elif self.storage[name] == Storage.TEXT:
                values.append(None if made is None else self.studio.highlighted(made))
                values.append([] if made is None else self.studio.findings(made))
            else:
                values.append([] if made is None else self.studio.cells(name, made))
        values += [self.studio.origins(sample), self.studio.nearest(sample), self._note(sample)]
        return values + [self._package(sample, kind) for kind in PACKAGES]

    def _note(self, sample: Sample) -> str:
        notes = [f"Generated in {sample.seconds:.1f} s."]
        if self.studio.bank is None:
            notes.append("No training studies are known: start with `--studies FOLDER`.")
        elif not self.studio.bank.ready:
            notes.append("The training studies are still being read.")
        else:
            notes.append(f"Nearest of {self.studio.bank.count:,} training studies.")
        if sample.refused is not None:
            notes.append(f"Privacy filter: {sample.refused or 'nothing against it'}.")
        return " ".join(notes)

    def _package(self, sample: Sample, kind: str) -> gr.DownloadButton:
        path = self.memory / f"synthetic_{sample.seed}_{kind}_{random.getrandbits(32):08x}.zip"
        path.write_bytes(self.studio.package(sample, kind, self.memory))
        return gr.DownloadButton(value=str(path), interactive=True)

    def _window(self, name: str, sample: Sample | None, level: float, width: float) -> Any:
        if sample is None or name not in sample.stored:
            return None
        return windowed(sample.stored[name], level, width)
