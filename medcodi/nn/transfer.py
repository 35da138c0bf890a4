"""From the host to a device."""

import torch


def upload(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """`tensor`, on the CPU, on `device`: a GPU copies from page-locked memory, so that the host
    need not wait for it."""
    return (
        tensor.pin_memory().to(device, non_blocking=True)
        if device.type == "cuda"
        else tensor.to(device)
    )
