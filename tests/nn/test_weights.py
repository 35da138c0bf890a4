"""Weights on disk: strict loads with named errors, atomic writes, a hash that follows the
weights."""

import json

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from medcodi.nn import weights
from medcodi.nn.weights import (
    CONFIG,
    WEIGHTS,
    checksum,
    load_config,
    load_module,
    save_module,
    weights_hash,
    without_values,
)


def module(seed: int = 0, width: int = 3) -> nn.Module:
    torch.manual_seed(seed)
    built = nn.Sequential(nn.Linear(2, width), nn.Linear(width, 1))
    built.register_buffer("mean", torch.randn(1))
    return built


def equal(a: nn.Module, b: nn.Module) -> bool:
    return all(
        torch.equal(x, y)
        for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    )


@pytest.fixture
def folder(tmp_path):
    save_module(module(), tmp_path / "export", {"step": 5})
    return tmp_path / "export"


def test_weights_buffers_and_config_come_back(folder):
    other = module(seed=1)
    assert not equal(other, module())
    assert equal(load_module(other, folder), module())
    assert load_config(folder) == {"step": 5}


def test_tied_weights_come_back(tmp_path):
    tied = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    tied[1].weight = tied[0].weight
    save_module(tied, tmp_path / "tied", {})
    loaded = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    assert torch.equal(load_module(loaded, tmp_path / "tied")[1].weight, tied[0].weight)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(3, 3, bias=False)
        self.outer = nn.Linear(3, 3, bias=False)
        self.outer.weight = self.inner.weight
        self.register_buffer("mean", torch.ones(3))
        self.register_buffer("table", torch.arange(3.0), persistent=False)


def test_a_module_without_values_becomes_that_of_the_file(tmp_path):
    source = Tied()
    save_module(source, tmp_path / "export", {})
    before = weights_hash(tmp_path / "export")
    state = torch.get_rng_state()
    with without_values():
        target = Tied()
    assert torch.equal(torch.get_rng_state(), state)
    assert all(x.is_meta for x in target.state_dict().values()) and not target.table.is_meta
    load_module(target, tmp_path / "export")
    assert equal(target, source) and torch.equal(target.table, source.table)
    assert target.outer.weight is target.inner.weight and target.inner.weight.requires_grad
    with torch.no_grad():
        target.inner.weight += 1  # in memory only
    assert weights_hash(tmp_path / "export") == before
    assert not any(x.is_meta for x in Tied().state_dict().values())


def test_without_values_ends_with_an_error():
    before = (nn.Module.register_parameter, nn.Module.register_buffer, nn.init.kaiming_uniform_)
    with pytest.raises(RuntimeError), without_values():
        raise RuntimeError
    assert (
        nn.Module.register_parameter,
        nn.Module.register_buffer,
        nn.init.kaiming_uniform_,
    ) == before
    assert not nn.Linear(1, 1).weight.is_meta


def test_without_values_initialises_what_is_no_parameter():
    with without_values():
        assert nn.init.constant_(torch.empty(2), 3.0).tolist() == [3.0, 3.0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda state: state.pop("0.bias"),
            r"does not fit this recipe. Missing keys: \['0.bias'\] \(1\)",
        ),
        (lambda state: state.update(extra=torch.zeros(1)), r"Unexpected keys: \['extra'\] \(1\)"),
        (
            lambda state: state.update({"0.weight": torch.zeros(4, 2)}),
            r"0.weight: file \(4, 2\), model \(3, 2\)",
        ),
    ],
)
def test_loads_are_strict_and_leave_the_module_as_it_was(folder, change, message):
    state = dict(module(seed=2).state_dict())
    change(state)
    save_file(state, folder / WEIGHTS)
    target = module(seed=1)
    with pytest.raises(ValueError, match=message):
        load_module(target, folder)
    assert equal(target, module(seed=1))


def test_corrupted_and_missing_files_are_named(folder, tmp_path):
    file = folder / WEIGHTS
    file.write_bytes(file.read_bytes()[:-7])
    with pytest.raises(ValueError, match=r"model\.safetensors is not a readable safetensors file"):
        load_module(module(), folder)
    with pytest.raises(FileNotFoundError, match="no weights at"):
        load_module(module(), tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"no config\.json in"):
        load_config(tmp_path)


def fail(*_args, **_kwargs):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("name", "config", "failure", "error"),
    [
        ("save_file", {}, fail, OSError),
        ("json.dumps", {}, fail, OSError),
        (None, {"not json": object()}, None, TypeError),
    ],
)
def test_a_failed_save_leaves_the_old_folder_and_nothing_else(
    folder, monkeypatch, name, config, failure, error
):
    before = weights_hash(folder)
    if name:
        monkeypatch.setattr(f"medcodi.nn.weights.{name}", failure)
    with pytest.raises(error):
        save_module(module(seed=3), folder, config)
    monkeypatch.undo()
    assert weights_hash(folder) == before and load_config(folder) == {"step": 5}
    assert equal(load_module(module(seed=1), folder), module())
    assert [p.name for p in folder.parent.iterdir()] == ["export"]


def test_a_save_replaces_the_whole_folder(folder):
    (folder / "stale.txt").write_text("from an older export")
    save_module(module(seed=3), folder, {"step": 6})
    assert sorted(p.name for p in folder.iterdir()) == [CONFIG, WEIGHTS]
    assert [p.name for p in folder.parent.iterdir()] == ["export"]
    assert json.loads((folder / CONFIG).read_text()) == {"step": 6}


def test_the_hash_follows_the_weights_and_nothing_else(folder, tmp_path):
    save_module(module(), tmp_path / "same", {"step": 99})
    changed = module()
    with torch.no_grad():
        changed[1].bias += 1e-6
    save_module(changed, tmp_path / "changed", {"step": 5})
    assert (
        weights_hash(folder)
        == weights_hash(tmp_path / "same")
        != weights_hash(tmp_path / "changed")
    )
    assert checksum(folder) == checksum(tmp_path / "same") != checksum(tmp_path / "changed")
    assert len(weights_hash(folder)) == 16 and weights.WEIGHTS == "model.safetensors"
