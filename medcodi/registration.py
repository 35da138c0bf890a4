"""`DiffusionPipeline.from_pretrained(FOLDER)` of diffusers gives a MedCoDiPipeline.

diffusers looks the class of a folder up among its own attributes. `import medcodi` puts ours there,
whichever of the two packages is imported first, without importing torch or diffusers itself: the
class is loaded when it is asked for.
"""

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

LIBRARY, NAME, WHERE = "diffusers", "MedCoDiPipeline", "medcodi.pipeline"


def register() -> None:
    """Register now, or as soon as diffusers is imported."""
    if LIBRARY in sys.modules:
        offer(sys.modules[LIBRARY])
    else:
        sys.meta_path.insert(0, AfterImport())


def offer(module: ModuleType) -> None:
    """Give a module the attribute NAME, loaded at its first use."""
    kind = type(module)
    fallback = getattr(kind, "__getattr__", None)

    class WithMedCoDi(kind):
        def __getattr__(self, name: str) -> Any:
            if name == NAME:
                return getattr(importlib.import_module(WHERE), NAME)
            if fallback is None:
                raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")
            return fallback(module, name)

    module.__class__ = WithMedCoDi


class AfterImport:
    """A finder that finds nothing itself: it lets the next one find diffusers, and offers our class
    to the module when it has been executed."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != LIBRARY:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def execute_and_offer(module: ModuleType) -> None:
            execute(module)
            offer(sys.modules[name])  # diffusers puts another module in its own place

        spec.loader.exec_module = execute_and_offer  # type: ignore[method-assign]
        return spec
