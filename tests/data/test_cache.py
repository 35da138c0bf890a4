import copy
import json
import os

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from medcodi.data.cache import (
    ArrayCache,
    StaleCacheError,
    finish_cache,
    finished_key,
    shard_paths,
    write_shard,
)

VALUES = torch.tensor([[1.0, 10.0], [4.0, 40.0], [6.0, 60.0]])  # of studies 1, 4 and 6


def shard(folder, number, key="abc"):
    return shard_paths(folder, key, number + 1)[number]


def fill(folder, key="abc", values=VALUES):
    """Two shards of two rows and of one."""
    masks = torch.tensor([[False], [True], [True]])
    for number, (studies, rows) in enumerate((([1, 4], slice(0, 2)), ([6], slice(2, 3)))):
        write_shard(
            shard(folder, number, key), studies, {"latents": values[rows], "mask": masks[rows]}
        )
    finish_cache(folder, key, num_studies=7, num_rows=3, num_shards=2)


@pytest.fixture
def folder(tmp_path):
    fill(tmp_path / "train" / "view")
    return tmp_path / "train" / "view"


def test_round_trip(folder):
    cache = ArrayCache.open(folder, "abc")
    assert len(cache) == 7 and cache.present.tolist() == [
        False,
        True,
        False,
        False,
        True,
        False,
        True,
    ]
    latents, present = cache.gather("latents", [6, 0, 1, 6])
    assert present.tolist() == [True, False, True, True]
    assert torch.equal(latents, VALUES[[2, 0, 2]])
    mask, _ = cache.gather("mask", [4, 1])
    assert mask.dtype == torch.bool and mask.tolist() == [[True], [False]]
    empty, present = cache.gather("latents", [0, 2])
    assert empty.shape == (0, 2) and not present.any()
    assert (
        copy.deepcopy(cache) is cache
    )  # a copy of a task must not read hundreds of GiB into memory


def test_shards_are_mapped_and_not_held_open(folder):
    with open("/proc/self/maps") as before:
        assert str(folder) not in before.read()
    cache = ArrayCache.open(folder, "abc")
    with open("/proc/self/maps") as file:
        maps = file.read()
    assert all(str(shard(folder, number)) in maps for number in (0, 1)) and cache.names == [
        "latents",
        "mask",
    ]
    links = [
        os.readlink(f"/proc/self/fd/{n}")
        for n in os.listdir("/proc/self/fd")
        if os.path.exists(f"/proc/self/fd/{n}")
    ]
    assert not [
        link for link in links if str(folder) in link
    ]  # there may be more shards than files that may be open


def test_half_precision(tmp_path):
    values = torch.randn(300, 3, 2).half()
    for number, start in enumerate(range(0, 300, 100)):
        rows = range(start, start + 100)
        write_shard(
            shard(tmp_path, number),
            rows,
            {"latents": values[rows], "wide": values[rows].bfloat16()},
        )
    finish_cache(tmp_path, "abc", 300, 300, 3)
    cache = ArrayCache.open(tmp_path, "abc")
    order = np.random.default_rng(0).permutation(300)
    assert torch.equal(cache.gather("latents", order)[0], values[order])
    assert torch.equal(cache.gather("wide", order)[0], values[order].bfloat16())


def test_nobody_has_the_modality(tmp_path):
    finish_cache(tmp_path / "c", "k", 3, 0, 0)
    values, present = ArrayCache.open(tmp_path / "c", "k").gather("latents", [0, 2])
    assert len(values) == 0 and present.tolist() == [False, False]


def test_stale_and_missing(folder, tmp_path):
    assert finished_key(folder) == "abc" and finished_key(tmp_path / "none") is None
    with pytest.raises(StaleCacheError, match="made by abc, in use is xyz: compute it again"):
        ArrayCache.open(folder, "xyz")
    with pytest.raises(ValueError, match=r"no cache in .*meta\.json is missing"):
        ArrayCache.open(tmp_path / "none", "abc")
    with pytest.raises(ValueError, match=r"no array 'latent'. Valid names: latents, mask"):
        ArrayCache.open(folder, "abc").gather("latent", [1])
    with pytest.raises(IndexError, match=r"\[0, 7\)"):
        ArrayCache.open(folder, "abc").gather("latents", [7])


CORRUPTED = "corrupted: .*Remove the folder, it is computed again"


@pytest.mark.parametrize("name", ["abc/00000.safetensors", "abc/00001.safetensors", "meta.json"])
@pytest.mark.parametrize("cut", [1, 60])
def test_truncated_files_are_refused(folder, name, cut):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:-cut])
    with pytest.raises(ValueError, match=CORRUPTED):
        ArrayCache.open(folder, "abc")
    (folder / name).unlink()
    with pytest.raises(ValueError, match=CORRUPTED if name != "meta.json" else "no cache"):
        ArrayCache.open(folder, "abc")


def test_one_changed_bit_is_noticed_by_the_process_that_checks_the_shard(folder):
    path = shard(folder, 1)
    content = bytearray(path.read_bytes())
    content[content.rindex(np.float32(60).tobytes())] ^= 1
    path.write_bytes(content)
    with pytest.raises(
        ValueError,
        match=r"00001.safetensors cannot be read .*another checksum of latents.*Remove the folder",
    ):
        ArrayCache.open(folder, "abc")
    with pytest.raises(ValueError, match=CORRUPTED):
        ArrayCache.open(folder, "abc", checked=slice(1, None, 2))
    ArrayCache.open(folder, "abc", checked=slice(0, None, 2))  # another process reads shard 1


def test_arrays_without_a_checksum_are_refused(folder):
    save_file(load_file(shard(folder, 0)), shard(folder, 0))
    with pytest.raises(ValueError, match=CORRUPTED):
        ArrayCache.open(folder, "abc")


def test_wrong_meta_is_refused(folder):
    meta = json.loads((folder / "meta.json").read_text())
    for change in (
        {"num_rows": 2},
        {"num_studies": 6},
        {"num_shards": 1},
        {"num_shards": 3},
        {"num_rows": None},
    ):
        (folder / "meta.json").write_text(json.dumps({**meta, **change}))
        with pytest.raises(ValueError, match="corrupted"):
            ArrayCache.open(folder, "abc")


def test_errors_leave_nothing(tmp_path):
    row = torch.zeros(1, 2)
    for studies, array, message in [
        ([], row, "must ascend"),
        ([1, 1], torch.zeros(2, 2), "must ascend"),
        ([2, 1], torch.zeros(2, 2), "must ascend"),
        ([1], torch.zeros(2, 2), r"array 'a': expected 1 rows, got shape \(2, 2\)"),
        ([1], torch.full((1, 2), float("nan")), "array 'a': holds a number that is not finite"),
    ]:
        with pytest.raises(ValueError, match=message):
            write_shard(tmp_path / "c" / "00000.safetensors", studies, {"a": array})
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "00000.safetensors").mkdir()  # what cannot be replaced
    with pytest.raises(ValueError, match="is a folder"):
        write_shard(tmp_path / "c" / "00000.safetensors", [1], {"a": row})
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["00000.safetensors"]


def test_the_old_cache_lives_until_the_new_one_is_whole(folder):
    write_shard(shard(folder, 0, "new"), [0], {"latents": torch.zeros(1, 2)})
    old = ArrayCache.open(folder, "abc")
    assert old.present.sum() == 3 and finished_key(folder) == "abc"
    finish_cache(folder, "new", 7, 1, 1)
    assert ArrayCache.open(folder, "new").present.sum() == 1
    assert sorted(path.name for path in folder.iterdir()) == ["meta.json", "new"]
    assert torch.equal(old.gather("latents", [4])[0], VALUES[1:2])  # who has it open reads on
