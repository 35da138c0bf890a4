import json

import numpy as np
import pytest
import torch

from medcodi.data.cache import ArrayCache, CacheWriter, StaleCacheError


@pytest.fixture
def folder(tmp_path):
    with CacheWriter(tmp_path / "train" / "view", num_studies=7, key="abc") as writer:
        writer.append([4, 1], latents=torch.tensor([[4.0, 40.0], [1.0, 10.0]]), mask=torch.tensor([[True], [False]]))
        writer.append([], latents=torch.empty(0, 2), mask=torch.empty(0, 1, dtype=torch.bool))
        writer.append(np.array([6]), latents=torch.tensor([[6.0, 60.0]]), mask=torch.tensor([[True]]))
    return tmp_path / "train" / "view"


def test_round_trip(folder):
    cache = ArrayCache.open(folder, "abc")
    assert len(cache) == 7 and cache.present.tolist() == [False, True, False, False, True, False, True]
    latents, present = cache.gather("latents", [6, 0, 1, 6])
    assert present.tolist() == [True, False, True, True]
    assert torch.equal(latents, torch.tensor([[6.0, 60.0], [1.0, 10.0], [6.0, 60.0]]))
    mask, _ = cache.gather("mask", [4, 1])
    assert mask.dtype == torch.bool and mask.tolist() == [[True], [False]]
    assert isinstance(cache.arrays["latents"], np.memmap)
    empty, present = cache.gather("latents", [0, 2])
    assert empty.shape == (0, 2) and not present.any()


def test_many_rows_and_half_precision(tmp_path):
    values = torch.randn(1234, 3, 2).half()
    with CacheWriter(tmp_path / "c", num_studies=1234, key="k") as writer:
        for start in range(0, 1234, 100):
            chunk = values[start : start + 100]
            writer.append(range(start, start + len(chunk)), latents=chunk, wide=chunk.bfloat16())
    cache = ArrayCache.open(tmp_path / "c", "k")
    assert torch.equal(cache.gather("latents", range(1234))[0], values)
    assert cache.gather("wide", [3])[0].dtype == torch.float32
    np.testing.assert_array_equal(np.load(tmp_path / "c" / "latents.npy"), values.numpy())  # plain numpy reads it


def test_nobody_has_the_modality(tmp_path):
    with CacheWriter(tmp_path / "c", num_studies=3, key="k"):
        pass
    values, present = ArrayCache.open(tmp_path / "c", "k").gather("latents", [0, 2])
    assert len(values) == 0 and present.tolist() == [False, False]


def test_stale_and_missing(folder, tmp_path):
    with pytest.raises(StaleCacheError, match="weights abc, the weights in use are xyz"):
        ArrayCache.open(folder, "xyz")
    with pytest.raises(ValueError, match=r"no cache in .*meta\.json is missing"):
        ArrayCache.open(tmp_path / "none", "abc")
    with pytest.raises(ValueError, match=r"no array 'latent'. Valid names: latents, mask"):
        ArrayCache.open(folder, "abc").gather("latent", [1])
    with pytest.raises(IndexError, match=r"\[0, 7\)"):
        ArrayCache.open(folder, "abc").gather("latents", [7])


@pytest.mark.parametrize("name", ["latents.npy", "row_index.npy", "meta.json"])
@pytest.mark.parametrize("cut", [1, 60])
def test_truncated_files_are_refused(folder, name, cut):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:-cut])
    with pytest.raises(ValueError, match="corrupted"):
        ArrayCache.open(folder, "abc")
    (folder / name).unlink()
    with pytest.raises(ValueError, match="corrupted" if name != "meta.json" else "no cache"):
        ArrayCache.open(folder, "abc")


def test_wrong_meta_is_refused(folder):
    meta = json.loads((folder / "meta.json").read_text())
    for change in ({"num_rows": 2}, {"num_studies": 8}, {"arrays": {"latents": {"shape": [3, 3], "dtype": "float32"}}}):
        (folder / "meta.json").write_text(json.dumps({**meta, **change}))
        with pytest.raises(ValueError, match="corrupted"):
            ArrayCache.open(folder, "abc")


def test_append_errors(tmp_path):
    row = torch.zeros(1, 2)
    for arguments, message in [
        (dict(study_indices=[9], a=row), r"lie in \[0, 3\)"),
        (dict(study_indices=[0], a=row), "written twice"),
        (dict(study_indices=[1, 1], a=torch.zeros(2, 2)), "written twice"),
        (dict(study_indices=[1], b=row), r"got arrays \['b'\], the first append had \['a'\]"),
        (dict(study_indices=[1], a=torch.zeros(2, 2)), "expected 1 rows"),
        (dict(study_indices=[1], a=torch.zeros(1, 3)), r"expected rows \(2,\) float32, got \(3,\)"),
        (dict(study_indices=[1], a=torch.full((1, 2), float("nan"))), "not finite"),
        (dict(study_indices=[1]), "at least one named array"),
        (dict(study_indices=[1], a=["x"]), "numbers and masks"),
    ]:
        with pytest.raises(ValueError, match=message), CacheWriter(tmp_path / "c", 3, "k") as writer:
            writer.append([0], a=row)
            writer.append(**arguments)
        assert list(tmp_path.iterdir()) == []


def test_rewriting_keeps_the_old_cache_until_the_new_one_is_whole(folder):
    with pytest.raises(RuntimeError, match="killed"), CacheWriter(folder, 7, "new") as writer:
        writer.append([0], latents=torch.zeros(1, 2))
        raise RuntimeError("killed")
    assert ArrayCache.open(folder, "abc").present.sum() == 3
    with CacheWriter(folder, 7, "new") as writer:
        writer.append([0], latents=torch.zeros(1, 2))
    assert ArrayCache.open(folder, "new").present.sum() == 1
    assert [path.name for path in folder.parent.iterdir()] == ["view"]
