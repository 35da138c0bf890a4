"""Prompts -> what the denoisers see of them.

Legend: R prompt rows.
"""

import functools
from typing import Any

import torch
from torch import nn

from medcodi.diffusion.joint import Prompts
from medcodi.encoders.base import PromptEncoding
from medcodi.modalities.family import ModelFamily
from medcodi.nn.rows import spread
from medcodi.pipeline.checks import Stored
from medcodi.pipeline.index import as_value_error


class PromptReader:
    """Prompt encoders and autoencoders of a family by group, on `device`; encodings are cast to
    `dtype`, that of the denoisers."""

    def __init__(
        self,
        family: ModelFamily,
        encoders: dict[str, nn.Module],
        autoencoders: dict[str, nn.Module],
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.family, self.encoders, self.autoencoders = family, encoders, autoencoders
        self.device, self.dtype = device, dtype

    def batch(self, name: str, stored: list[Any]) -> Any:
        """Stored values, none of them None -> value batch on the device."""
        with as_value_error(f"modality {name!r}: a value"):
            batch = self.family.modality(name).collate(stored)
        return batch.to(self.device) if isinstance(batch, torch.Tensor) else batch

    def encoding(self, name: str, stored: list[Any], with_latents: bool) -> PromptEncoding:
        """Encoding of stored values, none of them None."""
        group, batch = self.family.modality(name).group, self.batch(name, stored)
        encoding = self.encoders[group](batch)
        if with_latents:
            encoding.latents = self.autoencoders[group].encode(batch)
        return encoding

    def read(self, stored: Stored, clean: bool, batch_size: int) -> Prompts:
        """R stored values a name -> Prompts, `batch_size` values at a time. Rows that lack a value
        (None) hold zeros and are masked. `clean`: given values also condition through the coupling,
        with their latents."""
        prompts, with_latents = Prompts(), clean or self.family.recipe.diffusion.prompt_latents
        for name, values in stored.items():
            given = torch.tensor([v is not None for v in values], device=self.device)  # (R,)
            there = [v for v in values if v is not None]
            if not there:
                continue
            parts = [
                self.encoding(name, there[start : start + batch_size], with_latents)
                for start in range(0, len(there), batch_size)
            ]
            encoding = PromptEncoding.concat(parts)
            encoding = encoding.map(functools.partial(spread, given=given))
            encoding = encoding.map(lambda x: x if x.dtype == torch.bool else x.to(self.dtype))
            prompts.encodings[name], prompts.given[name] = encoding, given
            if clean:
                prompts.clean[name] = encoding.latents
        return prompts
