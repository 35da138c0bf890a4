"""Backbones: any torchvision, timm or torchxrayvision network from a local file whose SHA-256 is
checked."""

import hashlib
from functools import partialmethod

import numpy as np
import pytest
import torch

from medcodi.metrics.backbones import Backbone

IMAGES = np.random.default_rng(0).random((3, 20, 20)).astype(np.float32)


def saved(network, path):
    torch.save(network.state_dict(), path)
    return {"file": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def test_torchvision_and_timm(tmp_path):
    import timm
    from torchvision.models import shufflenet_v2_x0_5

    torch.manual_seed(0)
    network = shufflenet_v2_x0_5(num_classes=7).eval()
    entry = {
        "name": "Shuffle",
        "kind": "torchvision",
        "model": "shufflenet_v2_x0_5",
        "size": 32,
        "classes": 7,
    }
    backbone = Backbone({**entry, **saved(network, tmp_path / "a.pth")})
    features = backbone.features(IMAGES)
    assert backbone.name == "Shuffle" and features.shape == (3, 1024)
    network.fc = torch.nn.Identity()
    pixels = torch.nn.functional.interpolate(
        torch.from_numpy(IMAGES)[:, None], (32, 32), mode="bilinear", antialias=True
    )
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.no_grad():
        expected = network(
            (pixels.expand(-1, 3, -1, -1) - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)
        )
    assert features == pytest.approx(expected.numpy(), abs=1e-5)
    network = timm.create_model("test_resnet", pretrained=False, num_classes=5)
    entry = {"name": "timm", "kind": "timm", "model": "test_resnet", "size": 32, "classes": 5}
    assert len(Backbone({**entry, **saved(network, tmp_path / "b.pth")}).features(IMAGES)) == 3


def features_of(network, pixels):
    with torch.no_grad():
        return network.eval()(pixels).flatten(1).numpy()


def pixels_of(size, channels):
    seen = torch.nn.functional.interpolate(
        torch.from_numpy(IMAGES)[:, None], (size, size), mode="bilinear", antialias=True
    )
    return seen.expand(-1, channels, -1, -1)


def test_torchxrayvision_reads_its_own_layout_and_runs_no_pickle(tmp_path, monkeypatch):
    """A state dict with the thresholds that its published models carry; the pickled module that it
    downloads is refused."""
    import torchxrayvision as xrv

    monkeypatch.setattr(xrv.models, "get_weights", lambda *a: pytest.fail("a download"))
    torch.manual_seed(0)
    small = {"block_config": (1, 1, 1, 1), "growth_rate": 8, "num_init_features": 16}
    monkeypatch.setattr(
        xrv.models.DenseNet, "__init__", partialmethod(xrv.models.DenseNet.__init__, **small)
    )
    network = xrv.models.DenseNet(num_classes=18, op_threshs=torch.rand(18))
    entry = {"name": "XRV DenseNet", "kind": "torchxrayvision", "size": 32}
    features = Backbone({**entry, **saved(network, tmp_path / "x.pt")}).features(IMAGES)
    with torch.no_grad():
        expected = network.eval().features2(1024 * (2 * pixels_of(32, 1) - 1))
    assert features == pytest.approx(expected.numpy(), abs=1e-3, rel=1e-5)
    torch.save(network, tmp_path / "whole.pt")
    whole = {
        "file": str(tmp_path / "whole.pt"),
        "sha256": hashlib.sha256((tmp_path / "whole.pt").read_bytes()).hexdigest(),
    }
    with pytest.raises(
        ValueError, match=r"whole.pt cannot be read as tensors alone \(UnpicklingError\)"
    ):
        Backbone({**entry, **whole})
    with pytest.raises(
        ValueError, match=r"(?s)does not fit torchxrayvision: .*size mismatch for classifier.weight"
    ):
        Backbone({**entry, **saved(xrv.models.DenseNet(num_classes=14), tmp_path / "y.pt")})
    assert Backbone(
        {**entry, "classes": 14, **saved(xrv.models.DenseNet(num_classes=14), tmp_path / "y.pt")}
    )


@pytest.mark.slow
def test_torchxrayvision_at_its_size(tmp_path):
    import torchxrayvision as xrv

    network = xrv.models.DenseNet(weights=None, num_classes=18, in_channels=1)
    entry = {"name": "XRV DenseNet", "kind": "torchxrayvision", "size": 64}
    backbone = Backbone({**entry, **saved(network, tmp_path / "x.pt")})
    assert backbone.features(IMAGES).shape == (3, 1024)


@pytest.mark.slow
def test_torchvision_inception_as_its_weights_are_used(tmp_path):
    """torchvision feeds its published Inception greys in [-1, 1], although they are normalised as
    for ImageNet."""
    from torchvision.models import inception_v3

    torch.manual_seed(0)
    network = inception_v3(weights=None, init_weights=False)
    entry = {"name": "Inception v3", "kind": "torchvision", "model": "inception_v3", "size": 299}
    features = Backbone({**entry, **saved(network, tmp_path / "i.pth")}).features(IMAGES)
    network.fc = torch.nn.Identity()
    assert features.shape == (3, 2048)
    assert features == pytest.approx(
        features_of(network, 2 * pixels_of(299, 3) - 1), rel=1e-3, abs=1e-4
    )


@pytest.mark.slow
def test_the_inception_of_published_fids(tmp_path):
    """Its layout: torchvision's keys without AuxLogits, 1,008 outputs. Its pooling, in two blocks:
    the border is no zero."""
    from torchvision.models import inception_v3

    torch.manual_seed(0)
    plain = inception_v3(weights=None, init_weights=False, aux_logits=False, num_classes=1008)
    entry = {"name": "Inception v3 (FID)", "kind": "fid-inception"}
    backbone = Backbone({**entry, **saved(plain, tmp_path / "i.pth")})
    features = backbone.features(IMAGES)
    plain.fc = torch.nn.Identity()
    assert features.shape == (3, 2048) and backbone.spec.size == 299
    assert not np.allclose(features, features_of(plain, 2 * pixels_of(299, 3) - 1), rtol=1e-3)
    x, block, last = torch.rand(1, 192, 5, 5), backbone.network.Mixed_5b, backbone.network.Mixed_7c
    ones = torch.nn.functional.avg_pool2d(torch.ones(1, 1, 5, 5), 3, 1, 1)
    with torch.no_grad():
        pooled = block.branch_pool(torch.nn.functional.avg_pool2d(x, 3, 1, 1) / ones)
        assert torch.allclose(block(x)[:, -32:], pooled, atol=1e-5)
        assert torch.allclose(block(x)[:, :-32], plain.eval().Mixed_5b(x)[:, :-32], atol=1e-6)
        z = torch.rand(1, 2048, 5, 5)
        assert torch.allclose(
            last(z)[:, -192:],
            last.branch_pool(torch.nn.functional.max_pool2d(z, 3, 1, 1)),
            atol=1e-5,
        )
    with_aux = inception_v3(weights=None, init_weights=False)
    with pytest.raises(ValueError, match=r"(?s)does not fit fid-inception: .*AuxLogits"):
        Backbone({**entry, **saved(with_aux, tmp_path / "j.pth")})


def test_timm_is_normalised_as_the_model_was_trained(tmp_path):
    import timm

    torch.manual_seed(0)
    network = timm.create_model(
        "test_vit", pretrained=False, num_classes=3
    )  # .5 and .5, not ImageNet's
    size = timm.data.resolve_model_data_config(network)["input_size"][-1]
    entry = {"name": "vit", "kind": "timm", "model": "test_vit", "size": size, "classes": 3}
    features = Backbone({**entry, **saved(network, tmp_path / "v.pth")}).features(IMAGES)
    network.reset_classifier(0)
    assert features == pytest.approx(features_of(network, 2 * pixels_of(size, 3) - 1), abs=1e-4)
    with pytest.raises(ValueError, match="timm has no model 'nonet'"):
        Backbone({**entry, "model": "nonet", **saved(network, tmp_path / "w.pth")})


def test_bad_entries_are_named(tmp_path):
    path = tmp_path / "a.pth"
    torch.save({"weight": torch.zeros(2)}, path)
    entry = {"name": "net", "kind": "torchvision", "model": "shufflenet_v2_x0_5", "file": str(path)}
    with pytest.raises(ValueError, match=r"has the SHA-256 [0-9a-f]{64}, expected 00"):
        Backbone({**entry, "sha256": "00"})
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(ValueError, match="does not fit shufflenet_v2_x0_5"):
        Backbone({**entry, "sha256": digest})
    with pytest.raises(ValueError, match="torchvision has no image model 'nonet'"):
        Backbone({**entry, "sha256": digest, "model": "nonet"})
    with pytest.raises(FileNotFoundError, match="read from local files"):
        Backbone({**entry, "sha256": digest, "file": str(tmp_path / "none.pth")})
    torch.save([torch.zeros(2)], tmp_path / "list.pth")
    listed = hashlib.sha256((tmp_path / "list.pth").read_bytes()).hexdigest()
    with pytest.raises(ValueError, match="holds no state dict, name -> tensor, but list"):
        Backbone({**entry, "sha256": listed, "file": str(tmp_path / "list.pth")})
    (tmp_path / "text.safetensors").write_text("no tensors")
    text = hashlib.sha256(b"no tensors").hexdigest()
    with pytest.raises(ValueError, match="cannot be read as tensors alone"):
        Backbone({**entry, "sha256": text, "file": str(tmp_path / "text.safetensors")})
    with pytest.raises(
        ValueError, match="kind must be one of torchvision, timm, torchxrayvision, fid-inception"
    ):
        Backbone({**entry, "sha256": digest, "kind": "clip"})
    with pytest.raises(ValueError, match="did you mean 'sha256'"):
        Backbone({**entry, "sha": digest, "sha256": digest})
