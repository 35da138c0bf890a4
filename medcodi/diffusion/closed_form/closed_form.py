"""The interface of the closed form: what a latent diffusion model and a joint model ask of it.

Legend: B batch, P prompts.
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from medcodi.diffusion.closed_form.linear_coupling import Latents, LinearCoupling, Partner
from medcodi.diffusion.closed_form.linear_denoiser import LinearDenoiser, Rows
from medcodi.diffusion.objective import Objective, expand_as
from medcodi.encoders.base import PromptEncoding

MIN_SIGMA = 1e-3
FITS = "linear_denoiser.json"  # R^2 on the validation split by subset of the prompts


@dataclass
class Known:
    """What prompts say in closed form: mu_S `mean` (B, *latent_shape), and `keep` (B, P) bool, the
    prompts of each row."""

    mean: torch.Tensor
    keep: torch.Tensor

    def __getitem__(self, rows: torch.Tensor | slice) -> "Known":
        return Known(self.mean[rows], self.keep[rows])


class ClosedForm(nn.Module):
    """Of one output: the best linear denoiser given prompts, and from stage 3 on what its partners
    add. The network sees y = z_t - alpha mu_S and the linear estimate of z_0 beside it, and
    predicts what the linear prediction leaves over."""

    def __init__(self, denoiser: LinearDenoiser, objective: Objective) -> None:
        super().__init__()
        self.denoiser, self.objective = denoiser, objective
        self.coupling: LinearCoupling | None = None

    def add_coupling(self, output: str, latent_shapes: dict[str, tuple[int, ...]]) -> None:
        """Stage 3: `latent_shapes` of all modalities, of which this is `output`."""
        self.coupling = LinearCoupling(output, latent_shapes)

    def known(self, prompts: dict[str, PromptEncoding], keep: torch.Tensor) -> Known:
        """`keep` (B, P) bool over the prompts of this output."""
        return Known(self.denoiser.mean(prompts, keep), keep)

    def forward(
        self,
        denoise: Callable[..., torch.Tensor],
        latents: torch.Tensor,
        timesteps: torch.Tensor,
        known: Known,
        innovation: torch.Tensor | None,
        dtype: torch.dtype,
    ) -> torch.Tensor:
        """The prediction at z_t (B, *latent_shape) and t (B,). `denoise(y, estimate=...)` is the
        network, which takes numbers of `dtype`; `innovation` (B, *latent_shape) is what partners
        add to the estimate of z_0."""
        alpha, sigma = self.objective.alpha_sigma(timesteps)
        residual = latents - expand_as(alpha, latents) * known.mean
        signal, noise = self.denoiser(residual, alpha, sigma, known.keep)
        estimate = known.mean + signal
        prediction = denoise(residual.to(dtype), estimate=estimate.to(dtype))
        if innovation is not None:  # z_t stays: more signal is less noise
            estimate = estimate + innovation
            noise = noise - expand_as(alpha / sigma.clamp(min=MIN_SIGMA), latents) * innovation
        return (prediction + self.objective.target(estimate, noise, timesteps)).to(latents)

    def fit(
        self,
        rows: Mapping[str, Callable[[], Iterable[Rows]]],
        multi_prompt: bool,
        folder: Path,
    ) -> None:
        """Fit to the rows of the splits "train" and "validation" (see LinearDenoiser.fit); R^2 by
        subset goes to `folder`."""
        fits = self.denoiser.fit(rows["train"], rows["validation"], multi_prompt=multi_prompt)
        (folder / FITS).write_text(json.dumps([asdict(fit) for fit in fits], indent=1))


def build(
    embed_dim: int,
    latent_shapes: dict[str, tuple[int, ...]],
    output: str,
    prompt_latents: bool,
    penalty: float,
    objective: Objective,
) -> ClosedForm:
    """For `output`, whose prompts are all other names of `latent_shapes`, in their order."""
    numbers = {
        name: (embed_dim, math.prod(shape) if prompt_latents else 0)
        for name, shape in latent_shapes.items()
        if name != output
    }
    return ClosedForm(LinearDenoiser(numbers, latent_shapes[output], penalty), objective)


def innovations(
    models: Mapping[str, Any], states: Mapping[str, Any], contexts: Mapping[str, Any]
) -> dict[str, torch.Tensor]:
    """What the noisy latents of the other outputs add to the estimate of each output
    (linear_coupling.py): name -> (B, *latent_shape); empty without the closed form. `models`
    (LatentDiffusion) are the outputs; `states` (JointState) and `contexts` (Context) are theirs."""
    forms = {name: model.closed_form for name, model in models.items()}
    if len(forms) < 2 or any(form is None or form.coupling is None for form in forms.values()):
        return {}
    shown, added = {}, {}
    for name, form in forms.items():
        state, known = states[name], contexts[name].known
        alpha, sigma = form.objective.alpha_sigma(state.timesteps)
        residual = state.latents - expand_as(alpha, state.latents) * known.mean
        shown[name] = Partner(residual, alpha, sigma, state.noisy)
    for name, form in forms.items():
        columns, keep = form.denoiser.names, contexts[name].known.keep
        given = [
            keep[:, columns.index(n)] if n in columns else torch.zeros_like(keep[:, 0])
            for n in form.coupling.names
        ]
        added[name] = form.coupling(shown, torch.stack(given, dim=1))
    return added


def fit_couplings(models: Iterable[Any], batches: Callable[[], Iterable[Latents]]) -> None:
    """Fit the coupling of all outputs (LatentDiffusion), once (see LinearCoupling.fit)."""
    first, *others = (model.closed_form.coupling for model in models)
    first.fit(batches)
    for other in others:
        other.copy_from(first)
