"""Memory of a training step and of joint sampling, worked out without spending any: tensors without
values, counted as they come and go.

Legend: B rows of a batch.
"""

import contextlib
import weakref
from collections.abc import Iterator
from typing import Any

import torch
from tokenizers import Tokenizer, models
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from medcodi.autoencoders.tokenizer import SPECIAL_TOKENS
from medcodi.config import Recipe, StageConfig
from medcodi.diffusion.joint import JointModel, Prompts
from medcodi.diffusion.sampler import GuidedPrediction
from medcodi.encoders.base import PromptEncoding
from medcodi.modalities.family import ModelFamily
from medcodi.modalities.report import GPT2_TOKENS
from medcodi.phantom.table import SCHEMA
from medcodi.training.speed import speed_up

GIB = 2**30
BERT_TOKENS = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "bos_token": "[CLS]",
    "eos_token": "[SEP]",
}
NUM_TOKENS = 32  # of a prompt, where its encoder has no fixed number


class PeakMemory(TorchDispatchMode):
    """Counts the bytes of the storages that operations inside make, while they live: `peak` is the
    most at once."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        out = function(*args, **(kwargs or {}))
        tree_map_only(torch.Tensor, self._count, out)
        return out

    def _count(self, tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key not in self._known:
            self._known.add(key)
            self.live += size
            self.peak = max(self.peak, self.live)
            weakref.finalize(storage, self._forget, key, size)
        return tensor

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.live -= size


@contextlib.contextmanager
def without_memory() -> Iterator[PeakMemory]:
    """Inside, tensors have shapes and types, and no values."""
    with FakeTensorMode(allow_non_fake_inputs=True), PeakMemory() as memory:
        yield memory


@contextlib.contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def stand_in(size: int, special_tokens: dict[str, str]) -> str:
    """A tokenizer of exactly `size` tokens, as tokenizer.json."""
    words = [*special_tokens.values(), *(f"w{i}" for i in range(size - len(special_tokens)))]
    unknown = special_tokens.get("unk_token", words[-1])
    return Tokenizer(
        models.WordLevel({w: i for i, w in enumerate(words)}, unk_token=unknown)
    ).to_str()


def stand_in_assets(recipe: Recipe) -> dict[str, Any]:
    """Tokenizers of the sizes that training would meet: BERT cased 28,996 and GPT-2 50,257 + 3, or
    `vocab_size`. Tables have the phantom's columns."""
    tables = {
        name: {"schema": SCHEMA.to_dicts()}
        for name, args in recipe.modalities.items()
        if args["kind"] == "tabular"
    }
    report = recipe.modalities["report"]
    if "autoencoder_tokenizers" in report:
        return tables | {
            "report": {
                "tokenizer": stand_in(50_260, GPT2_TOKENS),
                "encoder_tokenizer": stand_in(28_996, BERT_TOKENS),
                "special_tokens": {"tokenizer": GPT2_TOKENS, "encoder_tokenizer": BERT_TOKENS},
            }
        }
    return tables | {"report": {"tokenizer": stand_in(report["vocab_size"], SPECIAL_TOKENS)}}


def prompts_of(family: ModelFamily, name: str, rows: int) -> dict[str, PromptEncoding]:
    """Encodings (B, ...) of every prompt of an output, with the latents that the recipe gives."""
    space, found = family.recipe.shared_space, {}
    for prompt in family.prompt_names(name):
        latents = torch.randn(rows, *family.latent_shape(family.modality(prompt).group))
        tokens = getattr(
            getattr(family.modality(prompt).args, "encoder", None), "num_tokens", NUM_TOKENS
        )
        found[prompt] = PromptEncoding(
            torch.randn(rows, space.embed_dim),
            torch.randn(rows, tokens, family.token_dim(prompt)),
            torch.ones(rows, tokens, dtype=torch.bool),
            latents if family.recipe.diffusion.prompt_latents else None,
        )
    return found


def weights_of(*modules: nn.Module) -> int:
    """Bytes."""
    return sum(p.numel() * p.element_size() for module in modules for p in module.parameters())


def training_step(
    family: ModelFamily, name: str, rows: int, config: StageConfig
) -> dict[str, float]:
    """GiB of a step of stage 2 on one process: fp32 weights, gradients, two moments, the average
    (with `ema_decay`), and at the most what forward and backward hold beside them; `buckets` is
    what DDP's copy of the gradients adds to that."""
    with without_memory() as memory:
        model = family.build_diffusion(name).train()
        speed_up(model, config)
        weights = weights_of(model)
        latents, timesteps = (
            torch.randn(rows, *family.latent_shape(family.modality(name).group)),
            torch.full((rows,), 500.0),
        )
        prompts = prompts_of(family, name, rows)
        keep = torch.ones(rows, len(prompts), dtype=torch.bool)
        before, memory.peak = memory.live, memory.live
        with torch.autocast("cpu", torch.bfloat16, enabled=config.mixed_precision != "no"):
            context = model.context(prompts, keep)
            loss = model(latents, timesteps, context).float().square().mean()
            if context.mean is not None:
                loss = loss + context.mean.float().square().mean()
        kept = memory.live - before
        loss.backward()
        most = memory.peak - before
    state = weights * (4 + (config.ema_decay > 0))
    # gradients come while activations go: they are in `most` as far as they meet
    return {
        "parameters_million": weights / 4e6,
        "state": state / GIB,
        "activations": kept / GIB,
        "peak": (state - weights + max(most, weights)) / GIB,
        "buckets": weights / GIB,
    }


@torch.no_grad()
def joint_sampling(
    family: ModelFamily, names: list[str], rows: int, dtype: torch.dtype
) -> dict[str, float]:
    """GiB of one guided step of joint generation of `names` from the other modalities, networks in
    `dtype`."""
    with default_dtype(dtype), without_memory() as memory:
        diffusions = {n: family.build_diffusion(n, coupled=True).eval() for n in names}
        environments = family.build_environments().eval()
        weights = weights_of(*diffusions.values(), environments)
        latents = {
            n: torch.randn(rows, *family.latent_shape(family.modality(n).group)) for n in names
        }
        given = [n for n in family.names if n not in names]
        encodings: dict[str, PromptEncoding] = {}
        for name in names:
            found = prompts_of(family, name, rows)
            encodings |= {n: found[n] for n in given}
        prompts = Prompts(encodings, {n: torch.ones(rows, dtype=torch.bool) for n in given})
        joint = JointModel(diffusions, environments, family.objective)
        before, memory.peak = memory.live, memory.live
        predict = GuidedPrediction(joint, prompts, dict.fromkeys(names, 2.0))
        predict(latents, dict.fromkeys(names, torch.tensor(500.0)))
        most = memory.peak - before
    return {"weights": weights / GIB, "peak": (weights + most) / GIB}
