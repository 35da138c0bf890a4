"""Subword tokenizer of the report VAE: byte-level BPE trained on the reports, stored as one
tokenizer.json."""

import logging
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerFast

logger = logging.getLogger(__name__)

SPECIAL_TOKENS = {
    "pad_token": "[PAD]",
    "bos_token": "[BOS]",
    "eos_token": "[EOS]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
FILE_NAME = "tokenizer.json"
WORD = re.compile(r"[^\W\d_]+")


class ReportTokenizer:
    """Texts <-> token ids, any unicode text round-trips (bytes are the fallback of the BPE).

    Legend: B texts, L tokens of the longest text of the batch. Texts become [BOS] tokens [EOS].
    Byte-level tokens of a word differ at the start of a text, where no space stands before it. A
    first word that no report began with would fall into letters: it is read as the word inside a
    text, and a text that begins so behind its [BOS] is decoded without the space.

    Args:
        backend: a fast tokenizer with pad, bos and eos tokens.
        max_length: most tokens of a text, [BOS] and [EOS] included. Longer ones are cut, counted in
            `num_truncated` and reported by one warning.
    """

    def __init__(self, backend: PreTrainedTokenizerFast, max_length: int = 128):
        missing = [
            name
            for name in ("pad_token_id", "bos_token_id", "eos_token_id")
            if getattr(backend, name) is None
        ]
        if missing:
            raise ValueError(
                f"the report VAE needs a tokenizer with {', '.join(missing)}, this one has none"
            )
        if max_length < 3:
            raise ValueError(
                f"max_length must leave room for [BOS], one token and [EOS], got {max_length}"
            )
        self.backend = backend
        self.max_length = max_length
        self.num_truncated = 0
        self._spaced: dict[str, bool] = {}  # first word -> whether it is read as one inside a text
        self.pad_id, self.bos_id, self.eos_id = (
            backend.pad_token_id,
            backend.bos_token_id,
            backend.eos_token_id,
        )
        self.unk_id = (
            backend.unk_token_id if backend.unk_token_id is not None else backend.eos_token_id
        )

    @classmethod
    def train(
        cls, texts: Iterable[str], vocab_size: int = 1024, max_length: int = 128
    ) -> "ReportTokenizer":
        """Byte-level BPE of at most `vocab_size` tokens (256 bytes and the special tokens
        included)."""
        tokenizer = Tokenizer(models.BPE(unk_token=SPECIAL_TOKENS["unk_token"]))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            min_frequency=2,
            show_progress=False,
            special_tokens=list(SPECIAL_TOKENS.values()),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        )
        tokenizer.train_from_iterator(texts, trainer)
        return cls(_wrap(tokenizer), max_length)

    @classmethod
    def load(cls, path: str | Path, max_length: int = 128) -> "ReportTokenizer":
        """A tokenizer.json written by `save`, or a local Hugging Face tokenizer folder."""
        path = Path(path)
        if path.is_file():
            return cls(_wrap(Tokenizer.from_file(str(path))), max_length)
        if not path.is_dir():
            raise ValueError(
                f"no tokenizer at {path}: expected a tokenizer.json or a Hugging Face tokenizer "
                "folder"
            )
        if (path / "tokenizer_config.json").exists():
            return cls(AutoTokenizer.from_pretrained(str(path), local_files_only=True), max_length)
        return cls(_wrap(Tokenizer.from_file(str(path / FILE_NAME))), max_length)

    def save(self, path: str | Path) -> Path:
        """Write one tokenizer.json to `path` (a .json file, or a folder); returns the file."""
        path = Path(path)
        file = path if path.suffix == ".json" else path / FILE_NAME
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(self.to_json(), encoding="utf-8")
        return file

    def to_json(self) -> str:
        return self.backend.backend_tokenizer.to_str()

    @classmethod
    def from_json(
        cls, text: str, max_length: int = 128, special_tokens: dict[str, str] | None = None
    ) -> "ReportTokenizer":
        """`special_tokens` names those of a tokenizer that was not trained here."""
        return cls(_wrap(Tokenizer.from_str(text), special_tokens or SPECIAL_TOKENS), max_length)

    def __len__(self) -> int:
        return len(self.backend)

    def __call__(self, texts: Sequence[str], end: bool = True) -> tuple[Tensor, Tensor]:
        """Texts -> token ids (B, L) int64 padded at the right, and mask (B, L) bool, True at real
        tokens. Without `end` no [EOS] follows: the texts go on."""
        if isinstance(texts, str):
            raise ValueError("expected a list of texts, got one str")
        rows = self._ids([f" {text}" if self._is_spaced(text) else text for text in texts])
        rows = [self._frame(row)[: None if end else -1] for row in rows]
        width = max((len(row) for row in rows), default=0)
        token_ids = torch.full((len(rows), width), self.pad_id, dtype=torch.long)
        for i, row in enumerate(rows):
            token_ids[i, : len(row)] = torch.tensor(row)
        lengths = torch.tensor([len(row) for row in rows])
        return token_ids, torch.arange(width)[None, :] < lengths[:, None]  # (B, L), (B, L)

    def _ids(self, texts: list[str]) -> list[list[int]]:
        return self.backend(texts, add_special_tokens=False, split_special_tokens=True)["input_ids"]

    def _is_spaced(self, text: str) -> bool:
        """Whether the first word of a text has fewer tokens behind a space."""
        found = WORD.match(text)
        if found is None:
            return False
        word = found[0]
        if word not in self._spaced:
            first, inside = self._ids([word, f" {word}"])
            self._spaced[word] = len(inside) < len(first)
        return self._spaced[word]

    def spelled(self, text: str) -> list[str]:
        """The words of a text that it reads in pieces of about a letter, if these are a fifth of
        all or more: they were rare in the reports that it was trained on, or never there, as other
        languages, capitals and names are."""
        words = WORD.findall(text)
        found = [word for word in words if len(word) > 2 and self._is_spelled(word)]
        return list(dict.fromkeys(found)) if 5 * len(found) >= len(words) else []

    def _is_spelled(self, word: str) -> bool:
        return 2 * min(map(len, self._ids([word, f" {word}"]))) >= len(word)

    def _frame(self, row: list[int]) -> list[int]:
        if len(row) > self.max_length - 2:
            if self.num_truncated == 0:
                logger.warning(
                    "a report of %d tokens is cut to max_length %d; num_truncated counts them all",
                    len(row) + 2,
                    self.max_length,
                )
            self.num_truncated += 1
            row = row[: self.max_length - 2]
        return [self.bos_id, *row, self.eos_id]

    def decode(self, token_ids: Tensor) -> list[str]:
        """Token ids (B, L) -> texts: what stands before the first [EOS]. Without [BOS] they go on
        a text, and keep the space before their first word."""
        texts = []
        for row in token_ids.tolist():
            end = row.index(self.eos_id) if self.eos_id in row else len(row)
            text = self.backend.decode(
                row[:end], skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
            begins = row[:1] == [self.bos_id] and text[:1] == " "
            texts.append(text[1:] if begins and self._is_spaced(text[1:]) else text)
        return texts


def _wrap(
    tokenizer: Tokenizer, special_tokens: dict[str, str] = SPECIAL_TOKENS
) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, clean_up_tokenization_spaces=False, **special_tokens
    )


def load_fast_tokenizer(source: str | Path) -> PreTrainedTokenizerFast:
    """A pretrained tokenizer from a local folder, or from the hub by name. ValueError names what is
    missing."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(source), use_fast=True)
    except OSError as error:
        raise ValueError(
            f"no tokenizer at {source!r}: it is no local folder with tokenizer.json (or vocabulary "
            "files), and the hub "
            f"could not give it ({str(error).splitlines()[0]})"
        ) from error
    if not tokenizer.is_fast:
        raise ValueError(f"{source} holds no fast tokenizer: expected a tokenizer.json")
    return tokenizer
