"""Embeddings for the tests of the contrastive losses."""

import torch
import torch.nn.functional as F

from tests.networks import normal

SIZE, ROWS = 16, 6


def unit(rows: int, width: int, seed: int) -> torch.Tensor:
    return F.normalize(normal(rows, width, seed=seed), dim=-1)


def own(rows: int) -> torch.Tensor:
    return torch.eye(rows, dtype=torch.bool)
