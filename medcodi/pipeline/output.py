"""What the pipeline returns."""

import json
from collections.abc import ItemsView, Iterator, KeysView
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from medcodi.files import staged
from medcodi.modalities.base import Modality

SAMPLES, LATENTS = "samples.json", "latents.safetensors"


class MedCoDiOutput:
    """Generated values by modality name, as attribute or item: `out.frontal[0]`, `out["report"]`.
    Iterating gives the names, as a dict does; `len(out)` is the number of samples N.

    `seeds[i]` regenerates sample i alone, to the bit at the same batch size; `prompt_index[i]` is
    the row of the prompts that sample i belongs to; `latents[name]` (N, *latent_shape) are the
    normalised latents, `stored[name]` the N values in the full precision that `values` (8-bit
    pictures, for one) no longer have, as `Modality.collate` takes them. `interrupted`: the call was
    stopped before its last step; only samples that were reached are here. `refused[i]`: why a
    privacy filter refused earlier draws of sample i.
    """

    def __init__(
        self,
        values: dict[str, Any],
        latents: dict[str, torch.Tensor],
        seeds: list[int],
        prompt_index: list[int],
        stored: dict[str, list[Any]],
        modalities: dict[str, Modality] | None = None,
        interrupted: bool = False,
        refused: list[list[str]] | None = None,
    ) -> None:
        self.values, self.latents, self.stored = values, latents, stored
        self.seeds, self.prompt_index, self.interrupted = seeds, prompt_index, interrupted
        self.refused = [[] for _ in seeds] if refused is None else refused
        self._modalities = modalities or {}

    def keys(self) -> KeysView[str]:
        return self.values.keys()

    def items(self) -> ItemsView[str, Any]:
        return self.values.items()

    def to_tuple(self) -> tuple[Any, ...]:
        return tuple(self.values.values())

    def __iter__(self) -> Iterator[str]:
        return iter(self.values)

    def __contains__(self, name: object) -> bool:
        return name in self.values

    def __getitem__(self, name: str | int) -> Any:
        if isinstance(name, int) and -len(self.values) <= name < len(self.values):
            return self.to_tuple()[name]
        if name not in self.values:
            raise ValueError(f"{name!r} was not generated; outputs: {', '.join(self.values)}")
        return self.values[name]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self.__dict__.get("values", {}):
            raise AttributeError(
                f"no output {name!r}; outputs: {', '.join(self.__dict__.get('values', {}))}"
            )
        return self.values[name]

    def __len__(self) -> int:
        return len(self.seeds)

    def __repr__(self) -> str:
        shapes = {name: "x".join(map(str, x.shape[1:])) for name, x in self.latents.items()}
        told = ", ".join(
            f"{name}: {type(value).__name__} (latents {shapes[name]})"
            for name, value in self.items()
        )
        state = ", interrupted" if self.interrupted else ""
        return f"{type(self).__name__}({len(self)} samples; {told}{state})"

    def save(self, folder: str | Path, overwrite: bool = False) -> Path:
        """Write every sample as the file of its kind (PNG, TXT, CSV), latents as safetensors, and
        samples.json with seeds and prompt rows. The folder is whole or not there.

        Raises ValueError where the folder exists and `overwrite` is off; OSError.
        """
        stems = [f"sample_{i:05d}" for i in range(len(self))]
        files: dict[str, list[str]] = {}
        with staged(folder, overwrite=overwrite) as partial:
            for name, values in self.stored.items():
                modality = self._modalities[name]
                files[name] = modality.write(modality.show(values), partial, stems)
            save_file({n: x.contiguous() for n, x in self.latents.items()}, partial / LATENTS)
            rows = [
                {
                    "seed": self.seeds[i],
                    "prompt_row": self.prompt_index[i],
                    **({"refused": self.refused[i]} if self.refused[i] else {}),
                    "files": {name: names[i] for name, names in files.items()},
                }
                for i in range(len(self))
            ]
            told = {"synthetic": True, "clinical_use": False, "samples": rows}
            (partial / SAMPLES).write_text(json.dumps(told, indent=1), encoding="utf-8")
        return Path(folder)
