"""Draw until a privacy filter is content (Packhaeuser et al. 2023): a sample that it refuses is
drawn again from another seed, which depends on its first one alone.

Legend: N samples of a call, W of them still waiting for a draw that is kept.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import torch

from medcodi.modalities.base import Modality
from medcodi.nn.seeding import derive_seed
from medcodi.pipeline.arguments import shown as told
from medcodi.pipeline.checks import Call
from medcodi.pipeline.decoding import shown
from medcodi.pipeline.output import MedCoDiOutput


class Refusals(Protocol):
    """`reasons`: one text a sample, "" where it is kept."""

    reasons: list[str]


@runtime_checkable
class Privacy(Protocol):
    """What `privacy=` of a call takes, such as `medcodi.privacy.filter.PrivacyFilter`."""

    def check(self, modalities: Mapping[str, Modality], data_hash: str) -> None:
        """ValueError where it cannot judge these outputs of a model that was trained on the data
        `data_hash` ("": not known)."""

    def judge(self, values: Mapping[str, Sequence[Any]]) -> Refusals:
        """N samples, modality -> N stored values."""


class NothingAcceptedError(RuntimeError):
    """The filter refused one sample as often as the call allows."""


def checked_privacy(
    privacy: Any, modalities: dict[str, Modality], data_hash: str
) -> dict[str, Modality]:
    """`modalities` again; ValueError for what is no filter, and for one that does not fit them."""
    if not isinstance(privacy, Privacy):
        raise ValueError(f"privacy must be a PrivacyFilter, got {told(privacy)}")
    privacy.check(modalities, data_hash)
    return modalities


class Redrawing:
    """`run`, which makes the samples of a call, until the filter keeps all of them. `modalities`
    are those of the outputs."""

    def __init__(
        self,
        run: Callable[[Call], MedCoDiOutput],
        privacy: Privacy,
        modalities: dict[str, Modality],
    ) -> None:
        self.run, self.privacy, self.modalities = run, privacy, modalities

    def __call__(self, call: Call) -> MedCoDiOutput:
        """N samples, each drawn at most `call.max_draws` times. A call that was interrupted returns
        what was kept until then.

        Raises NothingAcceptedError, ValueError for calls whose samples cannot be judged or drawn
        again.
        """
        if call.latents:
            raise ValueError("privacy draws again from other noise: latents cannot be given")
        if call.output_type == "latent":
            raise ValueError("privacy judges values: output_type 'latent' has none")
        waiting = list(range(len(call.seeds)))
        refused: list[list[str]] = [[] for _ in waiting]
        draws: list[MedCoDiOutput] = []
        place: dict[int, int] = {}  # sample -> its row in all draws together
        for attempt in range(call.max_draws):
            out = self.run(call.again(waiting, [_seed(call.seeds[i], attempt) for i in waiting]))
            if set(out.stored) != set(call.outputs):  # interrupted: a part cannot be judged
                return _joined(draws, place, refused, call, self.modalities, True)
            first = sum(map(len, draws))
            for at, reason in enumerate(self._reasons(out)):
                if reason:
                    refused[waiting[at]].append(reason)
                else:
                    place[waiting[at]] = first + at
            draws.append(out)
            waiting = [row for row in waiting if row not in place]
            if not waiting or out.interrupted:
                interrupted = out.interrupted
                return _joined(draws, place, refused, call, self.modalities, interrupted)
        raise NothingAcceptedError(
            f"the privacy filter refused one sample {call.max_draws} times "
            f"({refused[waiting[0]][-1]}): the model repeats its training data for this prompt, or "
            "the filter is too strict (medcodi privacy fit --false-match-rate)"
        )

    def _reasons(self, out: MedCoDiOutput) -> Sequence[str]:
        """One text a sample; ValueError for a filter that gives anything else."""
        reasons = getattr(self.privacy.judge(out.stored), "reasons", None)
        if not isinstance(reasons, (list, tuple)) or len(reasons) != len(out):
            raise ValueError(
                f"privacy.judge must return an object with {len(out)} reasons, a text each, got "
                f"{told(reasons)}"
            )
        return reasons


def _seed(seed: int, attempt: int) -> int:
    """Of a sample's draw number `attempt`; the first is the sample's own."""
    return derive_seed(seed, "again", attempt) if attempt else seed


def _joined(
    draws: Sequence[MedCoDiOutput],
    place: Mapping[int, int],
    refused: Sequence[list[str]],
    call: Call,
    modalities: Mapping[str, Modality],
    interrupted: bool,
) -> MedCoDiOutput:
    """The kept samples of all draws, in the order of the call."""
    own = {name: modalities[name] for name in call.outputs}
    if not place:
        empty: dict[str, Any] = {name: [] for name in call.outputs}
        latents = {name: torch.empty(0) for name in call.outputs}
        return MedCoDiOutput(empty, latents, [], [], dict(empty), own, interrupted, [])
    kept = sorted(place)
    order = [place[row] for row in kept]
    latents, stored, values = {}, {}, {}
    for name in call.outputs:
        latents[name] = torch.cat([draw.latents[name] for draw in draws])[order]
        together = [value for draw in draws for value in draw.stored[name]]
        stored[name] = [together[at] for at in order]
        values[name] = shown(modalities[name], stored[name], call.output_type)
    seeds = [seed for draw in draws for seed in draw.seeds]
    return MedCoDiOutput(
        values,
        latents,
        [seeds[at] for at in order],
        [call.prompt_index[row] for row in kept],
        stored,
        own,
        interrupted,
        [refused[row] for row in kept],
    )
