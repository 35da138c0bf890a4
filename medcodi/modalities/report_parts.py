"""Parts of a report: sentences around a gap, which is written "..." and filled in.

What stands around the gap is kept word for word. Legend: B rows, L tokens.
"""

import re
from collections.abc import Sequence
from typing import Any

import torch

from medcodi.autoencoders.base import Autoencoder
from medcodi.diffusion.keep import Kept
from medcodi.modalities.parts import Part, Parts

GAP = re.compile(r"(?<!\.)\.{3}(?!\.)|\N{HORIZONTAL ELLIPSIS}")
SENTENCE = re.compile(r"(?<=[.!?])\s+")
MAX_SENTENCES = 4  # of an infill that has text behind it
ROOM = 8  # tokens that a gap needs at least


class ReportParts(Parts):
    """A part is a text with one gap "...". Part.value: the text; Part.gap: (before, after), each
    without space at the gap, one of them may be empty."""

    def from_user(self, values: Any, varied: bool) -> list[Part | None]:
        texts = self.modality.from_user(values)
        if varied:
            return [None if text is None else self._whole(text) for text in texts]
        return [None if text is None else self._part(text) for text in texts]

    def _whole(self, text: str) -> Part:
        if GAP.search(text):
            raise ValueError(
                f"modality {self.name!r}: a strength varies a whole text: leave out the gap or the "
                f"strength; got {text!r:.80}"
            )
        return Part(text)

    def _part(self, text: str) -> Part:
        pieces = [piece.strip() for piece in GAP.split(text)]
        if len(pieces) != 2:
            what = "nothing is left to generate" if len(pieces) == 1 else "there are several gaps"
            raise ValueError(
                f"modality {self.name!r}: {what}: expected a text with one gap '...', got "
                f"{text!r:.80}"
            )
        if not any(pieces):
            raise ValueError(f"modality {self.name!r}: nothing is kept beside the gap '...'")
        before, after = pieces
        length = self.modality.args.autoencoder.max_length
        _, mask = self.modality.tokenizer(10**6)([joined(before, "", after)])
        if int(mask.sum()) + ROOM > length:
            raise ValueError(
                f"modality {self.name!r}: the kept text has {int(mask.sum())} tokens, of {length} "
                f"that a report may have: the gap needs {ROOM}"
            )
        return Part(text, (before, after))

    def kept(
        self, autoencoder: Autoencoder, parts: Sequence[Part], start: float, batch_size: int
    ) -> Kept:
        if parts[0].gap is None:
            return super().kept(autoencoder, parts, start, batch_size)
        gaps = [part.gap for part in parts]

        def move(latents: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
            filled = infilled(autoencoder, latents, [gaps[row] for row in rows.tolist()])
            return autoencoder.encode(filled) - autoencoder.encode(autoencoder.decode(latents))

        return self.moving(autoencoder, len(parts), move)

    def decode(
        self,
        autoencoder: Autoencoder,
        latents: torch.Tensor,
        parts: Sequence[Part | None],
        generators: list[torch.Generator],
    ) -> list[str]:
        rows = [i for i, part in enumerate(parts) if part is not None and part.gap is not None]
        texts = super().decode(autoencoder, latents, [None] * len(parts), generators)
        if rows:
            filled = infilled(autoencoder, latents[rows], [parts[i].gap for i in rows])
            for i, text in zip(rows, filled, strict=True):
                texts[i] = text
        return texts


def joined(before: str, infill: str, after: str) -> str:
    return " ".join(piece for piece in (before, infill, after) if piece)


def infilled(
    autoencoder: Autoencoder, latents: torch.Tensor, gaps: Sequence[tuple[str, str]]
) -> list[str]:
    """Normalised latents (B, N, C), (before, after) of B rows -> whole texts.

    The decoder goes on after `before`. With an `after`, the first sentences of that are taken, as
    many as make the whole text the likeliest; sentences that `after` holds are not said twice.
    """
    latents = latents.to(autoencoder.device)
    written = autoencoder.continuations(latents, [before for before, _ in gaps])
    candidates: list[list[str]] = []
    for (before, after), text in zip(gaps, written, strict=True):
        if not after:
            candidates.append([(before + text).strip()])
            continue
        said = {sentence.casefold() for sentence in SENTENCE.split(after)}
        new = [s for s in SENTENCE.split(text.strip()) if s and s.casefold() not in said]
        counts = range(1, min(len(new), MAX_SENTENCES) + 1) or [0]
        candidates.append([joined(before, " ".join(new[:count]), after) for count in counts])
    owners = torch.tensor([i for i, texts in enumerate(candidates) for _ in texts])
    texts = [text for several in candidates for text in several]
    token_ids, mask = autoencoder.tokenizer(texts)
    with torch.no_grad():
        costs = autoencoder.negative_log_likelihood(
            latents[owners.to(latents.device)],
            token_ids.to(latents.device),
            mask.to(latents.device),
        ).cpu()
    best = [int(costs[owners == i].argmin()) for i in range(len(candidates))]
    return [several[choice] for several, choice in zip(candidates, best, strict=True)]
