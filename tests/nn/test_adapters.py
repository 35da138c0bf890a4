"""Low-rank adapters in a small network: neutral at first, weighed, merged, taken off."""

import pytest
import torch
from torch import nn

from medcodi.nn.adapters import (
    adapter_names,
    adapter_state,
    add_adapters,
    load_adapter_state,
    merge_adapters,
    remove_adapters,
    set_strengths,
)

pytest.importorskip("peft")


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.GELU(), nn.Flatten(), nn.Linear(4 * 16, 5)
    ).eval()


@pytest.fixture
def batch():
    return torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(1))


def trained(network, name):
    """Give the adapter other weights than it begins with."""
    generator = torch.Generator().manual_seed(len(name))
    with torch.no_grad():
        for p in adapter_state(network, name).values():
            p.add_(0.3 * torch.randn(p.shape, generator=generator))


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_neutral_then_weighed_merged_and_removed(network, batch, kind):
    plain, weights = network(batch), {k: v.clone() for k, v in network.state_dict().items()}
    add_adapters(network, "a", kind, rank=2)
    torch.testing.assert_close(network(batch), plain)
    trains = {k for k, p in network.named_parameters() if p.requires_grad}
    assert trains and all("lora_" in key for key in trains)
    trained(network, "a")
    whole = network(batch)
    assert not torch.allclose(whole, plain, atol=1e-2)
    set_strengths(network, {"a": 0.0})
    assert torch.equal(network(batch), plain)
    set_strengths(network, {"a": 0.5})
    half = network(batch)
    assert not torch.allclose(half, plain, atol=1e-3) and not torch.allclose(half, whole, atol=1e-3)
    set_strengths(network, {"a": 1.0})
    torch.testing.assert_close(network(batch), whole)
    merge_adapters(network, {"a": 1.0})
    torch.testing.assert_close(network(batch), whole, rtol=1e-4, atol=1e-4)
    assert adapter_names(network) == [] and network.state_dict().keys() == weights.keys()


def test_removed_is_as_before(network, batch):
    plain = network(batch)
    add_adapters(network, "a", rank=2)
    trained(network, "a")
    remove_adapters(network)
    assert torch.equal(network(batch), plain)


def test_two_adapters_add_up(network, batch):
    plain = network(batch)
    for name in ("a", "bb"):
        add_adapters(network, name, rank=2, layers="linear")
        trained(network, name)
    assert adapter_names(network) == ["a", "bb"]
    difference = {}
    for strengths in ({"a": 1.0}, {"bb": 1.0}, {"a": 1.0, "bb": 1.0}):
        set_strengths(network, strengths)
        difference[tuple(strengths)] = network(batch) - plain
    torch.testing.assert_close(
        difference["a",] + difference["bb",], difference["a", "bb"], rtol=1e-4, atol=1e-5
    )


def test_state_goes_round_and_a_stranger_is_refused(network, batch):
    add_adapters(network, "a", rank=2)
    trained(network, "a")
    state = {k: v.clone() for k, v in adapter_state(network, "a").items()}
    assert all(".a." not in f".{key}." for key in state)
    expected = network(batch)
    remove_adapters(network)
    add_adapters(network, "other", rank=2)
    load_adapter_state(network, "other", state, "file")
    torch.testing.assert_close(network(batch), expected)
    state.popitem()
    with pytest.raises(ValueError, match="file does not fit this network"):
        load_adapter_state(network, "other", state, "file")
    with pytest.raises(ValueError, match="an adapter 'other' is there already"):
        add_adapters(network, "other")
    with pytest.raises(ValueError, match="no layer of adapters"):
        add_adapters(nn.Sequential(nn.GELU()), "a")


def test_what_is_left_out_gets_none(network):
    add_adapters(network, "a", rank=2, without=list(network[3].parameters()))
    assert {key.split(".")[0] for key in adapter_state(network, "a")} == {"0"}
