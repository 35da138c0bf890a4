"""Where the networks of a pipeline are, and in which dtype: `to`, offloading, slicing.

A call has three phases: encode prompts (encoders, autoencoders), denoise (diffusion networks,
environment encoders), decode (autoencoders). Offloading keeps on the device what the phase needs.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import nn

from medcodi.pipeline.arguments import shown
from medcodi.pipeline.networks import FamilyNetworks, cast, check_dtype

HALF = (torch.float16, torch.bfloat16)


class Placement:
    """What MedCoDiPipeline does with its `components`; everything returns the pipeline or None as
    diffusers' methods of the same name do."""

    networks: FamilyNetworks
    _offload_to: torch.device | None = None

    @property
    def _denoisers(self) -> list[nn.Module]:
        return list(self.networks.components["diffusion"].values())

    @property
    def device(self) -> torch.device:
        """Where calls are computed."""
        if self._offload_to is not None:
            return self._offload_to
        return next(self._denoisers[0].parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self._denoisers[0].parameters()).dtype

    def to(self, *args: Any, device: Any = None, dtype: torch.dtype | None = None) -> Any:
        """Move to a device, cast to a dtype, or both: `to("cuda")`, `to(torch.bfloat16)`,
        `to("cuda", torch.float16)`. The dtype is that of the diffusion networks: encoders and
        autoencoders stay in float32, where their small numbers count. ValueError for a dtype that
        is no floating point, and for a device while offloading is on."""
        for value in args:
            if isinstance(value, torch.dtype):
                dtype = value
            elif isinstance(value, (str, int, torch.device)) and not isinstance(value, bool):
                device = value
            elif value is not None:
                raise ValueError(f"to() takes a device and a dtype, got {shown(value)}")
        check_dtype(dtype)
        if device is not None and self._offload_to is not None:
            raise ValueError(
                f"the networks are offloaded and run on {self._offload_to}: to() would undo it"
            )
        cast(self.networks.components, dtype, device)
        return self

    def enable_model_cpu_offload(
        self, gpu_id: int | None = None, device: torch.device | str = "cuda"
    ) -> None:
        """Keep the networks in main memory; each phase of a call moves its own to the device and
        back. The device holds the diffusion networks of all outputs at most."""
        device = torch.device(device)
        if gpu_id is not None:
            device = torch.device(device.type, gpu_id)
        cast(self.networks.components, None, "cpu")
        self._offload_to = device

    def enable_sequential_cpu_offload(self, *args: Any, **kwargs: Any) -> None:
        raise ValueError(
            "sequential offload would move every layer of every denoiser at every step, and closed "
            "forms read their weights outside a forward pass: take enable_model_cpu_offload, and "
            "fewer outputs or a smaller batch_size a call"
        )

    def enable_group_offload(self, *args: Any, **kwargs: Any) -> None:
        self.enable_sequential_cpu_offload()

    @contextlib.contextmanager
    def placed(self, *kinds: str) -> Iterator[None]:
        """Inside, the networks of `kinds` are on the device, wherever they are otherwise."""
        modules = [m for kind in kinds for m in self.networks.components[kind].values()]
        if self._offload_to is None:
            yield
            return
        try:
            for module in modules:
                module.to(self._offload_to)
            yield
        finally:
            for module in modules:
                module.to("cpu")

    def enable_vae_slicing(self) -> None:
        """Image autoencoders encode and decode one picture at a time."""
        for vae in self._image_autoencoders():
            vae.enable_slicing()

    def disable_vae_slicing(self) -> None:
        for vae in self._image_autoencoders():
            vae.disable_slicing()

    def _image_autoencoders(self) -> list[AutoencoderKL]:
        modules = [m for a in self.networks.components["autoencoder"].values() for m in a.modules()]
        return [m for m in modules if isinstance(m, AutoencoderKL)]

    def enable_vae_tiling(self) -> None:
        raise ValueError(
            "a tile is as large as the picture that the autoencoder was trained on, so that tiling "
            "saves nothing: take enable_vae_slicing, or a smaller batch_size"
        )

    def enable_attention_slicing(self, *args: Any, **kwargs: Any) -> None:
        raise ValueError(
            "attention runs in scaled_dot_product_attention, which keeps no attention matrix, so "
            "that slicing saves nothing; it would also replace the cross-modal attention"
        )

    def enable_xformers_memory_efficient_attention(self, *args: Any, **kwargs: Any) -> None:
        self.enable_attention_slicing()
