"""What the pipeline returns."""

from typing import Any

import torch


class MedCoDiOutput:
    """Generated values by modality name, as attribute or item: `out.frontal[0]`, `out["report"]`.

    `seeds[i]` regenerates sample i alone; `prompt_index[i]` is the row of the prompts that sample i
    belongs to; `latents[name]` (N, *latent_shape) are the normalised latents, `value_batches[name]`
    what the autoencoder made of
    them: the full precision that `values` (8-bit pictures, for one) no longer have.
    """

    def __init__(
        self,
        values: dict[str, Any],
        latents: dict[str, torch.Tensor],
        seeds: list[int],
        prompt_index: list[int],
        value_batches: dict[str, Any],
    ) -> None:
        self.values, self.latents, self.seeds, self.prompt_index = (
            values,
            latents,
            seeds,
            prompt_index,
        )
        self.value_batches = value_batches

    def __getitem__(self, name: str) -> Any:
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
