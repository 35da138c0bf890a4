"""Rows that only some studies have."""

import torch

from medcodi.nn.rows import spread


def test_rows_stand_where_they_are_given_and_zeros_elsewhere():
    compact, given = (
        torch.tensor([[1.0, 2.0], [3.0, 4.0]]),
        torch.tensor([False, True, False, True]),
    )
    assert spread(compact, given).tolist() == [[0, 0], [1, 2], [0, 0], [3, 4]]
    nobody = spread(compact[:0].bool(), torch.zeros(2, dtype=torch.bool))
    assert nobody.dtype == torch.bool and not nobody.any() and nobody.shape == (2, 2)
