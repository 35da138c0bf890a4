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
    batches: dict[str, Any] = {}
    values: dict[str, Any] = dict(latents)
    if call.output_type != "latent":
        for name, modality in modalities.items():
            autoencoder = autoencoders[modality.group]
            batches[name] = _decode(modality, autoencoder, latents[name], seeds, call.batch_size)
            values[name] = shown(modality, batches[name], call.output_type)
    index = call.prompt_index[: len(seeds)]
    return MedCoDiOutput(values, latents, seeds, index, batches, modalities, interrupted)


def _decode(
    modality: Modality,
    autoencoder: Autoencoder,
    latents: torch.Tensor,
    seeds: Sequence[int],
    batch_size: int,
) -> Any:
    """(N, *latent_shape) -> value batch; a decoder that samples draws from each sample's seed."""
    batches = []
    for start in range(0, len(latents), batch_size):
        rows = slice(start, start + batch_size)
        generators = [derive_generator(seed, modality.name, "decode") for seed in seeds[rows]]
        batches.append(modality.decode(autoencoder, latents[rows], generators))
    return modality.concat(batches)


def shown(modality: Modality, batch: Any, output_type: str) -> Any:
    """As `output_type` says: "pil" is what users look at; pictures are (N, H, W, 1) as "np" and
    (N, 1, H, W) as "pt", in [0, 1]."""
    if output_type == "pil":
        return modality.to_user(batch)
    values = modality.to_array(batch)
    if output_type == "pt" and isinstance(values, np.ndarray):
        return torch.from_numpy(np.moveaxis(values, -1, 1).copy())
    return values
