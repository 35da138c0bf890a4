"""What a prepared folder holds, for the terminal and as one HTML page with sample images.

Legend: N studies of a split.
"""

import csv
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from medcodi.data.prepared import SUSPECTS, PreparedDataset
from medcodi.data.storage import Storage
from medcodi.data.study import SPLITS, Study
from medcodi.files import jsonable, write_text
from medcodi.report.html import png_url, render

SHOWN_SIDE = 192  # pixels of a sample image on the page
VIEW = "view "  # counts of a source that say where the views came from, or that there is none

Rows = list[list[str]]  # the first one is the head


def describe(folder: str | Path) -> dict[str, Rows]:
    """title -> rows of text: studies by combination of modalities, missing values, lengths of
    texts, and what the source noted (counts, spacings). Raises FileNotFoundError and ValueError as
    `PreparedDataset.load`."""
    splits = {split: PreparedDataset.load(folder, split) for split in SPLITS}
    index = splits[SPLITS[0]].index
    tables = {
        "studies by what is present": _combinations(index),
        "missing": _missing(index),
    }
    for spec in splits[SPLITS[0]].fields:
        if spec.storage == Storage.TABLE:
            tables[f"missing in {spec.name}"] = _missing_cells(splits, spec.name)
        if spec.storage == Storage.TEXT:
            tables[f"words of {spec.name}"] = _lengths(splits, spec.name)
    for name, figures in index.get("greys", {}).items():
        if figures["images"]:
            tables[f"greys of {name}"] = _greys(figures)
    return {**tables, **_notes(index["notes"])}


def _greys(figures: dict[str, Any]) -> Rows:
    """Quantiles of the figures of the images of a field, and how many are suspects."""
    quantiles = figures["quantiles"]
    head = list(next(iter(quantiles.values())))
    title = f"{figures['images']} images, {figures['suspects']} suspects"
    rows = [[name, *(f"{values[key]:.3g}" for key in head)] for name, values in quantiles.items()]
    return [[title, *head], *rows]


def _notes(notes: dict[str, Any]) -> dict[str, Rows]:
    """What the source noted; where the views came from stands apart from its other counts."""
    tables = {}
    for title, values in notes.items():
        if not isinstance(values, dict):
            continue
        views = {name: number for name, number in values.items() if name.startswith(VIEW)}
        for head, part in (
            (title.replace("_", " "), values.keys() - views.keys()),
            ("views", views.keys()),
        ):
            if part:
                what = "count" if all(isinstance(values[name], int) for name in part) else "value"
                tables[head] = [
                    [head, what],
                    *([name, str(values[name])] for name in values if name in part),
                ]
    return tables


def _combinations(index: dict[str, Any]) -> Rows:
    names = sorted({name for split in SPLITS for name in index["splits"][split]["combinations"]})
    counted = [
        [index["splits"][split]["combinations"].get(name, 0) for split in SPLITS] for name in names
    ]
    rows = sorted(zip(names, counted, strict=True), key=lambda row: -sum(row[1]))
    totals = [index["splits"][split]["studies"] for split in SPLITS]
    return [
        ["present", *SPLITS],
        *([name, *map(str, counts)] for name, counts in rows),
        ["all", *map(str, totals)],
    ]


def _missing(index: dict[str, Any]) -> Rows:
    def cell(split: str, name: str) -> str:
        studies, present = (
            index["splits"][split]["studies"],
            index["splits"][split]["present"][name],
        )
        return f"{studies - present} ({(studies - present) / studies:.0%})" if studies else "-"

    names = [spec["name"] for spec in index["fields"]]
    return [
        ["absent", *SPLITS],
        *([name, *(cell(split, name) for split in SPLITS)] for name in names),
    ]


def _missing_cells(splits: dict[str, PreparedDataset], name: str) -> Rows:
    """Cells without a value, of the studies that have the table."""
    rows = [["column", *splits]]
    for column in splits[SPLITS[0]].schemas[name].columns:
        cells = []
        for split in splits.values():
            table = split.column(name)
            present = len(table) - table.null_count
            missing = pc.struct_field(table.drop_null(), column.name).null_count
            cells.append(f"{missing} ({missing / present:.0%})" if present else "-")
        rows.append([column.name, *cells])
    return rows


def _lengths(splits: dict[str, PreparedDataset], name: str) -> Rows:
    rows = [["split", "texts", "shortest", "median", "95 %", "longest", "different"]]
    for split, dataset in splits.items():
        texts = dataset.column(name).drop_null()
        if not len(texts):
            rows.append([split, "0", *["-"] * 5])
            continue
        words = np.array([len(text.as_py().split()) for text in texts])
        figures = [words.min(), np.median(words), np.percentile(words, 95), words.max()]
        rows.append(
            [
                split,
                str(len(words)),
                *(f"{figure:g}" for figure in figures),
                str(pc.count_distinct(texts)),
            ]
        )
    return rows


def write_page(
    folder: str | Path, path: str | Path, num_samples: int = 8, num_suspects: int = 48
) -> Path:
    """One HTML file with the tables of `describe`, the mean histogram of the greys, a contact sheet
    of the first `num_suspects` suspects, and the first `num_samples` studies of the training split
    (of the next one, where it has none)."""
    splits = {split: PreparedDataset.load(folder, split) for split in SPLITS}
    split = next((name for name, dataset in splits.items() if len(dataset)), SPLITS[0])
    sample = splits[split]
    studies = [_study(study) for study in sample.batch(range(min(num_samples, len(sample))))]
    page = render(
        "prepared.html",
        title=str(folder),
        tables=describe(folder),
        histograms=_histograms(sample.index.get("greys", {})),
        suspects=_suspects(Path(folder), splits, num_suspects),
        split=split,
        studies=studies,
    )
    write_text(path, page)
    return Path(path)


def _histograms(greys: dict[str, Any]) -> dict[str, list[dict[str, float]]]:
    """name -> bars of the mean histogram: place, height (1: the highest) and share in percent."""
    found = {}
    for name, figures in greys.items():
        if figures["images"]:
            shares = figures["histogram"]
            top = max(shares) or 1.0
            found[name] = [
                {"x": place, "height": share / top, "percent": share / 10}
                for place, share in enumerate(shares)
            ]
    return found


def _suspects(
    folder: Path, splits: dict[str, PreparedDataset], number: int
) -> list[dict[str, str]]:
    """The first suspects of suspects.csv with their pictures and reasons."""
    path = folder / SUSPECTS
    if not path.is_file():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(itertools.islice(csv.DictReader(file), number))
    wanted = {row["study_id"] for row in rows}
    places = {
        study: (dataset, at)
        for dataset in splits.values()
        for at, study in enumerate(dataset.study_ids)
        if study in wanted
    }
    found = []
    for row in rows:
        dataset, at = places[row["study_id"]]
        url = png_url(dataset[at].values[row["name"]], SHOWN_SIDE)
        told = f"{row['study_id']} {row['name']}: {row['reasons']}"
        found.append({"url": url, "told": told})
    return found


def _study(study: Study) -> dict[str, Any]:
    pictures, texts = {}, {}
    for name, value in study.values.items():
        if isinstance(value, np.ndarray) and value.ndim == 2:
            pictures[name] = png_url(value, SHOWN_SIDE)
        else:
            texts[name] = value if isinstance(value, str) else json.dumps(jsonable(value), indent=1)
    return {"id": study.study_id, "pictures": pictures, "texts": texts}
