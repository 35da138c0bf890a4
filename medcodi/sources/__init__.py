"""Sources: one file per kind of raw data. A source turns raw files into a prepared folder:
`prepare(source_dir, mapping, out_dir, ...) -> counts`."""

import importlib
from collections.abc import Callable
from typing import Any

from medcodi.config_io import unknown_key

SOURCES = {
    "folder": "medcodi.sources.folder:prepare_folder",
    "dicom": "medcodi.sources.archive.prepare:prepare_dicom",
    "mimic_cxr": "medcodi.sources.mimic_cxr.prepare:prepare_mimic_cxr",
    "nih_cxr14": "medcodi.sources.nih_cxr14:prepare_nih_cxr14",
    "openi": "medcodi.sources.openi:prepare_openi",
    "table": "medcodi.sources.tables:prepare_table",
    "stony_brook": "medcodi.sources.stony_brook:prepare_stony_brook",
}


def get_source(name: str) -> Callable[..., dict[str, Any]]:
    """The prepare function of a source, imported when asked for. Raises ValueError naming the valid
    sources."""
    if name not in SOURCES:
        raise unknown_key(name, SOURCES, "data.source")
    module, _, function = SOURCES[name].partition(":")
    return getattr(importlib.import_module(module), function)
