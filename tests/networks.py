"""Tiny real networks, objectives and encodings for the tests of nn, encoders and diffusion (no
data, no training).

Legend: B batch.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from medcodi.autoencoders.tokenizer import ReportTokenizer
from medcodi.config import DiffusionConfig, Recipe
from medcodi.diffusion.denoisers.unet import ImageDenoiser
from medcodi.diffusion.denoisers.vector import VectorDenoiser
from medcodi.diffusion.environment import EnvironmentEncoder
from medcodi.diffusion.ldm import LatentDiffusion
from medcodi.diffusion.multiprompt import PromptFusion
from medcodi.diffusion.objective import Objective, build_objective
from medcodi.encoders.base import PromptEncoding
from medcodi.modalities import ModelFamily
from medcodi.phantom.table import SCHEMA
from medcodi.training.cached import CachedBatch
from tests.tiny import tiny_recipe

EMBED, TOKEN, CONTEXT, ENVIRONMENT, PROMPT_TOKENS = 8, 6, 8, 8, 3
SHAPES = {"grid": (2, 4, 4), "slots": (3, 4)}
PROMPTS = ("p", "q")
UNET = {
    "block_out_channels": (8, 16),
    "down_block_types": ("CrossAttnDownBlock2D",) * 2,
    "up_block_types": ("CrossAttnUpBlock2D",) * 2,
    "layers_per_block": 1,
    "attention_head_dim": 2,
    "norm_num_groups": 4,
}
REPORTS = [
    "The lungs are clear.",
    "Small left pleural effusion.",
    "The heart is enlarged. No pneumothorax.",
]
VECTOR = {"width": 16, "depth": 3, "num_heads": 2}
TINY_FC_UNET = {
    "model_channels": 16,
    "channel_mult": [1, 2],
    "attention": [True, False],
    "num_blocks": 1,
    "second_dim": 2,
    "num_heads": 2,
    "norm_num_groups": 4,
}


def tiny_assets(recipe: Recipe) -> dict[str, dict]:
    """A tokenizer of three sentences for every report, the phantom's schema for every table."""
    of_kind = {
        "report": {"tokenizer": ReportTokenizer.train(REPORTS, vocab_size=300).to_json()},
        "tabular": {"schema": SCHEMA.to_dicts()},
    }
    return {name: of_kind.get(args["kind"], {}) for name, args in recipe.modalities.items()}


def tiny_family(**diffusion) -> ModelFamily:
    """The family of `tests.tiny`, without data: its assets are made here."""
    recipe = tiny_recipe(Path("no data"), diffusion=diffusion)
    return ModelFamily(recipe, tiny_assets(recipe))


def objective(prediction_type: str = "flow", **changes) -> Objective:
    return build_objective(DiffusionConfig(prediction_type=prediction_type, **changes))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=generator(seed))


def encoding(
    batch: int,
    seed: int = 0,
    embed_dim: int = EMBED,
    tokens: int = PROMPT_TOKENS,
    token_dim: int = TOKEN,
) -> PromptEncoding:
    embeds = nn.functional.normalize(normal(batch, embed_dim, seed=seed), dim=-1)
    return PromptEncoding(
        embeds,
        normal(batch, tokens, token_dim, seed=seed + 1000),
        torch.ones(batch, tokens, dtype=torch.bool),
    )


@torch.no_grad()
def wake(module: nn.Module, seed: int = 0) -> nn.Module:
    """Give the zero-initialised weights a value, as training would."""
    source = generator(seed)
    for parameter in module.parameters():
        if parameter.numel() and not parameter.any():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=source))
    return module


def denoiser(kind: str, seed: int = 0) -> nn.Module:
    """Eval mode; no weight is zero, so that the prediction is not zero either."""
    torch.manual_seed(seed)
    shape = SHAPES[kind]
    built = (
        VectorDenoiser(shape, CONTEXT, **VECTOR)
        if kind == "slots"
        else ImageDenoiser(shape, CONTEXT, UNET)
    )
    return wake(built, seed).eval()


def fusion(kind: str = "tokens", names: tuple[str, ...] = PROMPTS, seed: int = 0) -> PromptFusion:
    torch.manual_seed(seed)
    return PromptFusion(kind, dict.fromkeys(names, TOKEN), EMBED, CONTEXT)


def diffusion(
    kind: str, coupled: bool = False, fused: str = "tokens", seed: int = 0
) -> LatentDiffusion:
    """LDM of `kind`; `coupled` adds cross-modal attention, still with its zero output
    projection."""
    model = LatentDiffusion(
        fusion(fused, seed=seed), denoiser(kind, seed), build_objective(DiffusionConfig())
    )
    if coupled:
        model.denoiser.add_coupling(ENVIRONMENT)
    return model.eval()


def environments(seed: int = 0) -> nn.ModuleDict:
    torch.manual_seed(seed)
    return nn.ModuleDict(
        {name: EnvironmentEncoder(shape, ENVIRONMENT) for name, shape in SHAPES.items()}
    ).eval()


def cached_batch(
    family: ModelFamily, rows: int, prompts: Sequence[str] | None = None, seed: int = 0
) -> CachedBatch:
    """Studies that have everything: latents of all modalities, encodings of `prompts` (default: of
    all)."""
    latents, encodings = {}, {}
    for i, name in enumerate(family.names):
        latents[name] = normal(
            rows, *family.latent_shape(family.modality(name).group), seed=seed + i
        )
        if prompts is None or name in prompts:
            space = family.recipe.shared_space
            encodings[name] = encoding(
                rows, seed + 50 + i, space.embed_dim, tokens=4, token_dim=family.token_dim(name)
            )
    return CachedBatch(
        latents, encodings, {name: torch.ones(rows, dtype=torch.bool) for name in latents}
    )
