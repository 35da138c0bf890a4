"""Backbones: any torchvision, timm or torchxrayvision network from a local file whose SHA-256 is checked."""

import hashlib

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
    entry = {"name": "Shuffle", "kind": "torchvision", "model": "shufflenet_v2_x0_5", "size": 32, "classes": 7}
    backbone = Backbone({**entry, **saved(network, tmp_path / "a.pth")})
    features = backbone.features(IMAGES)
    assert backbone.name == "Shuffle" and features.shape == (3, 1024)
    network.fc = torch.nn.Identity()
    pixels = torch.nn.functional.interpolate(torch.from_numpy(IMAGES)[:, None], (32, 32), mode="bilinear", antialias=True)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.no_grad():
        expected = network((pixels.expand(-1, 3, -1, -1) - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1))
    assert features == pytest.approx(expected.numpy(), abs=1e-5)
    network = timm.create_model("test_resnet", pretrained=False, num_classes=5)
    entry = {"name": "timm", "kind": "timm", "model": "test_resnet", "size": 32, "classes": 5}
    assert len(Backbone({**entry, **saved(network, tmp_path / "b.pth")}).features(IMAGES)) == 3


@pytest.mark.slow
def test_inception_and_torchxrayvision(tmp_path):
    import torchxrayvision as xrv
    from torchvision.models import inception_v3

    network = xrv.models.DenseNet(weights=None, num_classes=18, in_channels=1)
    entry = {"name": "XRV DenseNet", "kind": "torchxrayvision", "classes": 18, "size": 64}
    assert Backbone({**entry, **saved(network, tmp_path / "x.pt")}).features(IMAGES).shape == (3, 1024)
    network = inception_v3(weights=None, init_weights=False)
    entry = {"name": "Inception v3", "kind": "torchvision", "model": "inception_v3", "size": 299}
    assert Backbone({**entry, **saved(network, tmp_path / "i.pth")}).features(IMAGES).shape == (3, 2048)


def test_bad_entries_are_named(tmp_path):
    path = tmp_path / "a.pth"
    torch.save({"weight": torch.zeros(2)}, path)
    entry = {"name": "net", "kind": "torchvision", "model": "shufflenet_v2_x0_5", "file": str(path)}
    with pytest.raises(ValueError, match=r"has the SHA-256 [0-9a-f]{64}, expected 00"):
        Backbone({**entry, "sha256": "00"})
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(ValueError, match="does not fit shufflenet_v2_x0_5"):
        Backbone({**entry, "sha256": digest})
    with pytest.raises(ValueError, match="torchvision has no model 'nonet'"):
        Backbone({**entry, "sha256": digest, "model": "nonet"})
    with pytest.raises(FileNotFoundError, match="read from local files"):
        Backbone({**entry, "sha256": digest, "file": str(tmp_path / "none.pth")})
    with pytest.raises(ValueError, match="kind must be one of torchvision, timm, torchxrayvision"):
        Backbone({**entry, "sha256": digest, "kind": "clip"})
    with pytest.raises(ValueError, match="did you mean 'sha256'"):
        Backbone({**entry, "sha": digest, "sha256": digest})
