"""A small generator of reports from images, from scratch: what image-report pairs are worth.

Legend: N pairs, H W pixels, L tokens, D width, V vocabulary.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from medcodi.autoencoders.tokenizer import ReportTokenizer
from medcodi.metrics.networks.architectures import HIDDEN, SmallNetwork, acquired, as_small_pixels
from medcodi.metrics.networks.fitting import fit, one_cycle

WIDTH, VOCABULARY, LONGEST = 192, 800, 96  # of the decoder; most tokens to learn, and of a report
FEWEST = 8  # pairs


class WriterNetwork(nn.Module):
    """Features of the image begin a recurrent decoder and stand beside each of its tokens."""

    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.image = SmallNetwork(1)
        self.code = nn.Linear(HIDDEN, WIDTH)
        self.embedding = nn.Embedding(vocab_size, WIDTH)
        self.decoder = nn.GRU(WIDTH, WIDTH, batch_first=True)
        self.head = nn.Sequential(nn.Dropout(0.1), nn.Linear(WIDTH, vocab_size))

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        """(N, 1, H, W) in [-1, 1] -> (N, D) in (-1, 1)."""
        return self.code(self.image.features(pixels)).tanh()

    def forward(
        self, code: torch.Tensor, tokens: torch.Tensor, state: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens (N, L) -> logits of the next ones (N, L, V), and the state behind the last."""
        state = code[None].contiguous() if state is None else state
        hidden, state = self.decoder(self.embedding(tokens) + code[:, None], state)  # (N, L, D)
        return self.head(hidden), state


class ReportWriter:
    """`fit` on pairs, then `write` reports of other images, each token the likeliest one."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def fit(
        self, images: np.ndarray, texts: Sequence[str], num_steps: int = 1000
    ) -> "ReportWriter":
        """Train from scratch on images (N, H, W) in [0, 1] and their texts (cross-entropy of the
        next token, AdamW, one cycle). ValueError for fewer than 8 pairs."""
        if len(texts) < FEWEST:
            raise ValueError(
                f"expected {FEWEST} pairs of image and report or more, got {len(texts)}"
            )
        pixels = as_small_pixels(images, "training images")
        self.tokenizer = ReportTokenizer.train(texts, VOCABULARY, LONGEST)
        tokens, _ = self.tokenizer(texts)  # (N, L)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.network = WriterNetwork(len(self.tokenizer))

            def loss(rows: torch.Tensor) -> torch.Tensor:
                code = self.network.encode(acquired(pixels[rows]))
                logits, _ = self.network(code, tokens[rows, :-1])
                return F.cross_entropy(
                    logits.transpose(1, 2), tokens[rows, 1:], ignore_index=self.tokenizer.pad_id
                )

            size = min(64, len(pixels))
            fit(self.network, loss, len(pixels), None, one_cycle(num_steps, batch_size=size))
        return self

    @torch.inference_mode()
    def write(self, images: np.ndarray) -> list[str]:
        """Texts of images (N, H, W) in [0, 1]."""
        texts = []
        for pixels in as_small_pixels(images).split(256):
            code, state = self.network.encode(pixels), None
            written = [torch.full((len(pixels), 1), self.tokenizer.bos_id)]
            while len(written) < LONGEST:
                logits, state = self.network(code, written[-1], state)
                written.append(logits[:, -1:].argmax(dim=-1))
            texts += self.tokenizer.decode(torch.cat(written, dim=1))
        return texts
