"""torchxrayvision's DenseNet as classifier: outputs by name, from a file with its hash."""

import hashlib

import numpy as np
import pytest
import torch

from medcodi.metrics.networks.xrv_classifier import XrvClassifier

xrv = pytest.importorskip("torchxrayvision")
OUTPUTS = ["Effusion", "", "Lung Opacity", "Cardiomegaly"]


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    torch.manual_seed(0)
    network = xrv.models.DenseNet(num_classes=4, in_channels=1)
    torch.nn.init.normal_(network.classifier.weight, std=1e-3)  # outputs that do not saturate
    path = tmp_path_factory.mktemp("xrv") / "densenet.pth"
    torch.save(network.state_dict(), path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"name": "tiny", "file": str(path), "sha256": sha256, "outputs": OUTPUTS, "size": 64}


def test_findings_are_found_by_name(spec):
    classifier = XrvClassifier(spec)
    wanted = ["Cardiomegaly", "Pleural Effusion", "Fracture", "lung_opacity"]
    names = classifier.readable(wanted)
    assert names == ["Cardiomegaly", "Pleural Effusion", "lung_opacity"]
    images = np.random.default_rng(0).random((3, 32, 32), dtype=np.float32)
    probabilities = classifier.probabilities(images, names)
    assert probabilities.shape == (3, 3)
    assert ((probabilities > 0) & (probabilities < 1)).all()
    pixels = torch.nn.functional.interpolate(
        torch.from_numpy(images)[:, None], (64, 64), mode="bilinear", antialias=True
    )
    network = xrv.models.DenseNet(num_classes=4, in_channels=1).eval()
    network.load_state_dict(torch.load(spec["file"], weights_only=True))
    with torch.no_grad():
        logits = network((pixels * 2 - 1) * 1024)
    assert probabilities == pytest.approx(logits.sigmoid().numpy()[:, [3, 0, 2]], abs=1e-5)


def test_a_missing_or_other_file_is_named(spec):
    with pytest.raises(FileNotFoundError, match=r"'tiny': /absent.pth does not exist"):
        XrvClassifier({**spec, "file": "/absent.pth"})
    with pytest.raises(ValueError, match=r"has the SHA-256 .* expected 00"):
        XrvClassifier({**spec, "sha256": "00"})
    with pytest.raises(ValueError, match=r"unknown key 'sha' in x; did you mean 'sha256'"):
        XrvClassifier({**spec, "sha": "00"}, "x")
    with pytest.raises(ValueError, match="does not fit torchxrayvision"):
        XrvClassifier({**spec, "outputs": [*OUTPUTS, "Mass"]})
