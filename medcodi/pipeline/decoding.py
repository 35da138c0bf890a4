"""Latents of a call -> what it returns.

Legend: N samples, H W pixels.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from medcodi.autoencoders.base import Autoencoder
from medcodi.modalities.base import Modality
from medcodi.modalities.family import ModelFamily
from medcodi.modalities.parts import Part
from medcodi.nn.seeding import derive_generator
from medcodi.pipeline.arguments import check_finite
from medcodi.pipeline.checks import Call
from medcodi.pipeline.output import MedCoDiOutput


def decoded(
    call: Call,
    parts: Sequence[Mapping[str, torch.Tensor]],
    family: ModelFamily,
    autoencoders: Mapping[str, Autoencoder],
    interrupted: bool,
) -> MedCoDiOutput:
    """The latents of all batches, decoded as `call.output_type` says. ValueError for numbers that
    are not finite."""
    latents = {name: torch.cat([part[name].float() for part in parts]) for name in call.outputs}
    check_finite(latents, "latents")
    seeds = call.seeds[: len(latents[call.outputs[0]])]
    modalities = {name: family.modality(name) for name in call.outputs}
    index = call.prompt_index[: len(seeds)]
    stored: dict[str, list[Any]] = {}
    values: dict[str, Any] = dict(latents)
    if call.output_type != "latent":
        for name, modality in modalities.items():
            parts_kept = [call.keep[name][row] for row in index] if name in call.keep else None
            stored[name] = _decode(
                modality,
                autoencoders[modality.group],
                latents[name],
                seeds,
                parts_kept,
                call.batch_size,
            )
            values[name] = shown(modality, stored[name], call.output_type)
    return MedCoDiOutput(values, latents, seeds, index, stored, modalities, interrupted)


def _decode(
    modality: Modality,
    autoencoder: Autoencoder,
    latents: torch.Tensor,
    seeds: Sequence[int],
    parts: Sequence[Part | None] | None,
    batch_size: int,
) -> list[Any]:
    """(N, *latent_shape) -> N stored values, with what `parts` keep; a decoder that samples draws
    from each sample's seed."""
    stored: list[Any] = []
    for start in range(0, len(latents), batch_size):
        rows = slice(start, start + batch_size)
        generators = [derive_generator(seed, modality.name, "decode") for seed in seeds[rows]]
        if parts is None:
            batch = modality.decode(autoencoder, latents[rows], generators)
            stored += modality.to_stored(batch)
        else:
            stored += modality.parts.decode(autoencoder, latents[rows], parts[rows], generators)
    return stored


def shown(modality: Modality, stored: Sequence[Any], output_type: str) -> Any:
    """As `output_type` says: "pil" is what users look at; pictures are (N, H, W, 1) as "np" and
    (N, 1, H, W) as "pt", in [0, 1]."""
    if output_type == "pil":
        return modality.show(stored)
    values = modality.to_array(stored)
    if output_type == "pt" and isinstance(values, np.ndarray):
        return torch.from_numpy(np.moveaxis(values, -1, 1).copy())
    return values
