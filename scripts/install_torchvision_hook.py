"""Install a start-up hook into the running virtual environment that mends torchvision beside a CPU
torch.

Some torchvision wheels carry a compiled library that wants CUDA. Beside a CPU torch `import
torchvision` then fails with "operator torchvision::nms does not exist", and with it open_clip,
timm, diffusers models and `accelerate launch`. The hook waits for the first import of torchvision,
tries to load the compiled library and, only if that fails, declares the two operator schemas that
torchvision registers fake kernels for. With a matching torch it does nothing.

Usage: .venv/bin/python scripts/install_torchvision_hook.py
"""

import sysconfig
from pathlib import Path

HOOK = '''"""Mends torchvision beside a CPU torch.

Written by scripts/install_torchvision_hook.py."""
import importlib.machinery
import sys


class _TorchvisionFinder:
    """Runs once, right before torchvision is first imported."""

    def find_spec(self, name, path=None, target=None):
        if name != "torchvision":
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec("torchvision")
        if spec is not None and spec.submodule_search_locations:
            _declare_operators_if_missing(spec.submodule_search_locations[0])
        return None


def _declare_operators_if_missing(folder):
    import glob
    import os

    import torch

    for library in glob.glob(os.path.join(folder, "_C*.so")):
        try:
            torch.ops.load_library(library)
            return
        except OSError:
            pass
    schema_library = torch.library.Library("torchvision", "FRAGMENT")
    for operator in ("nms", "qnms"):
        arguments = "(Tensor dets, Tensor scores, float iou_threshold)"
        schema_library.define(f"{operator}{arguments} -> Tensor")
    torch._medcodi_torchvision_schemas = schema_library  # keep referenced


sys.meta_path.insert(0, _TorchvisionFinder())
'''


def main() -> None:
    site = Path(sysconfig.get_paths()["purelib"])
    (site / "medcodi_torchvision_hook.py").write_text(HOOK)
    (site / "medcodi_torchvision_hook.pth").write_text("import medcodi_torchvision_hook\n")
    print(f"torchvision hook installed in {site}")


if __name__ == "__main__":
    main()
