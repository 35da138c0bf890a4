"""Generated samples on disk: what one table generated, no other generates again.

    work/generated/ROUTE_KEY/settings.json      model hash, steps, seed, switches
                            /part_NNNNN.npz     study ids and values of one batch, written through a
                            temporary name

A sample's seed depends on its prompts, its study and `seed` only, so that routes with the same
prompts are paired and a run that was killed goes on where it stopped.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medcodi.data.study import Study
from medcodi.files import written
from medcodi.identity import fingerprint
from medcodi.nn.seeding import derive_seed

Generate = Callable[[list[Study], list[int]], dict[str, list[Any]]]


def sample_seed(seed: int, prompts: Sequence[str], study_id: str) -> int:
    return derive_seed(seed, tuple(prompts), study_id)


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
