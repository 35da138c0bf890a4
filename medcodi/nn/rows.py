"""Rows that only some studies have."""

import torch


def spread(compact: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
    """Rows (R', ...) of the studies in `given` (R,) bool -> (R, ...), zeros elsewhere."""
    full = compact.new_zeros(len(given), *compact.shape[1:])
    full[given] = compact
    return full
