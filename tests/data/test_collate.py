import numpy as np
import pytest
import torch

from medcodi.data.collate import collate
from medcodi.data.study import Study

FNS = {
    "view": lambda raw: torch.stack([torch.as_tensor(v) for v in raw]),
    "notes": list,
    "wave": list,
}


def test_only_present_rows_are_collated():
    studies = [
        Study("a", "1", {"view": np.ones((2, 2)), "notes": "x"}),
        Study("b", "1", {"notes": None, "view": None}),
        Study("c", "2", {"view": np.zeros((2, 2)), "row": {"age": 3}}),
    ]
    batch = collate(studies, FNS)
    assert (
        batch.names == ["view", "notes", "wave"]
        and batch.study_ids == ["a", "b", "c"]
        and len(batch) == 3
    )
    assert batch.present.dtype == torch.bool
    assert batch.present.tolist() == [
        [True, True, False],
        [False, False, False],
        [True, False, False],
    ]
    assert batch.values["view"].shape == (2, 2, 2) and batch.values["view"][0].eq(1).all()
    assert batch.values["notes"] == ["x"]
    assert set(batch.values) == {"view", "notes"}  # nobody has a wave; `row` was not asked for
    assert batch.rows("view").tolist() == [0, 2] and batch.rows("wave").tolist() == []
    assert batch.rows("view").dtype == torch.long


def test_an_absent_modality_changes_nothing():
    studies = [Study("a", "1", {"notes": "x"}), Study("b", "1", {"notes": "y"})]
    assert (
        collate(studies, FNS).values
        == collate(studies, {"notes": list}).values
        == {"notes": ["x", "y"]}
    )


def test_errors():
    with pytest.raises(ValueError, match="at least one study"):
        collate([], FNS)
    with pytest.raises(ValueError, match=r"unknown key 'vew'.*did you mean 'view'"):
        collate([Study("a", "1", {})], FNS).rows("vew")
