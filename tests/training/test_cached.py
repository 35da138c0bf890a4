"""The cache of the frozen networks: what it depends on, a killed computation, several processes."""

import hashlib
import json
import logging
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from medcodi.config_io import recipe_from_dict, to_dict
from medcodi.data.cache import ArrayCache
from medcodi.data.prepared import INDEX
from medcodi.nn.weights import WEIGHTS, load_module
from medcodi.training import cached, run
from medcodi.training.cached import open_cache
from medcodi.training.identity import cache_key
from medcodi.training.parallel.topology import start
from medcodi.training.run import Run
from medcodi.training.task import to_device
from medcodi.training.tasks.stage2 import Stage2Task
from medcodi.training.tasks.stage3 import Stage3Task
from tests.tiny import copy_run
from tests.training.parts import LATER
from tests.training.processes import in_processes

WITHOUT = ("stage2", "stage3", "pipeline", "cache")


NAME = "report"


@pytest.fixture
def recipe(tiny_run, tmp_path):
    """Autoencoders and stage 1 are there, no cache is."""
    return copy_run(tiny_run, tmp_path, without=WITHOUT)


@pytest.fixture
def small_shards(monkeypatch):
    """Four shards for the studies of a tiny run."""
    monkeypatch.setattr(cached, "SHARD_ROWS", 12)


def changed(recipe, **sections):
    values = to_dict(recipe)
    for name, arguments in sections.items():
        values["modalities"][name]["encoder"] = {
            **values["modalities"][name]["encoder"],
            **arguments,
        }
    return recipe_from_dict(values, "changed recipe")


def everything(cache):
    return {name: cache.gather(name, range(len(cache)))[0] for name in cache.names}


def files(recipe, name=NAME):
    """Content and time of every shard."""
    paths = sorted((recipe.run_dir / "cache" / "train" / name).glob("*/*"))
    return {
        path.name: (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in paths
    }


def test_one_process_writes_what_the_networks_say_of_64_rows_at_a_time(recipe):
    """To the bit, in the groups of rows that encoders always saw."""
    opened = Run(recipe)
    data = opened.data("train", [NAME])
    rows = data.present[:, 0].nonzero()[0]
    space, autoencoder = (
        opened.shared_space(),
        opened.autoencoder(opened.family.modality(NAME).group),
    )
    expected = {"latents": [], "embeds": [], "tokens": [], "mask": []}
    for start_row in range(0, len(rows), 64):
        batch = data.batch(rows[start_row : start_row + 64])
        values = to_device(
            opened.family.modality(NAME).collate([study.values[NAME] for study in batch]), "cpu"
        )
        with torch.no_grad():
            encoding = space.encode(NAME, values)
            found = (autoencoder.encode(values), encoding.embeds, encoding.tokens, encoding.mask)
        for name, array in zip(expected, found, strict=True):
            expected[name].append(array)
    cache = open_cache(opened, "train", NAME)
    assert np.array_equal(cache.present, data.present[:, 0])
    assert all(
        torch.equal(array, torch.cat(expected[name])) for name, array in everything(cache).items()
    )
    assert open_cache(opened, "train", NAME) is cache  # opened and compared with its checksums once


def test_a_killed_computation_goes_on_with_the_shards_that_are_there(
    recipe, small_shards, monkeypatch
):
    written = []

    def killed(path, studies, arrays):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(path)
        write_shard(path, studies, arrays)

    write_shard = cached.write_shard
    monkeypatch.setattr(cached, "write_shard", killed)
    with pytest.raises(KeyboardInterrupt):
        open_cache(Run(recipe), "train", NAME)
    first = files(recipe)
    assert list(first) == ["00000.safetensors", "00001.safetensors"]
    monkeypatch.setattr(cached, "write_shard", write_shard)
    cache = open_cache(Run(recipe), "train", NAME)
    assert len(cache.shards) > 2 and first.items() <= files(recipe).items()  # not touched again
    whole = copy_run(recipe, recipe.run_dir.parent / "whole", without=("cache",))
    uninterrupted = open_cache(Run(whole), "train", NAME)
    assert all(
        torch.equal(array, everything(uninterrupted)[name])
        for name, array in everything(cache).items()
    )


def test_two_processes_write_what_one_does(recipe, small_shards):
    """Each its own shards, none twice; one that is slow is waited for. A second opening computes
    nothing."""
    whole = copy_run(recipe, recipe.run_dir.parent / "whole")

    def fill(rank):
        start(recipe.stage2, False)  # as the training loop does, gloo
        assert cached._processes() == (rank, 2)
        mine = []
        write_shard = cached.write_shard
        cached.write_shard = lambda path, *rest: (mine.append(path.name), write_shard(path, *rest))
        opened = Run(recipe)
        open_cache(opened, "train", NAME)
        (recipe.run_dir / f"{rank}.json").write_text(json.dumps(mine))

    assert in_processes(2, "ddp", fill) == [0, 0]
    written = [json.loads((recipe.run_dir / f"{rank}.json").read_text()) for rank in (0, 1)]
    assert all(written) and sorted(written[0] + written[1]) == list(files(recipe))
    before = files(recipe)
    cache, alone = open_cache(Run(recipe), "train", NAME), open_cache(Run(whole), "train", NAME)
    assert files(recipe) == before
    assert list(files(whole)) == list(before)
    assert all(
        torch.equal(array, everything(alone)[name]) for name, array in everything(cache).items()
    )


@pytest.mark.parametrize("make", [lambda opened: Stage2Task(opened, NAME), Stage3Task])
def test_the_device_of_the_task_computes_its_cache(tiny_run, monkeypatch, make):
    task, devices = make(Run(tiny_run)), []
    monkeypatch.setattr(type(task), "device", torch.device("meta"))
    monkeypatch.setattr(
        cached, "open_cache", lambda *about: (devices.append(about[-1]), open_cache(*about[:-1]))[1]
    )
    task.dataset("train")
    assert set(devices) == {torch.device("meta")}


def test_a_process_that_waits_in_vain_says_for_what(recipe, small_shards, monkeypatch):
    monkeypatch.setattr(cached, "_processes", lambda: (1, 2))  # the other one never runs
    monkeypatch.setattr(cached, "POLL", 0.0)
    monkeypatch.setattr(cached, "PATIENCE", 0.0)
    with pytest.raises(
        TimeoutError, match=r"00000.safetensors was not written in 0 s: .* Rerun the same command"
    ):
        open_cache(Run(recipe), "train", NAME)


def test_the_key_is_of_all_that_makes_a_row(recipe, tiny_prepared, tmp_path):
    """Weights alone do not tell: those of a pool without parameters are the same for any number of
    tokens."""
    key = cache_key(Run(recipe), NAME)
    assert cache_key(Run(changed(recipe, report={"num_tokens": 3})), NAME) != key
    assert cache_key(Run(changed(recipe, tabular={"num_tokens": 3})), NAME) == key
    changes = {"notes": {"window": 2}, "checksums": {"train": "0"}}
    for number, change in enumerate(changes.items()):
        folder = tmp_path / str(number)
        shutil.copytree(tiny_prepared, folder)
        same = copy_run(recipe, tmp_path / f"runs_{number}", data={"prepared": str(folder)})
        assert cache_key(Run(same), NAME) == key  # where the data stand does not matter
        index = json.loads((folder / INDEX).read_text())
        (folder / INDEX).write_text(json.dumps({**index, change[0]: change[1]}))
        assert cache_key(Run(same), NAME) != key


def test_changed_arguments_are_computed_again(recipe, caplog):
    first = open_cache(Run(recipe), "train", NAME)
    with caplog.at_level(logging.WARNING):
        second = open_cache(Run(changed(recipe, report={"num_tokens": 3})), "train", NAME)
    assert caplog.text.count("computing it again") == 1
    assert first.shards[0]["tokens"].shape[1] == 4 and second.shards[0]["tokens"].shape[1] == 3


def test_a_damaged_shard_is_refused_and_computed_again_once_removed(recipe):
    opened = open_cache(Run(recipe), "train", NAME)
    expected = {name: array.clone() for name, array in everything(opened).items()}
    (path,) = (recipe.run_dir / "cache" / "train" / NAME).glob("*/00000.safetensors")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.unlink()  # the mapped file stays as it is
    path.write_bytes(content)
    with pytest.raises(
        ValueError, match=r"corrupted: 00000.safetensors .*Remove the folder, it is computed again"
    ):
        open_cache(Run(recipe), "train", NAME)
    shutil.rmtree(recipe.run_dir / "cache" / "train" / NAME)
    again = everything(open_cache(Run(recipe), "train", NAME))
    assert all(torch.equal(again[name], expected[name]) for name in expected)


def test_weights_are_hashed_once_until_the_file_changes(recipe, monkeypatch):
    hashed = []
    weights_hash = run.weights_hash
    monkeypatch.setattr(
        run, "weights_hash", lambda folder: (hashed.append(folder), weights_hash(folder))[1]
    )
    first = [Run(recipe).hash("stage1"), Run(recipe).hash("stage1")]
    assert first[0] == first[1] and len(hashed) == 1
    path = recipe.run_dir / "stage1" / "export" / WEIGHTS
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)  # as long as before
    assert Run(recipe).hash("stage1") != first[0] and len(hashed) == 2


def test_rows_that_are_encoded_at_once_change_the_rounding_only(recipe):
    whole = everything(open_cache(Run(recipe), "train", NAME))
    fewer = copy_run(
        recipe, recipe.run_dir.parent / "fewer", without=("cache",), data={"cache_batch": 5}
    )
    for name, array in everything(open_cache(Run(fewer), "train", NAME)).items():
        torch.testing.assert_close(array, whole[name], rtol=1e-5, atol=1e-5)


def test_all_shards_are_read_by_somebody(recipe, small_shards):
    """What processes share out among themselves is all of it."""
    opened = open_cache(Run(recipe), "train", NAME)
    folder = recipe.run_dir / "cache" / "train" / NAME
    for damaged in range(len(opened.shards)):
        path = folder / opened.key / f"{damaged:05d}.safetensors"
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        noticed = []
        for rank in range(3):
            try:
                ArrayCache.open(folder, opened.key, slice(rank, None, 3))
            except ValueError:
                noticed.append(rank)
        assert noticed == [damaged % 3]
        path.unlink()
        path.write_bytes(content)


def test_stale_cache_is_computed_again(tiny_run, tmp_path, caplog):
    recipe = copy_run(tiny_run, tmp_path, without=LATER, stage2={"modality": "tabular"})
    path = recipe.run_dir / "autoencoder" / "tabular" / "export" / WEIGHTS
    weights = load_file(path)
    weights["latent_mean"] += 1.0
    save_file(weights, path)
    cache = recipe.run_dir / "cache" / "train"
    metas = {
        name: json.loads((cache / name / "meta.json").read_text()) for name in recipe.modalities
    }
    with caplog.at_level(logging.WARNING):
        data = Stage2Task(Run(recipe), "tabular").dataset("train")
    assert caplog.text.count("computing it again") == 1
    for name in recipe.modalities:
        changed = json.loads((cache / name / "meta.json").read_text())["key"] != metas[name]["key"]
        assert changed == (name == "tabular")
    run = Run(recipe)
    present = data.caches["tabular"].present.nonzero()[0]
    values = run.family.modality("tabular").collate(
        [s.values["tabular"] for s in run.data("train", ["tabular"]).batch(present[:4])]
    )
    autoencoder = load_module(run.family.build_autoencoder("tabular"), path.parent)
    torch.testing.assert_close(
        data[[0, 1, 2, 3]].latents["tabular"], autoencoder.encode(values), rtol=1e-4, atol=1e-4
    )
