"""Kind `report`: free text, with Optimus as autoencoder and open_clip's text transformer as prompt
encoder."""

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch

from medcodi.autoencoders.base import Autoencoder
from medcodi.autoencoders.optimus import OptimusConfig, OptimusVAE
from medcodi.autoencoders.tokenizer import ReportTokenizer, load_fast_tokenizer
from medcodi.config import DiffusionConfig, SharedSpaceConfig
from medcodi.data.prepared import PreparedDataset
from medcodi.diffusion.denoisers.base import Denoiser
from medcodi.diffusion.denoisers.slots import VectorDenoiserArgs
from medcodi.encoders.base import PromptEncoder
from medcodi.encoders.text import TextTower
from medcodi.labeler.names import Label, is_said, said_names
from medcodi.modalities.base import Modality, ModalityArgs, register
from medcodi.modalities.report_parts import ReportParts

logger = logging.getLogger(__name__)


@dataclass
class ReportEncoderArgs:
    """open_clip text transformer; `tokenizer` is "own" (trained on the reports) or "clip"
    (open_clip's BPE). `pooling: last` is CLIP's own, `activation` "gelu" or "quick_gelu"."""

    tokenizer: str = "own"
    context_length: int = 77
    width: int = 96
    layers: int = 3
    heads: int = 4
    num_tokens: int = 32
    pooling: str = "spans"
    activation: str = "gelu"


@dataclass
class ReportArgs(ModalityArgs):
    PARTS: ClassVar[dict[str, str]] = ModalityArgs.PARTS | {"autoencoder_tokenizers": "autoencoder"}

    kind: str = "report"
    vocab_size: int = 800
    gate: float = 0.9  # teacher-forced token accuracy
    # folders or hub names of BERT's and GPT-2's tokenizer, for Optimus' encoder and decoder; None:
    # train one on the reports
    autoencoder_tokenizers: list[str] | None = None
    encoder: ReportEncoderArgs = field(default_factory=ReportEncoderArgs)
    autoencoder: OptimusConfig = field(default_factory=OptimusConfig)
    denoiser: VectorDenoiserArgs = field(default_factory=VectorDenoiserArgs)


ENCODER_ASSET = "encoder_tokenizer"
GPT2_TOKENS = {
    "pad_token": "<PAD>",
    "bos_token": "<BOS>",
    "eos_token": "<EOS>",
}  # Li et al. 2020 add these to GPT-2's


def pretrained_tokenizers(name: str, folders: Sequence[str]) -> dict[str, Any]:
    """Assets of a report from two pretrained tokenizers: BERT's frames texts by [CLS] and [SEP],
    GPT-2's gets the three tokens of Optimus, which take the ids after its own."""
    if len(folders) != 2:
        raise ValueError(
            f"modalities.{name}.autoencoder_tokenizers takes [BERT folder, GPT-2 folder], got "
            f"{list(folders)}"
        )
    bert, gpt2 = (load_fast_tokenizer(folder) for folder in folders)
    if bert.cls_token is None or bert.sep_token is None:
        raise ValueError(
            f"modalities.{name}: the tokenizer in {folders[0]} has no [CLS] and [SEP], expected "
            "BERT's"
        )
    gpt2.add_special_tokens(GPT2_TOKENS)
    of_bert = {
        "pad_token": bert.pad_token,
        "bos_token": bert.cls_token,
        "eos_token": bert.sep_token,
        "unk_token": bert.unk_token,
    }
    return {
        "tokenizer": gpt2.backend_tokenizer.to_str(),
        ENCODER_ASSET: bert.backend_tokenizer.to_str(),
        "special_tokens": {"tokenizer": GPT2_TOKENS, ENCODER_ASSET: of_bert},
    }


@register("report")
class ReportModality(Modality):
    """Stored value, value batch item and user value: str."""

    Args = ReportArgs
    storage = "text"
    figure = "token_accuracy"

    def fit_assets(self, dataset: PreparedDataset) -> dict[str, Any]:
        """Train the tokenizer on the reports of the training split, or read
        `autoencoder_tokenizers`."""
        if self.args.autoencoder_tokenizers is not None:
            return pretrained_tokenizers(self.name, self.args.autoencoder_tokenizers)
        texts = [
            s.values[self.name] for s in dataset.batch(range(len(dataset))) if self.name in s.values
        ]
        if not texts:
            raise ValueError(
                f"modality {self.name!r}: no report in the training split to train the tokenizer on"
            )
        return {"tokenizer": ReportTokenizer.train(texts, self.args.vocab_size).to_json()}

    def tokenizer(self, max_length: int, asset: str = "tokenizer") -> ReportTokenizer:
        special_tokens = self.assets.get("special_tokens", {}).get(asset)
        return ReportTokenizer.from_json(self.assets[asset], max_length, special_tokens)

    def tokenizers(self) -> dict[str, Any]:
        assets = {"": "tokenizer", "encoder": ENCODER_ASSET}
        length = self.args.autoencoder.max_length
        return {
            folder: self.tokenizer(length, asset).backend
            for folder, asset in assets.items()
            if asset in self.assets
        }

    @property
    def parts(self) -> ReportParts:
        return ReportParts(self)

    def collate(self, values: Sequence[str]) -> list[str]:
        for value in values:
            if not isinstance(value, str) or not value.strip():
                raise ValueError(
                    f"modality {self.name!r}: expected a non-empty text, got {value!r}"
                )
        return list(values)

    def build_prompt_encoder(self, space: SharedSpaceConfig) -> PromptEncoder:
        a = self.args.encoder
        if a.tokenizer == "clip":
            import open_clip  # slow to import: when needed

            bpe = open_clip.SimpleTokenizer(context_length=a.context_length)
            tokenize, vocab_size, pad_id = bpe, bpe.vocab_size, 0
        elif a.tokenizer == "own":
            own = self.tokenizer(a.context_length)
            tokenize, vocab_size, pad_id = lambda texts: own(texts)[0], len(own), own.pad_id
        else:
            raise ValueError(
                f"modalities.{self.name}.encoder.tokenizer must be 'own' or 'clip', got "
                f"{a.tokenizer!r}"
            )
        tower = TextTower(
            tokenize, vocab_size, pad_id, a.context_length, a.width, a.layers, a.heads, a.activation
        )
        return PromptEncoder(tower, a.width, space.embed_dim, a.num_tokens, a.pooling)

    def build_autoencoder(self) -> Autoencoder:
        length = self.args.autoencoder.max_length
        of_encoder = self.tokenizer(length, ENCODER_ASSET) if ENCODER_ASSET in self.assets else None
        return OptimusVAE(self.args.autoencoder, self.tokenizer(length), of_encoder)

    def build_denoiser(self, latent_shape: tuple[int, ...], diffusion: DiffusionConfig) -> Denoiser:
        return self.args.denoiser.build(latent_shape, diffusion)

    def keys(self, values: list[str]) -> torch.Tensor:
        """Reports that repeat word for word are the same prompt."""
        digests = [hashlib.sha256(text.encode()).digest() for text in values]
        return torch.tensor([int.from_bytes(d[:6], "big") for d in digests])

    def select(self, values: list[str], rows: Sequence[int]) -> list[str]:
        return [values[i] for i in rows]

    def from_user(self, values: Any) -> list[str | None]:
        values = (
            [values]
            if isinstance(values, (str, Mapping, Set)) or not isinstance(values, Iterable)
            else list(values)
        )
        for value in values:
            if value is None:
                continue
            if not isinstance(value, str) or not value.strip():
                raise ValueError(
                    f"modality {self.name!r}: expected a non-empty text, got {value!r:.80}"
                )
            try:
                value.encode()
            except UnicodeEncodeError:
                raise ValueError(
                    f"modality {self.name!r}: the text holds half a character (a lone surrogate), "
                    f"which has no UTF-8: {value!r:.80}"
                ) from None
        self._warn_of_unknown([value for value in values if value is not None])
        return values

    def _warn_of_unknown(self, texts: Sequence[str]) -> None:
        if self.args.encoder.tokenizer != "own" or "tokenizer" not in self.assets:
            return
        own = self.tokenizer(self.args.encoder.context_length)
        words = dict.fromkeys(word for text in texts for word in own.spelled(text))
        if words:
            logger.warning(
                "%s: the model may not follow %s: the reports that it was trained on had such "
                "words rarely or never (capitals count)",
                self.name,
                ", ".join(map(repr, list(words)[:8])),
            )

    def from_labels(self, labels: Sequence[Label]) -> tuple[str | None, list[Label]]:
        """A sentence a label, in its own words, where the labeler reads a finding in them."""
        said = [label for label in labels if is_said(label)]
        text = " ".join(f"{label.text[0].upper()}{label.text[1:]}." for label in said)
        return text or None, [label for label in labels if label not in said]

    def label_names(self) -> list[str]:
        return said_names()

    def show(self, stored: Sequence[str]) -> list[str]:
        return list(stored)

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
        return (
            self.read(Path(text))
            if len(text) < 1000 and Path(text).is_file()
            else self.from_user(text)
        )
