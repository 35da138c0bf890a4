"""Runs the tables of a recipe one after the other: tables/ID.json and samples/ID.csv each, then
the page.

A table that is done with the same settings, model, data and version is not run again; one that
raises is recorded with its message and the others still run.
"""

import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medcodi.config_io import unknown_key
from medcodi.evaluation.context import EvaluationContext
from medcodi.evaluation.per_sample import write_samples
from medcodi.evaluation.report import write_report
from medcodi.evaluation.subgroups import chosen_columns, subgroup_rows
from medcodi.evaluation.table import EvaluationTable, Result, choose_tables
from medcodi.files import jsonable, written
from medcodi.identity import fingerprint

logger = logging.getLogger(__name__)

DONE, FAILED, NOT_APPLICABLE = "done", "failed", "not applicable"


def run_suite(
    context: EvaluationContext, ids: Sequence[str] | None = None, again: bool = False
) -> dict[str, Any]:
    """Run tables (all by default) and write report.html, .md and .json; `again` measures also what
    is done.

    Returns the document of report.json: {name, model, data, settings, tables: {ID: {status,
    seconds, result | message}}}. The report shows every table that has been measured for this
    recipe, also those of earlier calls.
    """
    known = choose_tables(None)
    for key in context.settings.tables:
        if key not in known:
            raise unknown_key(key, known, "evaluation.tables")
    folder = context.output / "tables"
    folder.mkdir(parents=True, exist_ok=True)
    for key, cls in choose_tables(ids).items():
        table, path = cls(), folder / f"{key}.json"
        state = table_key(table, context)
        if not again and _is_done(path, state):
            logger.info("%s: done before", key)
            continue
        document = _run_table(table, context) | {
            "id": key,
            "also": list(cls.also),
            "title": cls.title,
            "key": state,
        }
        with written(path) as temporary:
            temporary.write_text(json.dumps(document, indent=1))
        logger.info("%s: %s in %.0f s", key, document["status"], document["seconds"])
    return write_report(context, _collect(folder, context))


def table_key(table: EvaluationTable, context: EvaluationContext) -> str:
    """What a table's result depends on, in one hash."""
    return fingerprint([table.id, table.version, table.options(context), context.fingerprint()])


def _is_done(path: Path, key: str) -> bool:
    if not path.is_file():
        return False
    document = json.loads(path.read_text())
    return document["key"] == key and document["status"] != FAILED


def _run_table(table: EvaluationTable, context: EvaluationContext) -> dict[str, Any]:
    started = time.monotonic()
    try:
        reasons = table.reasons(context)
        if reasons:
            outcome = {"status": NOT_APPLICABLE, "message": "; ".join(reasons)}
        else:
            samples = context.output / "samples" / f"{table.id}.csv"
            samples.unlink(missing_ok=True)
            columns = _subgroup_columns(context)
            result = table.run(context)
            write_samples(samples, result.samples)
            outcome = {
                "status": DONE,
                "result": result.to_json(),
                "subgroups": jsonable(_subgroups(result, columns, context)),
            }
    except Exception as error:
        logger.exception("%s failed", table.id)
        outcome = {"status": FAILED, "message": f"{type(error).__name__}: {error}"}
    return outcome | {"seconds": round(time.monotonic() - started, 1)}


def _subgroup_columns(context: EvaluationContext) -> dict[str, list[float]]:
    table, schemas = context.settings.names.get("table", ""), context.studies.split("test").schemas
    return chosen_columns(context.settings.subgroups, schemas.get(table))


def _subgroups(
    result: Result, columns: dict[str, list[float]], context: EvaluationContext
) -> list[dict[str, Any]]:
    table = context.settings.names.get("table", "")
    return subgroup_rows(
        result.samples, table, columns, context.settings.num_resamples, context.seed
    )


def _collect(folder: Path, context: EvaluationContext) -> dict[str, dict[str, Any]]:
    """Every table that has a result, in order; `stale` marks one of another model, data set or
    settings."""
    collected = {}
    for key, cls in choose_tables(None).items():
        path = folder / f"{key}.json"
        if path.is_file():
            document = json.loads(path.read_text())
            collected[key] = document | {"stale": document["key"] != table_key(cls(), context)}
    return collected
