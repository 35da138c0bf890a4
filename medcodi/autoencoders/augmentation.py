"""Augmentation of the value batches that the report and the table VAE train on."""

import re
from collections.abc import Sequence

import torch

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


def mix_sentences(
    reports: Sequence[str], probability: float, generator: torch.Generator | None = None
) -> list[str]:
    """Exchange sentences between the reports of a batch, so that the autoencoder learns sentences
    that combine freely.

    Sentence k of a report is replaced, with `probability`, by sentence k of a random report of the
    batch that has one.
    Such a report may contradict itself: an autoencoder has only to repeat it. It keeps a VAE of few
    thousand reports from learning whole reports by heart.
    """
    sentences = [_SENTENCE_END.split(report) for report in reports]
    longest = max((len(parts) for parts in sentences), default=0)
    donors = torch.randint(
        max(len(reports), 1), (len(reports), longest), generator=generator
    ).tolist()
    replaced = (torch.rand(len(reports), longest, generator=generator) < probability).tolist()
    mixed = []
    for row, parts in enumerate(sentences):
        if not any(replaced[row][: len(parts)]):
            mixed.append(reports[row])  # as it was written, white space included
            continue
        new = []
        for k, part in enumerate(parts):
            donor = sentences[donors[row][k]]
            new.append(donor[k] if replaced[row][k] and k < len(donor) else part)
        mixed.append(" ".join(new))
    return mixed


def mix_cells(
    table: torch.Tensor,
    probability: float,
    dropout: float,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Exchange cells between the rows of a table (B, F), and lose some, so that rare cells are seen
    in any company.

    A cell is replaced, with `probability`, by the same column's cell of a random row, and then
    becomes missing (NaN) with the probability `dropout`. The autoencoder has to repeat the row that
    results.
    """
    donors = torch.randint(max(len(table), 1), table.shape, generator=generator).to(
        table.device
    )  # (B, F)
    replaced = (torch.rand(table.shape, generator=generator) < probability).to(table.device)
    lost = (torch.rand(table.shape, generator=generator) < dropout).to(table.device)
    return torch.where(replaced, table.gather(0, donors), table).masked_fill(lost, torch.nan)
