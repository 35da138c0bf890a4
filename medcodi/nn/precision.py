"""In which precision does a network compute where it is? `mixed_precision` of a recipe is `no`,
`bf16`, or `auto`: bf16 where the hardware multiplies in bf16, and float32 elsewhere.

A CPU without such instructions emulates bf16 and takes 10 to 50 times as long as with float32.
"""

import torch


def has_bf16(device: torch.device) -> bool:
    """Whether the hardware behind `device` multiplies in bf16."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return False


def computed_in(mixed_precision: str, device: torch.device) -> str:
    """`no` or `bf16`: what `mixed_precision` comes to on a device."""
    if mixed_precision == "auto":
        return "bf16" if has_bf16(device) else "no"
    return mixed_precision


def autocast(device: torch.device, mixed_precision: str) -> torch.autocast:
    """The precision that a stage trains in."""
    enabled = computed_in(mixed_precision, device) == "bf16"
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)
