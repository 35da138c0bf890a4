"""What the demo can do, without its page: read prompts, generate, tell what was generated, pack it
for a download."""

import dataclasses
import io
import json
import tempfile
import threading
import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

import medcodi
from medcodi.data.storage import Storage
from medcodi.data.user_images import read_picture
from medcodi.demo.highlight import findings, highlighted
from medcodi.demo.studies import Drawn, Neighbour, TrainingBank
from medcodi.generation.formats import Facts, GeneratedStudy, get_format
from medcodi.generation.formats.base import NOT_CLINICAL, hash_prompts
from medcodi.labeler import Labeler
from medcodi.modalities.base import Modality
from medcodi.pipeline import MedCoDiPipeline

if TYPE_CHECKING:
    from medcodi.privacy.filter import PrivacyFilter

MAX_TEXT, MAX_STEPS, MAX_SEED = 4000, 100, 2**53 - 1  # characters; what a browser's number holds
SHOWN_SIDE = 512  # pixels of a shown picture
PACKAGES = {"files": "png", "DICOM": "dicom"}


@dataclass
class Given:
    """A prompt or a kept part: `value` as stored, and where it comes from, in words."""

    value: Any
    origin: str


@dataclass
class Sample:
    """One generated study. `stored` and `shown` by modality, as `GeneratedStudy`; `refused`: what
    the privacy filter says against it, "" for nothing, None without a filter."""

    seed: int
    settings: dict[str, Any]
    given: dict[str, Given]
    kept: dict[str, Given]
    stored: dict[str, Any]
    shown: dict[str, Any]
    seconds: float
    neighbours: list[Neighbour] = field(default_factory=list)
    refused: str | None = None


class Studio:
    """One pipeline, used by one call after the other. `studies`, `bank` and `privacy` are what is
    known beside it; None: not known."""

    def __init__(
        self,
        pipe: MedCoDiPipeline,
        studies: Drawn | None = None,
        bank: TrainingBank | None = None,
        privacy: "PrivacyFilter | None" = None,
        vocabulary: str = "chexpert",
    ) -> None:
        self.pipe, self.studies, self.bank, self.privacy = pipe, studies, bank, privacy
        pipe.set_progress_bar_config(disable=True)
        self.labeler = Labeler.from_vocabulary(vocabulary)
        self._lock = threading.Lock()

    @property
    def modalities(self) -> list[Modality]:
        return [self.pipe.family.modality(name) for name in self.pipe.modalities]

    def of(self, storage: str) -> list[Modality]:
        return [m for m in self.modalities if m.storage == storage]

    # Prompts

    def read_picture(self, name: str, path: Path, title: str) -> Given:
        """An uploaded file as the modality sees it. ValueError says what is wrong with it, by its
        `title`: the path is nobody's business."""
        try:
            value = read_picture(path, self.pipe.family.modality(name).args.size)
        except ValueError as error:
            raise ValueError(f"{title}: {str(error).replace(str(path), 'the file')}") from None
        return Given(value, f"uploaded ({title})")

    def read_text(self, name: str, text: str, drawn: Given | None = None) -> Given | None:
        """None for an empty text; ValueError for one that is too long to be a report."""
        if not text.strip():
            return None
        if len(text) > MAX_TEXT:
            raise ValueError(
                f"{name}: a text of {len(text):,} characters, at most {MAX_TEXT:,} are taken"
            )
        return drawn if drawn and drawn.value == text else Given(text, "typed")

    def read_row(
        self, name: str, cells: Sequence[Sequence[Any]], drawn: Given | None = None
    ) -> Given | None:
        """(column, cell) pairs as texts; empty cells are missing, None when all are. ValueError
        names the column."""
        row = {str(c): str(v).strip() for c, v in cells if v is not None and str(v).strip()}
        if not row:
            return None
        (value,) = self.pipe.family.modality(name).from_user([row])
        shown = self.cells(name, value)
        return (
            drawn if drawn and self.cells(name, drawn.value) == shown else Given(value, "filled in")
        )

    def cells(self, name: str, value: Mapping[str, Any] | None) -> list[list[str]]:
        """The row as (column, cell) pairs for the page; all columns, missing ones empty."""
        columns = self.pipe.family.modality(name).schema.columns
        return [[c.name, c.text((value or {}).get(c.name))] for c in columns]

    def draw(self, number: int) -> dict[str, Given]:
        """A held-out study as prompts. ValueError without studies to draw from."""
        if self.studies is None:
            raise ValueError("there are no held-out studies: start with --studies FOLDER")
        if number < 0:
            raise ValueError(f"studies are numbered from 0, got {number}")
        study = self.studies.draw(int(number))
        origin = f"held-out study {study.study_id}"
        return {name: Given(value, origin) for name, value in study.values.items()}

    # Generation

    def generate(
        self,
        given: Mapping[str, Given],
        outputs: Sequence[str],
        seed: int,
        num_inference_steps: int = 25,
        guidance_scale: float | None = None,
        kept: Mapping[str, Given] | None = None,
        strength: float = 1.0,
    ) -> Sample:
        """One sample. `guidance_scale` None: the recipe's. `kept`: parts of outputs that stay as
        they are (values as the pipeline's `keep` takes them); `strength` below 1 varies kept
        pictures as a whole. ValueError for what cannot be asked."""
        kept = dict(kept or {})
        outputs = list(dict.fromkeys([*outputs, *kept]))
        if not outputs:
            raise ValueError("choose at least one output")
        both = [name for name in outputs if name in given]
        if both:
            raise ValueError(
                f"{', '.join(both)} is a prompt and an output: take it out of one of them"
            )
        for name, value, most in (
            ("seed", seed, MAX_SEED),
            ("steps", num_inference_steps, MAX_STEPS),
        ):
            if value is None or value != int(value) or not (name == "steps") <= value <= most:
                raise ValueError(f"{name}: expected a whole number up to {most:,}, got {value}")
        started = time.monotonic()
        prompts = {name: one.value for name, one in given.items()}
        varied = [m.name for m in self.of(Storage.IMAGE) if m.name in kept and strength < 1]
        with self._lock:
            out = self.pipe(
                prompts,
                outputs,
                int(num_inference_steps),
                guidance_scale,
                seeds=[int(seed)],
                keep={name: one.value for name, one in kept.items()} or None,
                strength=dict.fromkeys(varied, strength) or None,
            )
        modalities = {name: self.pipe.family.modality(name) for name in out}
        stored = {name: out.stored[name][0] for name in modalities}
        shown = {name: m.show(out.stored[name][:1]) for name, m in modalities.items()}
        settings = {
            "num_inference_steps": int(num_inference_steps),
            "guidance_scale": guidance_scale,
        }
        if varied:
            settings["strength"] = dict.fromkeys(varied, strength)
        sample = Sample(int(seed), settings, dict(given), kept, stored, shown, 0.0)
        sample.neighbours = self.bank.find(stored) if self.bank else []
        if self.privacy and set(stored) & set(self.privacy.guards):
            verdict = self.privacy.judge({name: [value] for name, value in stored.items()})
            sample.refused = verdict.reasons[0]
        sample.seconds = time.monotonic() - started
        return sample

    # What is shown

    def highlighted(self, report: str) -> list[tuple[str, str | None]]:
        return highlighted(report, self.labeler)

    def findings(self, report: str) -> list[list[str]]:
        return findings(report, self.labeler)

    def origins(self, sample: Sample) -> list[list[str]]:
        """(modality, what it is) of all that the page shows."""
        rows = [[name, f"given: {one.origin}"] for name, one in sample.given.items()]
        made = f"SYNTHETIC (seed {sample.seed}, {sample.settings['num_inference_steps']} steps)"
        for name in sample.stored:
            kept = sample.kept.get(name)
            rows.append([name, f"{made} around a kept part: {kept.origin}" if kept else made])
        return rows

    def nearest(self, sample: Sample) -> list[list[str]]:
        """Rows of the table of nearest training studies."""
        return [
            [n.name, n.study_id, f"{n.distance:.3f}", f"{n.usual:.3f}", n.unit]
            for n in sample.neighbours
        ]

    # Downloads

    def package(self, sample: Sample, kind: str, memory: Path | None = None) -> bytes:
        """A zip of the outputs (PACKAGES), with a README and the settings. Prompts are not in it,
        kept parts are, as parts of the outputs.
        `memory`: a folder for the formats, which write files."""
        if kind not in PACKAGES:
            raise ValueError(f"unknown package {kind!r}: {', '.join(PACKAGES)}")
        modalities = [self.pipe.family.modality(name) for name in sample.stored]
        about = {**sample.settings, "outputs": list(sample.stored)}
        facts = Facts(
            self.pipe.family.recipe.name,
            self.pipe.model_hash,
            medcodi.__version__,
            time.strftime("%Y-%m-%d"),
            about,
        )
        prompts = {name: one.value for name, one in sample.given.items()}
        hashed = hash_prompts(prompts | kept_values(sample.kept))
        study = GeneratedStudy(
            "sample", sample.seed, hashed, sample.stored, sample.shown, (), prompts
        )
        told = {
            "synthetic": True,
            "clinical_use": False,
            **dataclasses.asdict(facts),
            "seed": sample.seed,
            "prompts_sha256": hashed,
            "kept_parts": sorted(sample.kept),  # what is kept of an output may be real
        }
        buffer = io.BytesIO()
        with (
            tempfile.TemporaryDirectory(dir=memory) as folder,
            zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive,
        ):
            writer = get_format(PACKAGES[kind])(modalities, facts)
            for path in writer.write(study, Path(folder), "").files.values():
                archive.write(Path(folder) / path, path)
            archive.writestr("README.txt", f"{NOT_CLINICAL}\nMade by medcodi; see sample.json.\n")
            archive.writestr("sample.json", json.dumps(told, indent=1))
        return buffer.getvalue()


def kept_values(kept: Mapping[str, Given]) -> dict[str, Any]:
    """Kept parts for a hash: a picture and its mask apart."""
    found = {}
    for name, one in kept.items():
        pair = one.value if isinstance(one.value, tuple) else (one.value,)
        found |= {f"keep {name} {i}": part for i, part in enumerate(pair)}
    return found


def windowed(greys: np.ndarray, level: float, width: float) -> Image.Image:
    """A picture (H, W) in [0, 1] through a window: `level` is mid grey, `level` +- `width` / 2
    black and white, both in [0, 1]. Enlarged to SHOWN_SIDE."""
    if not width > 0:
        raise ValueError(f"the width of a window must be positive, got {width}")
    scaled = np.clip((greys - level) / width + 0.5, 0, 1)
    picture = Image.fromarray((scaled * 255).round().astype(np.uint8))
    side = max(SHOWN_SIDE, *greys.shape)
    return picture.resize((side, side), Image.Resampling.BICUBIC)
