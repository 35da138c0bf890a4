"""`medcodi label`: a csv of reports in, a csv of labels out. Every row of the input is a row of the
output, in its order."""

import csv
import logging
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from medcodi.files import written
from medcodi.labeler.labeler import Labeler
from medcodi.labeler.scope import NEGATIVE, POSITIVE, UNCERTAIN

logger = logging.getLogger(__name__)

COLUMNS = ("id", "text")
SHOWN = 5
LISTED = 20  # bad rows that an error names one by one


def label_file(reports: str | Path, output: str | Path, vocabulary: str | Path) -> dict[str, Any]:
    """Label the csv `reports` (UTF-8, columns `id` and `text`; others are ignored) and write
    `output`: `id` and one column an observation with 1, 0, -1 or empty. A row whose text has no
    content has only its id. Ids are copied as they stand; repeated and blank ones are kept and
    named in a warning.

    Returns counts: `reports`, `without_text`, `repeated_ids`, `blank_ids` and, for each
    observation, its three counts. Raises FileNotFoundError for a missing file, ValueError for one
    that is no UTF-8 csv with both columns, OSError where `output` cannot be written.
    """
    reports, output = Path(reports), Path(output)
    labeler = Labeler.from_vocabulary(vocabulary)
    rows = read_reports(reports)
    if output.is_dir():
        raise IsADirectoryError(f"output {output} is a folder; name a csv file")
    if output.exists() and output.samefile(reports):
        raise ValueError(f"output {output} is the input file; name another one")
    labels = labeler.label(rows["text"].tolist())
    absent = labels.isna().all(axis=1).to_numpy()
    absent[absent] = [not labeler.has_content(text) for text in rows["text"][absent]]
    labels.insert(0, "id", rows["id"].to_numpy())
    write_labels(labels, output)
    counts = {"reports": len(rows), "without_text": int(absent.sum()), **_id_counts(rows["id"])}
    if counts["without_text"]:
        logger.warning(
            "%d of %d reports have no text, or none with content: their cells are empty",
            counts["without_text"],
            len(rows),
        )
    names = {"positive": POSITIVE, "negative": NEGATIVE, "uncertain": UNCERTAIN}
    counts["observations"] = {
        c: {key: int((labels[c] == v).sum()) for key, v in names.items()} for c in labeler.columns
    }
    return counts


def read_reports(path: Path) -> pd.DataFrame:
    """Columns `id` and `text` as strings, as they stand in the file ("" for an empty cell). Cells
    may be of any length. ValueError lists every row that does not fit its header."""
    if not path.is_file():
        raise FileNotFoundError(f"reports file {path} does not exist")
    lines = _lines(path)
    header = lines[0][1] if lines else []
    if missing := [name for name in COLUMNS if header.count(name) != 1]:
        raise ValueError(
            f"{path} needs the columns id and text once each; not so: {', '.join(missing)}; it has "
            f"{header}"
        )
    bad = [(number, len(line)) for number, line in lines[1:] if len(line) != len(header)]
    if bad:
        shown = "; ".join(f"row {number}: {cells}" for number, cells in bad[:LISTED])
        more = f"; and {len(bad) - LISTED} more" if len(bad) > LISTED else ""
        raise ValueError(
            f"{path}, row {bad[0][0]}: expected {len(header)} cells, got {bad[0][1]}; quote texts "
            f"with commas. Rows that do not fit, with their cells: {shown}{more}"
        )
    return pd.DataFrame([line for _, line in lines[1:]], columns=header, dtype=str)[list(COLUMNS)]


def _lines(path: Path) -> list[tuple[int, list[str]]]:
    """(row number from 1, cells) of the rows that are not blank."""
    limit = csv.field_size_limit(sys.maxsize)
    number = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = []
            for number, line in enumerate(csv.reader(file, strict=True), start=1):
                if line:
                    lines.append((number, line))
            return lines
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not UTF-8 text ({error.reason} at byte {error.start}); convert it first"
        ) from None
    except csv.Error as error:
        raise ValueError(f"{path} cannot be read as csv, row {number + 1}: {error}") from None
    finally:
        csv.field_size_limit(limit)


def write_labels(labels: pd.DataFrame, path: Path) -> None:
    """Whole numbers, absent ones empty. The file is whole or not there."""
    values = labels.drop(columns="id").astype("Int64")
    with written(path) as temporary:
        pd.concat([labels[["id"]], values], axis=1).to_csv(temporary, index=False)


def _id_counts(ids: pd.Series) -> dict[str, int]:
    blank = ids.str.strip() == ""
    repeated = ids[ids.duplicated() & ~blank]
    if len(repeated):
        first = ", ".join(repeated.unique()[:SHOWN])
        logger.warning(
            "%d rows repeat an id (%s): each row is labelled on its own", len(repeated), first
        )
    if blank.any():
        logger.warning(
            "%d rows have no id; they stand at their place in the output", int(blank.sum())
        )
    return {"repeated_ids": len(repeated), "blank_ids": int(blank.sum())}
