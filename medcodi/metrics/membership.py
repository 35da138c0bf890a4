"""White-box membership: how well does a pipeline denoise a value, alone and with its study known?

Legend: N values.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from medcodi.diffusion.joint import JointModel
from medcodi.nn.seeding import derive_generator


@torch.no_grad()
def denoising_losses(
    pipe: Any,
    name: str,
    values: Sequence[Any],
    seed: int = 0,
    prompts: Mapping[str, Sequence[Any]] | None = None,
    noise_levels: Sequence[float] = (0.2, 0.5, 0.8),
    num_noises: int = 2,
    batch_size: int = 64,
) -> np.ndarray:
    """Loss of modality `name`'s denoiser on stored `values`: (N,), mean over noise levels (shares
    of the timesteps) and draws that are the same for every value. Members of the training set may
    lie lower. `prompts`: what an attacker knows of the same studies, name -> N stored values;
    default nothing."""
    modality, objective, diffusion = (
        pipe.family.modality(name),
        pipe.family.objective,
        pipe.diffusions[name],
    )
    losses = []
    for start in range(0, len(values), batch_size):
        rows = slice(start, start + batch_size)
        batch = modality.collate(list(values[rows]))
        batch = batch.to(pipe.device) if isinstance(batch, torch.Tensor) else batch
        latents = pipe.autoencoders[modality.group].encode(batch).to(pipe.dtype)
        known = pipe.encode_prompts({n: list(of[rows]) for n, of in (prompts or {}).items()})
        joint = JointModel({name: diffusion}, None, objective)
        context = joint.contexts(known, len(latents), pipe.device)[name]
        total = torch.zeros(len(latents), device=pipe.device)
        for level in noise_levels:
            timesteps = torch.full(
                (len(latents),),
                float(int(level * objective.num_train_timesteps)),
                device=pipe.device,
            )
            for draw in range(num_noises):
                generator = derive_generator(seed, name, level, draw)
                noise = (
                    torch.randn(latents.shape[1:], generator=generator)
                    .to(latents)
                    .expand_as(latents)
                )
                noisy = objective.sample(latents, noise, timesteps)
                error = diffusion(noisy.latents, timesteps, context) - noisy.target
                total += error.float().square().flatten(1).mean(dim=1)
        losses.append((total / (len(noise_levels) * num_noises)).cpu())
    return torch.cat(losses).numpy()
