"""torchxrayvision's DenseNet as a reader of findings, with weights that the user has: a local file
and its SHA-256, as for a backbone (metrics/backbones.py)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from medcodi.config_io import build_dataclass
from medcodi.metrics.backbones import Backbone, BackboneSpec

# names of data sets -> torchxrayvision's, where these differ by more than case and underscores
SYNONYMS = {"pleuraleffusion": "effusion", "lungnodule": "nodule"}


@dataclass
class XrvClassifierSpec:
    """`outputs` names the network's outputs in order, "" for one that was never trained; [] stands
    for the 18 of torchxrayvision's `all` models."""

    name: str
    file: str
    sha256: str
    outputs: list[str] = field(default_factory=list)
    size: int = 224
    batch_size: int = 32


class XrvClassifier:
    """Findings in images. `readable(names)` says which of them the network reads."""

    def __init__(self, spec: Mapping[str, Any], where: str = "classifier") -> None:
        """FileNotFoundError for the missing file; ValueError for another SHA-256, another network,
        or an unknown key."""
        import torchxrayvision as xrv

        self.spec: XrvClassifierSpec = build_dataclass(XrvClassifierSpec, dict(spec), where)
        self.outputs = self.spec.outputs or list(xrv.datasets.default_pathologies)
        told = self.spec
        self.backbone = Backbone(
            BackboneSpec(
                told.name,
                "torchxrayvision",
                told.file,
                told.sha256,
                size=told.size,
                classes=len(self.outputs),
                batch_size=told.batch_size,
            )
        )
        self.backbone.network = self.backbone.network.network  # with its outputs
        self.calibrated = self.backbone.network.op_threshs is not None  # then these have a sigmoid

    def readable(self, names: Sequence[str]) -> list[str]:
        """Those of `names` that the network has an output for."""
        known = {_key(output) for output in self.outputs if output}
        return [name for name in names if _key(name) in known]

    def probabilities(self, images: np.ndarray, names: Sequence[str]) -> np.ndarray:
        """(N, K) in [0, 1] of `readable` findings, for images (N, H, W) in [0, 1]."""
        outputs = torch.from_numpy(self.backbone.features(images))
        values = outputs if self.calibrated else outputs.sigmoid()
        places = {_key(output): i for i, output in enumerate(self.outputs) if output}
        return values[:, [places[_key(name)] for name in names]].numpy()


def _key(name: str) -> str:
    plain = "".join(c for c in name.lower() if c.isalnum())
    return SYNONYMS.get(plain, plain)
