"""Do outputs follow their prompts, and do outputs that are generated together agree? With the truth
of the phantom."""

from typing import Any

from medcodi.config_io import unknown_key
from medcodi.evaluation.context import EvaluationContext
from medcodi.evaluation.follow import (
    ORDER,
    ROUTES,
    SETTINGS,
    pair_figures,
    parse_route,
    route_figures,
)
from medcodi.evaluation.table import EvaluationTable, Result, Row, register_table
from medcodi.metrics.statistics import Estimate

FIGURE, IN_ORDER = "figure", "one after the other"
FLOORS = {"shuffled": "shuffled", "constant": "constant", "nearest_neighbour": "nearest study"}
BODY = "Phantom: a test body, not clinical data."


def estimate(figure: dict[str, Any], n: int) -> Estimate:
    """{value, interval} -> Estimate."""
    return Estimate(figure["value"], *figure["interval"], n)


@register_table
class Follow(EvaluationTable):
    """Every route of the phantom, beside shuffled prompts, a constant, retrieval and real ones."""

    id, title = "follow", "Outputs that follow their prompts"
    needs = ("pipeline", "truth", "F", "L", "T", "table")

    def defaults(self, context: EvaluationContext) -> dict[str, Any]:
        return {"routes": list(ROUTES)}

    def run(self, context: EvaluationContext) -> Result:
        rows, studies = [], []
        for route in self.options(context)["routes"]:
            prompts, output = parse_route(route)
            studies = context.studies.held_out(("F", "L", "T", "table"))
            made = context.generations.samples(prompts, (output,), studies=studies)[output]
            rows += [
                Row(route, "ours", _follow_cells(figure), figure["n"])
                for figure in route_figures(context, prompts, output, studies, made)
            ]
        notes = [
            f"{BODY} Images are read by a small network that was fitted on real training images, "
            "reports by the grammar's own reader, rows by their columns; each is compared with the "
            "truth of the study that the prompt came from. More is better in every row.",
            "Shuffled: the outputs permuted among the prompts. Constant: the best output that "
            "ignores its prompt. Nearest study: the output of the training study with the nearest "
            "prompt. Real: the real outputs, read alike (the ceiling).",
        ]
        columns = [FIGURE, "generated", *FLOORS.values(), "real", "positives"]
        figures = {f"{row.system}.{row.cells[FIGURE]}": row.value("generated") for row in rows}
        return Result(self.title, columns, rows, len(studies), [context.seed], notes, figures)


def _follow_cells(figure: dict[str, Any]) -> dict[str, Any]:
    cells = {
        FIGURE: figure["metric"],
        "generated": estimate(figure, figure["n"]),
        **{name: figure["floors"][key] for key, name in FLOORS.items()},
        "real": figure["ceiling"],
    }
    return cells if figure["positives"] is None else cells | {"positives": figure["positives"]}


@register_table
class Joint(EvaluationTable):
    """Agreement of outputs of one call against that of calls of their own, same seeds."""

    id, title = "joint", "Outputs that are generated together"
    needs = ("pipeline", "truth", "F", "L", "T", "table")

    def defaults(self, context: EvaluationContext) -> dict[str, Any]:
        return {"settings": list(SETTINGS)}

    def run(self, context: EvaluationContext) -> Result:
        rows, studies = [], context.studies.held_out(("F", "L", "T", "table"))
        for setting in self.options(context)["settings"]:
            if setting not in SETTINGS:
                raise unknown_key(setting, SETTINGS, "evaluation.tables.joint.settings")
            prompts, pairs = SETTINGS[setting]
            outputs = tuple(dict.fromkeys(letter for pair in pairs for letter in pair))
            joint, apart = (
                context.generations.samples(prompts, outputs, joint=joint, studies=studies)
                for joint in (True, False)
            )
            order = [letter for letter in ORDER if letter in outputs]
            in_order = context.generations.samples(prompts, outputs, studies=studies, order=order)
            for pair in pairs:
                found = pair_figures(context, setting, pair, studies, joint, apart, in_order)
                rows += [
                    Row(setting, "ours", _joint_cells(figure), figure["n"]) for figure in found
                ]
        notes = [
            f"{BODY} Both members of a pair are read and their agreement is corrected for chance "
            "(Cohen's kappa: 0 is chance). Joint and independent generation start from the same "
            "seeds and prompts; the difference is paired by sample. One after the other: in the "
            f"order {', '.join(ORDER)}, each output prompted by those before it.",
        ]
        measured = ("joint", "independent", "difference", IN_ORDER)
        columns = ["pair", FIGURE, *measured, "shuffled", "real"]
        figures = {
            f"{row.system}.{row.cells['pair']}.{row.cells[FIGURE]}.{column}": row.value(column)
            for row in rows
            for column in measured
        }
        return Result(self.title, columns, rows, len(studies), [context.seed], notes, figures)


def _joint_cells(figure: dict[str, Any]) -> dict[str, Any]:
    measured = {
        name: estimate(figure[name], figure["n"]) for name in ("joint", "independent", "difference")
    }
    measured[IN_ORDER] = estimate(figure["in_order"], figure["n"])
    beside = {"shuffled": figure["floors"]["shuffled"], "real": figure["ceiling"]}
    return {"pair": figure["pair"], FIGURE: figure["metric"], **measured, **beside}
