"""Modality kinds. Importing this package registers the built-in ones."""

from medcodi.modalities import image, report, tabular
from medcodi.modalities.base import REGISTRY, Modality, get_kind, register
from medcodi.modalities.family import ModelFamily

__all__ = [
    "REGISTRY",
    "Modality",
    "ModelFamily",
    "get_kind",
    "image",
    "register",
    "report",
    "tabular",
]
