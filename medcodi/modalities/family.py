"""A model family: the modalities of a recipe and the networks that it describes."""

import contextlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from medcodi.autoencoders.base import Autoencoder
from medcodi.config import Recipe
from medcodi.config_io import unknown_key
from medcodi.data.prepared import PreparedDataset
from medcodi.diffusion.environment import EnvironmentEncoder
from medcodi.diffusion.ldm import LatentDiffusion
from medcodi.diffusion.multiprompt import PromptFusion
from medcodi.diffusion.objective import build_objective
from medcodi.diffusion.partner_mean import PartnerMean
from medcodi.diffusion.prompt_mean import PromptMean
from medcodi.encoders.base import PromptEncoder
from medcodi.encoders.shared_space import SharedSpace
from medcodi.modalities.base import Modality, get_kind


class ModelFamily:
    """Builds every network of a recipe; holds no weights itself.

    `assets` maps a modality name to what `Modality.fit_assets` learned from the training split.
    """

    def __init__(self, recipe: Recipe, assets: dict[str, dict[str, Any]]) -> None:
        self.recipe, self.assets = recipe, assets
        self.modalities: dict[str, Modality] = {}
        for name, args in recipe.modalities.items():
            if "kind" not in args:
                raise ValueError(f"modalities.{name} has no key 'kind'")
            self.modalities[name] = get_kind(args["kind"])(name, args, assets.get(name))
        self.groups: dict[str, list[str]] = {}
        for name, modality in self.modalities.items():
            self.groups.setdefault(modality.group, []).append(name)
        for group, names in self.groups.items():
            if len({self.modalities[n].kind for n in names}) > 1:
                raise ValueError(
                    f"group {group!r} mixes kinds: {[(n, self.modalities[n].kind) for n in names]}"
                )
            shared = [self.modalities[n].arguments("encoder", "autoencoder") for n in names]
            if any(other != shared[0] for other in shared[1:]):
                raise ValueError(
                    f"group {group!r} shares one encoder and one autoencoder, but {names} have "
                    "different arguments for them"
                )
        self.objective = build_objective(recipe.diffusion)
        self._latent_shapes: dict[str, tuple[int, ...]] = {}  # by group, once built
        self._token_dims: dict[str, int] = {}

    @property
    def names(self) -> list[str]:
        return list(self.modalities)

    @property
    def has_prompts(self) -> bool:
        """Whether a modality can prompt another: one alone has no shared space and no partners."""
        return len(self.modalities) > 1

    def modality(self, name: str) -> Modality:
        """ValueError names the modalities of the recipe."""
        if name not in self.modalities:
            raise unknown_key(
                name, self.modalities, f"the modalities of recipe {self.recipe.name!r}"
            )
        return self.modalities[name]

    def representative(self, group: str) -> Modality:
        return self.modalities[self.groups[group][0]]

    def prompt_names(self, output: str) -> list[str]:
        """The prompts of an output: every other modality, never itself (published fault 5)."""
        return [name for name in self.names if name != self.modality(output).name]

    def build_autoencoder(self, group: str) -> Autoencoder:
        autoencoder = self.representative(group).build_autoencoder()
        self._latent_shapes[group] = autoencoder.latent_shape
        return autoencoder

    def build_prompt_encoder(self, group: str) -> PromptEncoder:
        encoder = self.representative(group).build_prompt_encoder(self.recipe.shared_space)
        self._token_dims[group] = encoder.token_dim
        return encoder

    def build_shared_space(self) -> SharedSpace:
        groups = self.groups if self.has_prompts else ()
        encoders = {group: self.build_prompt_encoder(group) for group in groups}
        return SharedSpace(
            encoders,
            {name: m.group for name, m in self.modalities.items()},
            self.recipe.shared_space.loss,
        )

    def latent_shape(self, group: str) -> tuple[int, ...]:
        if group not in self._latent_shapes:
            with torch.device("meta"):
                self.build_autoencoder(group)
        return self._latent_shapes[group]

    def token_dim(self, name: str) -> int:
        """Width of the prompt tokens of a modality."""
        group = self.modality(name).group
        if group not in self._token_dims:
            with torch.device("meta"):
                self.build_prompt_encoder(group)
        return self._token_dims[group]

    def build_diffusion(self, name: str, coupled: bool = False) -> LatentDiffusion:
        diffusion = self.recipe.diffusion
        prompts = {n: self.token_dim(n) for n in self.prompt_names(name)}
        modality = self.modality(name)
        shape = self.latent_shape(modality.group)
        denoiser = modality.build_denoiser(shape, diffusion)
        latent_encoders = None
        if diffusion.prompt_latents:
            latent_encoders = {n: self.build_environment(n, diffusion.context_dim) for n in prompts}
        fusion = PromptFusion(
            diffusion.fusion,
            prompts,
            self.recipe.shared_space.embed_dim,
            diffusion.context_dim,
            latent_encoders,
        )
        mean = PromptMean(shape, diffusion.context_dim) if diffusion.prompt_mean else None
        model = LatentDiffusion(fusion, denoiser, self.objective, mean)
        if coupled:
            self.couple(model, name)
        return model

    def couple(self, model: LatentDiffusion, name: str) -> None:
        """Add to the model of stage 2 what stage 3 trains."""
        dim, mean = self.recipe.diffusion.environment_dim, None
        if self.recipe.diffusion.partner_mean:
            shape = self.latent_shape(self.modality(name).group)
            tokens = {n: self.build_environment(n).num_tokens for n in self.prompt_names(name)}
            mean = PartnerMean(shape, self.recipe.diffusion.context_dim, dim, tokens)
        model.add_coupling(dim, mean)

    def build_environment(self, name: str, dim: int | None = None) -> EnvironmentEncoder:
        """V_m of one modality, to tokens of width `dim` (default: `diffusion.environment_dim`).
        Never shared: each follows its own generative process."""
        modality = self.modality(name)
        dim = self.recipe.diffusion.environment_dim if dim is None else dim
        return modality.build_environment_encoder(self.latent_shape(modality.group), dim)

    def build_environments(self) -> nn.ModuleDict:
        return nn.ModuleDict({name: self.build_environment(name) for name in self.names})


def fit_assets(recipe: Recipe, dataset: PreparedDataset) -> dict[str, dict[str, Any]]:
    """Assets of every modality of a recipe, from the training split."""
    assets = {}
    for name, args in recipe.modalities.items():
        modality = get_kind(args.get("kind", ""))(name, args)
        assets[name] = modality.fit_assets(dataset)
    return assets


def load_assets(path: Path) -> dict[str, dict[str, Any]]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: the run has not been started yet")
    return json.loads(path.read_text())


@contextlib.contextmanager
def seeded(seed: int):
    """Build networks under a fixed seed, leaving the global generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
