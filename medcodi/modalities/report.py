"""Kind `report`: free text, with Optimus as autoencoder and open_clip's text transformer as prompt encoder."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import open_clip
import torch

from medcodi.autoencoders.base import Autoencoder
from medcodi.autoencoders.optimus import OptimusConfig, OptimusVAE
from medcodi.autoencoders.tokenizer import ReportTokenizer
from medcodi.config import DiffusionConfig, SharedSpaceConfig
from medcodi.data.prepared import PreparedDataset
from medcodi.diffusion.environment import EnvironmentEncoder
from medcodi.diffusion.vector import VectorDenoiser
from medcodi.encoders.base import PromptEncoder
from medcodi.encoders.text import TextTower
from medcodi.modalities.base import Modality, register


@dataclass
class ReportEncoderArgs:
    """open_clip text transformer; `tokenizer` is "own" (trained on the reports) or "clip" (open_clip's BPE)."""

    tokenizer: str = "own"
    context_length: int = 77
    width: int = 96
    layers: int = 3
    heads: int = 4
    num_tokens: int = 32
    pooling: str = "spans"


@dataclass
class VectorDenoiserArgs:
    """Transformer over latent slots."""

    width: int = 128
    depth: int = 5
    num_heads: int = 4


@dataclass
class ReportArgs:
    kind: str = "report"
    group: str = ""
    vocab_size: int = 800
    gate: float = 0.9  # least teacher-forced token accuracy of the autoencoder before stage 2 may start
    guidance_scale: float = 1.5
    encoder: ReportEncoderArgs = field(default_factory=ReportEncoderArgs)
    autoencoder: OptimusConfig = field(default_factory=OptimusConfig)
    denoiser: VectorDenoiserArgs = field(default_factory=VectorDenoiserArgs)
    environment_depth: int = 1


@register("report")
class ReportModality(Modality):
    """Stored value, value batch item and user value: str."""

    Args = ReportArgs
    storage = "text"
    figure = "token_accuracy"

    def fit_assets(self, dataset: PreparedDataset) -> dict[str, Any]:
        """Train the tokenizer on the reports of the training split."""
        texts = [s.values[self.name] for s in dataset.batch(range(len(dataset))) if self.name in s.values]
        if not texts:
            raise ValueError(f"modality {self.name!r}: no report in the training split to train the tokenizer on")
        return {"tokenizer": ReportTokenizer.train(texts, self.args.vocab_size).to_json()}

    def tokenizer(self, max_length: int) -> ReportTokenizer:
        return ReportTokenizer.from_json(self.assets["tokenizer"], max_length)

    def collate(self, values: Sequence[str]) -> list[str]:
        for value in values:
            if not isinstance(value, str) or not value.strip():
                raise ValueError(f"modality {self.name!r}: expected a non-empty text, got {value!r}")
        return list(values)

    def build_prompt_encoder(self, space: SharedSpaceConfig) -> PromptEncoder:
        a = self.args.encoder
        if a.tokenizer == "clip":
            bpe = open_clip.SimpleTokenizer(context_length=a.context_length)
            tokenize, vocab_size, pad_id = bpe, bpe.vocab_size, 0
        elif a.tokenizer == "own":
            own = self.tokenizer(a.context_length)
            tokenize, vocab_size, pad_id = lambda texts: own(texts)[0], len(own), own.pad_id
        else:
            raise ValueError(f"modalities.{self.name}.encoder.tokenizer must be 'own' or 'clip', got {a.tokenizer!r}")
        tower = TextTower(tokenize, vocab_size, pad_id, a.context_length, a.width, a.layers, a.heads)
        return PromptEncoder(tower, a.width, space.embed_dim, a.num_tokens, a.pooling)

    def build_autoencoder(self) -> Autoencoder:
        return OptimusVAE(self.args.autoencoder, self.tokenizer(self.args.autoencoder.max_length))

    def build_denoiser(self, latent_shape: tuple[int, ...], diffusion: DiffusionConfig) -> VectorDenoiser:
        return VectorDenoiser(latent_shape, diffusion.context_dim, **vars(self.args.denoiser))

    def build_environment_encoder(self, latent_shape: tuple[int, ...], diffusion: DiffusionConfig) -> EnvironmentEncoder:
        return EnvironmentEncoder(latent_shape, diffusion.environment_dim, self.args.environment_depth)

    def keys(self, values: list[str]) -> torch.Tensor:
        """Reports that repeat word for word are the same prompt."""
        digests = [hashlib.sha256(text.encode()).digest() for text in values]
        return torch.tensor([int.from_bytes(d[:6], "big") for d in digests])

    def select(self, values: list[str], rows: Sequence[int]) -> list[str]:
        return [values[i] for i in rows]

    def from_user(self, values: Any) -> list[str | None]:
        values = [values] if isinstance(values, str) or not isinstance(values, Iterable) else list(values)
        for value in values:
            if value is not None and (not isinstance(value, str) or not value.strip()):
                raise ValueError(f"modality {self.name!r}: expected a non-empty text, got {value!r}")
        return values

    def to_user(self, values: list[str]) -> list[str]:
        return list(values)

    def write(self, values: Sequence[str], folder: Path, stems: Sequence[str]) -> list[str]:
        names = []
        for text, stem in zip(values, stems, strict=True):
            names.append(f"{stem}_{self.name}.txt")
            (folder / names[-1]).write_text(text + "\n", encoding="utf-8")
        return names

    def read(self, path: Path) -> list[str]:
        text = path.read_text(encoding="utf-8").strip()
        if not text:
            raise ValueError(f"modality {self.name!r}: {path} holds no text")
        return [text]

    def parse(self, text: str) -> list[str]:
        """The path of a text file, or the report itself."""
        return self.read(Path(text)) if len(text) < 1000 and Path(text).is_file() else self.from_user(text)
