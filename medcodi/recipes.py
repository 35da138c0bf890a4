"""The recipes that come with the package, by name: `medcodi/configs`, which is `configs/` of the
repository."""

import importlib.resources
from pathlib import Path

DEFAULT = "phantom"  # of `medcodi train`, `evaluate`, `bench` without --config
QUICKSTART = "phantom"  # recipe and shipped pipeline


def shipped() -> dict[str, Path]:
    """name -> YAML file."""
    folder = Path(str(importlib.resources.files("medcodi") / "configs"))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find_recipe(name: str | Path) -> Path:
    """The file of a recipe: a path that exists, else the name of a shipped recipe.

    Raises FileNotFoundError with the names that there are.
    """
    path, recipes = Path(name), shipped()
    if path.is_file():
        return path
    if str(name) in recipes:
        return recipes[str(name)]
    raise FileNotFoundError(
        f"{name} is no file and no shipped recipe; recipes: {', '.join(recipes)}"
    )


def about(path: Path) -> str:
    """The first sentence of the comment at the head of a recipe."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# ").strip())
    return " ".join(lines).partition(". ")[0].removesuffix(".")
