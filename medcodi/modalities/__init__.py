"""Modality kinds, one file each. Importing this package registers every file in it."""

import importlib
import pkgutil

from medcodi.modalities.base import REGISTRY, Modality, ModalityArgs, get_kind, register
from medcodi.modalities.family import ModelFamily

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["REGISTRY", "Modality", "ModalityArgs", "ModelFamily", "get_kind", "register"]
