"""Feature backbones as plug-ins: a local file and its SHA-256, nothing is downloaded.

    backbones:
      - {name: Inception v3, kind: torchvision, model: inception_v3, file: inception_v3.pth, sha256: 1a9a5a14..., size: 299}
      - {name: XRV DenseNet, kind: torchxrayvision, file: nih-pc-....pt, sha256: ...}
      - {name: ResNet-50, kind: timm, model: resnet50, file: ...}

A number of a backbone carries the name that its entry gives it. Legend: N images, H, W pixels, D features.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from medcodi.config import build_dataclass
from medcodi.metrics.images import as_float_images

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
XRV_RANGE = 1024  # torchxrayvision's networks read greys in [-1024, 1024]
KINDS = ("torchvision", "timm", "torchxrayvision")


@dataclass
class BackboneSpec:
    """An entry of `evaluation.backbones`. `file` holds a state dict (.pth read with weights_only, .safetensors) of `model`;
    `size` is the side the network sees; `classes` its number of outputs (they are not used)."""

    name: str
    kind: str
    file: str
    sha256: str
    model: str = ""
    size: int = 224
    classes: int = 1000
    batch_size: int = 32

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"backbone {self.name!r}: kind must be one of {', '.join(KINDS)}, got {self.kind!r}")
        if not self.model and self.kind != "torchxrayvision":
            raise ValueError(f"backbone {self.name!r}: `model` names the architecture in {self.kind}")


class Backbone:
    """Images (N, H, W) in [0, 1] -> features (N, D) of the layer before the classifier."""

    def __init__(self, spec: BackboneSpec | Mapping[str, Any]) -> None:
        self.spec = build_dataclass(BackboneSpec, dict(spec), "evaluation.backbones") if isinstance(spec, Mapping) else spec
        path = checked_file(self.spec)
        builders = {"torchvision": _torchvision, "timm": _timm, "torchxrayvision": _torchxrayvision}
        self.network = builders[self.spec.kind](self.spec, path).eval()

    @property
    def name(self) -> str:
        return self.spec.name

    @torch.inference_mode()
    def features(self, images: np.ndarray) -> np.ndarray:
        pixels = torch.from_numpy(as_float_images(images))[:, None]  # N, 1, H, W
        parts = [self._forward(part) for part in pixels.split(self.spec.batch_size)]
        return torch.cat(parts).double().numpy()

    def _forward(self, pixels: torch.Tensor) -> torch.Tensor:
        size = (self.spec.size, self.spec.size)
        pixels = F.interpolate(pixels, size, mode="bilinear", antialias=True, align_corners=False)
        if self.spec.kind == "torchxrayvision":
            return self.network((2 * pixels - 1) * XRV_RANGE).flatten(1)
        mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
        return self.network((pixels.expand(-1, 3, -1, -1) - mean) / std).flatten(1)


def checked_file(spec: BackboneSpec) -> Path:
    """The path, after its SHA-256 was compared. FileNotFoundError, ValueError with both hashes."""
    path = Path(spec.file)
    if not path.is_file():
        raise FileNotFoundError(f"backbone {spec.name!r}: {path} does not exist; backbones are read from local files")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != spec.sha256.lower():
        raise ValueError(f"backbone {spec.name!r}: {path} has the SHA-256 {found}, expected {spec.sha256}")
    return path


def _state(path: Path) -> dict[str, torch.Tensor]:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    return torch.load(path, map_location="cpu", weights_only=True)


def _load(network: nn.Module, spec: BackboneSpec, path: Path) -> None:
    try:
        network.load_state_dict(_state(path), strict=True)
    except RuntimeError as error:
        raise ValueError(f"backbone {spec.name!r}: {path} does not fit {spec.model}: {error}") from None


def _torchvision(spec: BackboneSpec, path: Path) -> nn.Module:
    from torchvision.models import get_model, list_models

    if spec.model not in list_models():
        raise ValueError(f"backbone {spec.name!r}: torchvision has no model {spec.model!r}")
    extra = {"init_weights": False} if spec.model in ("inception_v3", "googlenet") else {}
    network = get_model(spec.model, weights=None, num_classes=spec.classes, **extra)
    _load(network, spec, path)
    for head in ("fc", "classifier", "head", "heads"):
        if hasattr(network, head):
            setattr(network, head, nn.Identity())
            return network
    raise ValueError(f"backbone {spec.name!r}: {spec.model} has no head fc, classifier, head or heads to take off")


def _timm(spec: BackboneSpec, path: Path) -> nn.Module:
    import timm

    network = timm.create_model(spec.model, pretrained=False, num_classes=spec.classes)
    _load(network, spec, path)
    network.reset_classifier(0)
    return network


def _torchxrayvision(spec: BackboneSpec, path: Path) -> nn.Module:
    """A DenseNet of torchxrayvision from the state dict in `path`; `features2` is what its classifier reads."""
    import torchxrayvision as xrv

    class Features(nn.Module):
        def __init__(self, network: nn.Module) -> None:
            super().__init__()
            self.network = network

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.network.features2(images)

    network = xrv.models.DenseNet(weights=None, num_classes=spec.classes, in_channels=1)
    _load(network, spec, path)
    return Features(network)
