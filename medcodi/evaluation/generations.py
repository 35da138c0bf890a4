"""Generated samples: what one table generated, no other generates again.

    work/generated/ROUTE_KEY/settings.json      model hash, steps, seed, switches
                            /part_NNNNN.npz     study ids and values of one batch, written through a
                            temporary name

A sample's seed depends on its prompts, its study and `seed` only, so that routes with the same
prompts are paired and a run that was killed goes on where it stopped.
"""

import functools
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medcodi.data.study import Study
from medcodi.diffusion.sampler import SAMPLER_VERSION
from medcodi.evaluation.samples import read_samples
from medcodi.evaluation.studies import Studies
from medcodi.files import written
from medcodi.identity import fingerprint
from medcodi.nn.seeding import derive_seed
from medcodi.pipeline import MedCoDiPipeline
from medcodi.pipeline.index import family_of, read_index

logger = logging.getLogger(__name__)

Generate = Callable[[list[Study], list[int]], dict[str, list[Any]]]


def sample_seed(seed: int, prompts: Sequence[str], study_id: str) -> int:
    return derive_seed(seed, tuple(prompts), study_id)


class Generations:
    """What one pipeline generates for studies; `folder` keeps it."""

    def __init__(self, studies: Studies, pipeline_dir: Path, folder: Path) -> None:
        self.studies, self.settings = studies, studies.settings
        self.pipeline_dir, self.folder = pipeline_dir, folder

    @functools.cached_property
    def model_hash(self) -> str:
        """Of the pipeline's weights; FileNotFoundError where there is none."""
        return read_index(self.pipeline_dir).model_hash

    @functools.cached_property
    def sampling(self) -> dict[str, dict[str, Any]]:
        """What the pipeline's recipe says of sampling, by modality: its hash does not tell."""
        index = read_index(self.pipeline_dir)
        family = family_of(index, str(self.pipeline_dir))
        return {name: family.modality(name).args.sampling() for name in index.names}

    @property
    def have_pipeline(self) -> bool:
        return (self.pipeline_dir / "model_index.json").is_file()

    @functools.cached_property
    def pipeline(self) -> MedCoDiPipeline:
        pipe = MedCoDiPipeline.from_pretrained(self.pipeline_dir)
        pipe.set_progress_bar_config(disable=True)
        return pipe.to("cuda") if torch.cuda.is_available() else pipe

    def samples(
        self,
        prompts: Sequence[str],
        outputs: Sequence[str],
        num_studies: int | None = None,
        seed: int | None = None,
        joint: bool = True,
        studies: Sequence[Study] | None = None,
        order: Sequence[str] = (),
    ) -> dict[str, list[Any]]:
        """One sample a study: letter -> stored values (float images (H, W), texts, rows), in the
        order of the studies.

        Args:
            prompts, outputs: letters; () prompts is unconditional.
            studies: whose prompts are given; default `held_out(prompts + outputs, num_studies)`.
            joint: False generates every output by a call of its own, with the seeds of the joint
                call: the two differ by the coupling of the outputs alone.
            order: letters of all outputs, to generate them one after the other.

        Cached below `folder`; a route in `evaluation.samples` is read from its folder instead.
        ValueError where there is no study, or a sample is not finite.
        """
        letters = [*prompts, *outputs]
        studies = self.studies.held_out(letters, num_studies) if studies is None else list(studies)
        if not studies:
            names = ", ".join(self.studies.names(letters))
            raise ValueError(f"no held-out study has all of {names}")
        if not joint and len(outputs) > 1:
            apart = [
                self.samples(prompts, [letter], None, seed, True, studies) for letter in outputs
            ]
            return {letter: values[letter] for letter, values in zip(outputs, apart, strict=True)}
        given, wanted = self.studies.names(prompts), self.studies.names(outputs)
        route = f"{''.join(prompts)}>{''.join(outputs)}"
        if route in self.settings.samples:
            return {
                letter: self._read_samples(self.settings.samples[route], letter, studies)
                for letter in outputs
            }
        about = {
            "model": self.model_hash,
            "sampler": SAMPLER_VERSION,
            "data": self.studies.data_hash,
            "prompts": list(given),
            "outputs": list(wanted),
            "seed": self.settings.seed if seed is None else seed,
            "num_inference_steps": self.settings.num_inference_steps,
            "sampling": {name: self.sampling[name] for name in wanted},
        }
        if order:
            about["order"] = list(self.studies.names(order))
        kept = GeneratedRoute(self.folder, about, wanted)
        generate = functools.partial(self._generate, given, wanted, self.studies.names(order))
        values = kept.values(studies, generate, self.settings.batch_size)
        return {letter: values[name] for letter, name in zip(outputs, wanted, strict=True)}

    def _read_samples(self, folder: str, letter: str, studies: list[Study]) -> list[Any]:
        fields = {spec.name: spec for spec in self.studies.split("train").fields}
        name = self.studies.name(letter)
        size = self.studies.recipe.modalities[name].get("size", 0)
        return read_samples(folder, name, fields[name].storage, size, studies)

    def _generate(
        self,
        given: tuple[str, ...],
        wanted: tuple[str, ...],
        order: tuple[str, ...],
        studies: list[Study],
        seeds: list[int],
    ) -> dict[str, list[Any]]:
        logger.info(
            "generating %s from %s, %d samples",
            "+".join(wanted),
            "+".join(given) or "nothing",
            len(studies),
        )
        out = self.pipeline(
            prompts={name: [study.values[name] for study in studies] for name in given},
            outputs=list(wanted),
            num_images_per_prompt=1 if given else len(studies),
            seeds=seeds,
            batch_size=len(studies),
            num_inference_steps=self.settings.num_inference_steps,
            order=order or None,
        )
        return {name: out.stored[name] for name in wanted}


class GeneratedRoute:
    """The samples of one route in one folder, a value for each study that was asked for so far."""

    def __init__(self, folder: Path, settings: dict[str, Any], outputs: Sequence[str]) -> None:
        route = f"{'+'.join(settings['prompts']) or 'nothing'}_to_{'+'.join(outputs)}"
        self.folder, self.settings, self.outputs = (
            folder / f"{route}_{fingerprint(settings)}",
            settings,
            list(outputs),
        )

    def values(
        self, studies: Sequence[Study], generate: Generate, batch_size: int
    ) -> dict[str, list[Any]]:
        """Output name -> stored values, one for each of `studies`; generates and keeps those that
        are not there yet.

        Raises ValueError where a generated image is not finite.
        """
        kept = self._read()
        missing = [study for study in studies if study.study_id not in kept]
        for start in range(0, len(missing), batch_size):
            batch = missing[start : start + batch_size]
            seeds = [
                sample_seed(self.settings["seed"], self.settings["prompts"], study.study_id)
                for study in batch
            ]
            values = generate(batch, seeds)
            self._check(values, batch)
            self._write([study.study_id for study in batch], values)
            kept |= {
                s.study_id: {n: values[n][i] for n in self.outputs} for i, s in enumerate(batch)
            }
        return {name: [kept[study.study_id][name] for study in studies] for name in self.outputs}

    def _check(self, values: dict[str, list[Any]], batch: Sequence[Study]) -> None:
        for name, column in values.items():
            for value, study in zip(column, batch, strict=True):
                if isinstance(value, np.ndarray) and not np.isfinite(value).all():
                    raise ValueError(
                        f"{self.folder.name}: the generated {name} of study {study.study_id} is "
                        "not finite"
                    )

    def _read(self) -> dict[str, dict[str, Any]]:
        kept: dict[str, dict[str, Any]] = {}
        for path in sorted(self.folder.glob("part_*.npz")):
            with np.load(path, allow_pickle=False) as part:
                columns = {name: _unpack(part[name]) for name in self.outputs}
                for i, study_id in enumerate(part["study_id"].tolist()):
                    kept[study_id] = {name: columns[name][i] for name in self.outputs}
        return kept

    def _write(self, study_ids: list[str], values: dict[str, list[Any]]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "settings.json").write_text(json.dumps(self.settings, indent=1))
        number = len(list(self.folder.glob("part_*.npz")))
        packed = {name: _pack(column) for name, column in values.items()}
        with written(self.folder / f"part_{number:05d}.npz") as temporary:
            np.savez(temporary, study_id=np.array(study_ids), **packed)


def _pack(column: list[Any]) -> np.ndarray:
    """Images stacked (B, H, W); texts and rows as one JSON text."""
    return np.stack(column) if isinstance(column[0], np.ndarray) else np.array(json.dumps(column))


def _unpack(stored: np.ndarray) -> list[Any]:
    return list(stored) if stored.ndim else json.loads(str(stored))
