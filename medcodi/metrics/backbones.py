"""Feature backbones as plug-ins: a local file and its SHA-256; nothing is downloaded and no pickled
code is run.

    backbones:
      - {name: Inception v3 (FID), kind: fid-inception, file: pt_inception-2015-12-05.pth, sha256:
        6726825d...}
      - {name: XRV DenseNet, kind: torchxrayvision, file: xrv_all.pth, sha256: ...}
      - {name: Inception v3, kind: torchvision, model: inception_v3, file: inception_v3.pth, sha256:
        ..., size: 299}
      - {name: ResNet-50, kind: timm, model: resnet50, file: ..., sha256: ...}

A number of a backbone carries the name that its entry gives it. `fid-inception` is the network that
published FIDs mean: its weights and pooling differ from torchvision's. The files that
torchxrayvision downloads are pickled modules: save their `state_dict()` where you trust them.
Legend: N images, H, W pixels, D features.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from medcodi.config_io import build_dataclass
from medcodi.files import sha256
from medcodi.metrics.images import as_float_images

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
XRV_RANGE = 1024  # torchxrayvision's networks read greys in [-1024, 1024]
KINDS = ("torchvision", "timm", "torchxrayvision", "fid-inception")
NAMED = ("torchvision", "timm")  # kinds with many architectures


@dataclass
class BackboneSpec:
    """An entry of `evaluation.backbones`. `file` holds a state dict (.pth, .pt read with
    weights_only, .safetensors) of `model`; `size` is the side the network sees (default 224,
    fid-inception 299); `classes` its number of outputs, where these are not the architecture's own
    (they are not used)."""

    name: str
    kind: str
    file: str
    sha256: str
    model: str = ""
    size: int = 0
    classes: int = 0
    batch_size: int = 32

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(
                f"backbone {self.name!r}: kind must be one of {', '.join(KINDS)}, got {self.kind!r}"
            )
        if not self.model and self.kind in NAMED:
            raise ValueError(
                f"backbone {self.name!r}: `model` names the architecture in {self.kind}"
            )
        if self.size < 0 or self.classes < 0 or self.batch_size < 1:
            raise ValueError(
                f"backbone {self.name!r}: size and classes must not be negative, batch_size at "
                "least 1"
            )
        self.size = self.size or (299 if self.kind == "fid-inception" else 224)

    @property
    def outputs(self) -> dict[str, int]:
        return {"num_classes": self.classes} if self.classes else {}


class Backbone:
    """Images (N, H, W) in [0, 1] -> features (N, D) of the layer before the classifier."""

    def __init__(self, spec: BackboneSpec | Mapping[str, Any]) -> None:
        self.spec = (
            build_dataclass(BackboneSpec, dict(spec), "evaluation.backbones")
            if isinstance(spec, Mapping)
            else spec
        )
        path = checked_file(self.spec)
        builders = {
            "torchvision": _torchvision,
            "timm": _timm,
            "torchxrayvision": _torchxrayvision,
            "fid-inception": _fid_inception,
        }
        network, self.channels, mean, std = builders[self.spec.kind](
            self.spec, _state(self.spec, path), path
        )
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.network = network.to(self.device).eval()
        self.mean, self.std = (
            torch.tensor(v, device=self.device).view(1, -1, 1, 1) for v in (mean, std)
        )

    @property
    def name(self) -> str:
        return self.spec.name

    @torch.inference_mode()
    def features(self, images: np.ndarray) -> np.ndarray:
        pixels = torch.from_numpy(as_float_images(images))[:, None]  # N, 1, H, W
        parts = [
            self._forward(part.to(self.device)).cpu() for part in pixels.split(self.spec.batch_size)
        ]
        return torch.cat(parts).double().numpy()

    def _forward(self, pixels: torch.Tensor) -> torch.Tensor:
        size = (self.spec.size, self.spec.size)
        pixels = F.interpolate(pixels, size, mode="bilinear", antialias=True, align_corners=False)
        return self.network(
            (pixels.expand(-1, self.channels, -1, -1) - self.mean) / self.std
        ).flatten(1)


def checked_file(spec: BackboneSpec) -> Path:
    """The path, after its SHA-256 was compared. FileNotFoundError, ValueError with both hashes."""
    path = Path(spec.file)
    if not path.is_file():
        raise FileNotFoundError(
            f"backbone {spec.name!r}: {path} does not exist; backbones are read from local files"
        )
    found = sha256(path)
    if found != spec.sha256.lower():
        raise ValueError(
            f"backbone {spec.name!r}: {path} has the SHA-256 {found}, expected {spec.sha256}"
        )
    return path


State = dict[str, torch.Tensor]
Built = tuple[
    nn.Module, int, Sequence[float], Sequence[float]
]  # network, channels, mean and sd of its input


def _state(spec: BackboneSpec, path: Path) -> State:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(
            f"backbone {spec.name!r}: {path} cannot be read as tensors alone "
            f"({type(error).__name__}). Pickled objects are "
            "not run here: where you trust such a file, load it with its library and "
            "torch.save(network.state_dict(), FILE)"
        ) from None
    if not isinstance(state, Mapping) or not all(
        isinstance(value, torch.Tensor) for value in state.values()
    ):
        raise ValueError(
            f"backbone {spec.name!r}: {path} holds no state dict, name -> tensor, but "
            f"{type(state).__name__}"
        )
    return state


def _load(network: nn.Module, spec: BackboneSpec, state: State, path: Path) -> None:
    try:
        network.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise ValueError(
            f"backbone {spec.name!r}: {path} does not fit {spec.model or spec.kind}: {error}"
        ) from None


def _torchvision(spec: BackboneSpec, state: State, path: Path) -> Built:
    import torchvision

    if spec.model not in torchvision.models.list_models(module=torchvision.models):
        raise ValueError(f"backbone {spec.name!r}: torchvision has no image model {spec.model!r}")
    # As torchvision builds these two with their published weights.
    extra = (
        {"init_weights": False, "transform_input": True}
        if spec.model in ("inception_v3", "googlenet")
        else {}
    )
    network = torchvision.models.get_model(spec.model, weights=None, **spec.outputs, **extra)
    _load(network, spec, state, path)
    for head in ("fc", "classifier", "head", "heads"):
        if hasattr(network, head):
            setattr(network, head, nn.Identity())
            return network, 3, IMAGENET_MEAN, IMAGENET_STD
    raise ValueError(
        f"backbone {spec.name!r}: {spec.model} has no head fc, classifier, head or heads to take "
        "off"
    )


def _timm(spec: BackboneSpec, state: State, path: Path) -> Built:
    import timm

    if not timm.is_model(spec.model):
        raise ValueError(f"backbone {spec.name!r}: timm has no model {spec.model!r}")
    network = timm.create_model(spec.model, pretrained=False, **spec.outputs)
    _load(network, spec, state, path)
    network.reset_classifier(0)
    wanted = timm.data.resolve_model_data_config(network)
    return network, 3, wanted["mean"], wanted["std"]


def _torchxrayvision(spec: BackboneSpec, state: State, path: Path) -> Built:
    """A DenseNet of torchxrayvision; `features2` is what its classifier reads. Its published models
    also store the thresholds of their outputs."""
    import torchxrayvision as xrv

    class Features(nn.Module):
        def __init__(self, network: nn.Module) -> None:
            super().__init__()
            self.network = network

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.network.features2(images)

    network = xrv.models.DenseNet(
        weights=None, in_channels=1, op_threshs=state.get("op_threshs"), **spec.outputs
    )
    _load(network, spec, state, path)
    return Features(network), 1, [0.5], [0.5 / XRV_RANGE]


def _fid_inception(spec: BackboneSpec, state: State, path: Path) -> Built:
    """Inception of TensorFlow's 2015-12-05 graph, as Heusel et al. (2017) measure: 1,008 outputs,
    no auxiliary head, average pooling that leaves the border out, and max pooling in the last
    block. Keys are torchvision's."""
    from torchvision.models import inception

    def with_pooling(
        block: type[nn.Module], pool: Callable[[torch.Tensor], torch.Tensor]
    ) -> type[nn.Module]:
        class Pooled(block):
            def _forward(self, x: torch.Tensor) -> list[torch.Tensor]:
                *convolved, _ = super()._forward(x)
                return [*convolved, self.branch_pool(pool(x))]

        return Pooled

    average = partial(F.avg_pool2d, kernel_size=3, stride=1, padding=1, count_include_pad=False)
    most = partial(F.max_pool2d, kernel_size=3, stride=1, padding=1)
    a, c, e = (
        with_pooling(block, average)
        for block in (inception.InceptionA, inception.InceptionC, inception.InceptionE)
    )
    blocks = [
        inception.BasicConv2d,
        a,
        inception.InceptionB,
        c,
        inception.InceptionD,
        e,
        inception.InceptionAux,
    ]
    network = inception.Inception3(
        1008, aux_logits=False, inception_blocks=blocks, init_weights=False
    )
    network.Mixed_7c = with_pooling(inception.InceptionE, most)(2048)
    _load(network, spec, state, path)
    network.fc = nn.Identity()
    return network, 3, [0.5] * 3, [0.5] * 3
