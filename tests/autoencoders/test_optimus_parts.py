"""Parts of Optimus."""

import torch

from medcodi.autoencoders.optimus import length_groups


def test_length_groups_partition_the_rows():
    mask = (
        torch.arange(12)[None]
        < torch.randint(2, 13, (50,), generator=torch.Generator().manual_seed(0))[:, None]
    )
    groups = length_groups(mask, 4)
    assert sorted(torch.cat([rows for rows, _ in groups]).tolist()) == list(range(50))
    assert all(mask[rows].sum(1).max() == width for rows, width in groups)
