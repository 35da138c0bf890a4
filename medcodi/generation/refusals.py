"""What a privacy filter did to a set: how much it refused, and why."""

from collections import Counter
from collections.abc import Sequence
from typing import Any


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
