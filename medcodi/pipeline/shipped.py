"""Pipelines that come with the package: small ones, trained on phantoms alone.

Their folders stand in `medcodi/shipped/`, one a name, as `save_pretrained` writes them.
"""

from pathlib import Path

from medcodi.pipeline.index import INDEX

SHIPPED = Path(__file__).parent.parent / "shipped"


def shipped_names() -> list[str]:
    """Names that `from_pretrained` takes without a network and without training."""
    return sorted(path.parent.name for path in SHIPPED.glob(f"*/{INDEX}"))


def shipped_folder(name: str) -> Path | None:
    """The folder of a shipped pipeline, or None for any other name."""
    return SHIPPED / name if name in shipped_names() else None


def pipelines_here() -> list[str]:
    """Folders of pipelines below the working directory, where runs put them."""
    here = Path()
    found = [*here.glob(f"*/{INDEX}"), *here.glob(f"runs/*/*/{INDEX}")]
    return sorted(path.parent.as_posix() for path in found)


def choices() -> str:
    """What a user may name instead, for messages."""
    shipped, here = shipped_names(), pipelines_here()
    return (
        f"Shipped models: {', '.join(shipped) or 'none'}. "
        f"Pipelines below this folder: {', '.join(here) or 'none'}"
    )
