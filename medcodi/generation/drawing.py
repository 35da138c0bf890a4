"""Draw until the privacy filter is content (Packhaeuser et al. 2023): a study that it refuses is
drawn again from another seed, which depends on its first one alone.

Legend: N samples.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from medcodi.nn.seeding import derive_seed

if TYPE_CHECKING:
    from medcodi.privacy.filter import PrivacyFilter

MAX_DRAWS = 50


@dataclass
class Drawn:
    """One sample: what `draw` made of it, its `seed`, and why earlier draws were refused."""

    sample: Any
    seed: int
    refused: list[str] = field(default_factory=list)


def draw_accepted(
    draw: Callable[[Sequence[int], Sequence[int]], tuple[dict[str, list[Any]], list[Any]]],
    seeds: Sequence[int],
    privacy: "PrivacyFilter | None",
    max_draws: int = MAX_DRAWS,
) -> list[Drawn]:
    """N samples, one a seed. `draw(rows, seeds)` makes those of some rows, 0 to N - 1: their stored
    values by modality, and what is kept of each. Without a filter every first draw is kept.

    Raises RuntimeError where a sample is refused `max_draws` times.
    """
    found: dict[int, Drawn] = {}
    refused: dict[int, list[str]] = {row: [] for row in range(len(seeds))}
    for attempt in range(max_draws):
        rows = [row for row in range(len(seeds)) if row not in found]
        if not rows:
            break
        tried = [derive_seed(seeds[r], "again", attempt) if attempt else seeds[r] for r in rows]
        stored, samples = draw(rows, tried)
        reasons = privacy.judge(stored).reasons if privacy else [""] * len(rows)
        for row, seed, sample, reason in zip(rows, tried, samples, reasons, strict=True):
            if reason:
                refused[row].append(reason)
            else:
                found[row] = Drawn(sample, seed, refused[row])
    if len(found) < len(seeds):
        row = next(row for row in refused if row not in found)
        raise RuntimeError(
            f"the privacy filter refused one sample {max_draws} times ({refused[row][-1]}): the "
            "model repeats its training data for this prompt, or the filter is too strict "
            "(medcodi privacy fit --false-match-rate)"
        )
    return [found[row] for row in range(len(seeds))]


def tally(entries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What the filter did, from the ledger's entries of all studies."""
    refused = [reason for entry in entries for reason in entry.get("refused", [])]
    kept = len(entries)
    rate = round(kept / (kept + len(refused)), 4)
    return {
        "drawn": kept + len(refused),
        "kept": kept,
        "acceptance_rate": rate,
        "reasons": dict(Counter(refused).most_common()),
    }
