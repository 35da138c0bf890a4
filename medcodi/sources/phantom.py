"""The chest phantom as a source: a prepared dataset whose truth is known. It is a test body, not
clinical data."""

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from medcodi.config import DataConfig
from medcodi.data.storage import FieldSpec
from medcodi.data.study import Study
from medcodi.data.writer import PreparedWriter
from medcodi.phantom import SCHEMA, generate

logger = logging.getLogger(__name__)

STORAGE = {
    "frontal": "image",
    "lateral": "image",
    "report": "text",
    "tabular": "table",
}  # parts of the phantom


def prepare_phantom(
    out_dir: str | Path,
    num_studies: int = 4000,
    size: int = 64,
    seed: int = 0,
    num_processes: int = 2,
    names: Mapping[str, str] | None = None,
    overwrite: bool = False,
    visits: int = 1,
    exposure: float = 1.0,
    keep: Callable[[Study], bool] | None = None,
) -> dict[str, Any]:
    """Write `num_studies` phantom studies of `size` x `size` pixels to `out_dir`; `names` renames
    its parts. Every patient has `visits` studies: the body stays, position and findings change.
    Images are raised to the power of `exposure`, see `make_study`. Of the studies only those are
    written that `keep` takes, all without it.

    Returns the counts of prepared.json.
    """
    fields = [
        FieldSpec((names or {}).get(part, part), storage) for part, storage in STORAGE.items()
    ]
    writer = PreparedWriter(
        out_dir, fields, SCHEMA, overwrite=overwrite, find_duplicates=False
    )  # patients are drawn, each once
    count = 0
    with writer:
        about = {"source": "phantom", "seed": seed, "size": size, "clinical": False}
        own = {"visits": visits} if visits > 1 else {}
        own |= {"exposure": exposure} if exposure != 1 else {}
        writer.notes = about | own
        for study in generate(num_studies, seed, size, num_processes, names, visits, exposure):
            if keep is None or keep(study):
                writer.add(study)
                count += 1
    return {"studies": count, "rejects": writer.num_rejects}


def render_missing(data: DataConfig, **changed: Any) -> None:
    """Render the phantom of a recipe (`data.phantom`, with `changed` arguments) where its prepared
    folder is not there yet; recipes of other data are left alone.

    One of several processes raises FileNotFoundError with the command that renders it.
    """
    folder = Path(data.prepared)
    if data.phantom is None or folder.exists():
        return
    arguments = data.phantom | changed
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        options = (f"--{key.replace('_', '-')} {value}" for key, value in arguments.items())
        raise FileNotFoundError(
            f"prepared folder {folder} does not exist: write it with `medcodi prepare phantom "
            f"--output {folder} {' '.join(options)}`"
        )
    logger.info("rendering %s phantoms to %s", arguments.get("num_studies", ""), folder)
    prepare_phantom(folder, **arguments)
