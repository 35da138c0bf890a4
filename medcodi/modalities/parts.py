"""Parts of a value: what a call keeps of an output, exactly, while the rest is generated.

One class a kind, `Modality.parts`. A *part* is one value of a user with what is to be generated of
it; with a strength a value is varied as a whole and nothing of it is kept exactly. Legend: B rows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from medcodi.autoencoders.base import Autoencoder
from medcodi.diffusion.keep import Kept

if TYPE_CHECKING:
    from medcodi.modalities.base import Modality


@dataclass(frozen=True)
class Part:
    """`value`: the stored value, or what is given of it. `gap` says what is to be generated, in the
    terms of the kind; None where the value is varied as a whole. `complete`: no cell of the gap may
    come out as missing."""

    value: Any
    gap: Any = None
    complete: bool = False


class Parts:
    """Parts of any kind: whole values that are varied. A kind that has parts extends it.
    `has_mask`: a part is a file and a mask on the command line."""

    has_mask = False

    def __init__(self, modality: "Modality") -> None:
        self.modality = modality

    @property
    def name(self) -> str:
        return self.modality.name

    def from_user(self, values: Any, varied: bool) -> list[Part | None]:
        """What a user keeps, one part or a list -> one part a row, None where a row keeps nothing.
        `varied`: the values come with a strength. ValueError where nothing is left to generate, and
        for what is no part."""
        if not varied:
            raise ValueError(
                f"modality {self.name!r}: a kept {self.modality.kind} needs a strength below 1, "
                "which varies it as a whole: its kind has no parts"
            )
        stored = self.modality.from_user(values)
        return [None if value is None else Part(value) for value in stored]

    def lacking(self, stored: Any) -> Part | None:
        """What a stored value lacks, all of it for None, as the part to generate; None where it is
        whole, or the kind generates whole values without parts."""
        return None

    def parse(self, text: str, mask: str | None, varied: bool) -> list[Part | None]:
        """A part given on the command line: a value as prompts have it, and the file of a mask."""
        if mask is not None:
            raise ValueError(f"modality {self.name!r}: a {self.modality.kind} has no mask")
        return self.from_user(self.modality.parse(text), varied)

    def kept(
        self, autoencoder: Autoencoder, parts: Sequence[Part], start: float, batch_size: int
    ) -> Kept:
        """What the latents keep of B parts, on the device of the autoencoder, `batch_size` values
        encoded at a time. `start`: see `Kept`."""
        batches = []
        for first in range(0, len(parts), batch_size):
            values = [part.value for part in parts[first : first + batch_size]]
            batch = self.modality.collate(values)
            if isinstance(batch, torch.Tensor):
                batch = batch.to(autoencoder.device)
            batches.append(autoencoder.encode(batch))
        latents = torch.cat(batches)
        rows = torch.arange(len(parts), device=latents.device)
        nowhere, nothing = torch.zeros_like(latents).bool(), torch.zeros_like(rows).bool()
        starts = latents.new_full((len(parts),), start)
        return Kept(latents, nowhere, starts, nothing, rows, follow=False)

    def moving(
        self,
        autoencoder: Autoencoder,
        num_parts: int,
        move: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    ) -> Kept:
        """Kept of parts that no latent stands for; `move` as in `Kept`."""
        rows = torch.arange(num_parts, device=autoencoder.device)
        latents = torch.zeros(num_parts, *autoencoder.latent_shape, device=rows.device)
        everywhere = torch.ones_like(rows).bool()
        return Kept(
            latents,
            torch.zeros_like(latents).bool(),
            latents.new_ones(num_parts),
            everywhere,
            rows,
            move,
        )

    def decode(
        self,
        autoencoder: Autoencoder,
        latents: torch.Tensor,
        parts: Sequence[Part | None],
        generators: list[torch.Generator],
    ) -> list[Any]:
        """Latents (B, *latent_shape) -> stored values that hold what their part keeps, exactly."""
        stored = self.stored(autoencoder, latents, parts, generators)
        return [
            value if part is None or part.gap is None else self.compose(part, value)
            for part, value in zip(parts, stored, strict=True)
        ]

    def stored(
        self,
        autoencoder: Autoencoder,
        latents: torch.Tensor,
        parts: Sequence[Part | None],
        generators: list[torch.Generator],
    ) -> list[Any]:
        """What `decode` composes: generated values, one a latent."""
        return self.modality.to_stored(self.modality.decode(autoencoder, latents, generators))

    def compose(self, part: Part, generated: Any) -> Any:
        """A generated stored value, with what the part keeps put in. Kinds whose parts have a gap
        write it."""
        raise NotImplementedError(f"{type(self).__name__} makes parts with a gap without compose")
