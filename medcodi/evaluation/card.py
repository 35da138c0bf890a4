"""The suite's figures in the model card of the pipeline that they are of."""

import dataclasses
from pathlib import Path
from typing import Any

from medcodi.pipeline.facts import Facts, Figure
from medcodi.pipeline.index import read_index
from medcodi.pipeline.storage import change_facts


def card_figures(document: dict[str, Any]) -> list[Figure]:
    """Every value with an interval in the rows of generated outputs of a suite's document, but for
    tables of another model, data set or settings."""
    found = []
    for table in document["tables"].values():
        if table["status"] != "done" or table.get("stale"):
            continue
        for row in table["result"]["rows"]:
            cells = row["cells"] if row["kind"] == "ours" else {}
            texts = [cell for cell in cells.values() if isinstance(cell, str)]
            for column, cell in cells.items():
                if not isinstance(cell, dict) or cell["value"] is None:
                    continue
                name = ", ".join([row["system"], *texts, column])
                interval = None if cell["low"] is None else [cell["low"], cell["high"]]
                found.append(Figure(name, cell["value"], row["n"], interval))
    return found


def write_figures(folder: Path, document: dict[str, Any], **facts: Any) -> Facts:
    """Put the figures of a document, and other `facts`, into the model card of the pipeline in
    `folder`. ValueError where the document is of other weights."""
    index = read_index(folder)
    if document["model_hash"] != index.model_hash:
        raise ValueError(
            f"the evaluation is of model {document['model_hash']}, {folder} holds "
            f"{index.model_hash}: evaluate this pipeline"
        )
    changed = dataclasses.replace(index.facts, figures=card_figures(document), **facts)
    change_facts(folder, changed)
    return changed
