"""What a model card says of the privacy of a pipeline: the budget of its private parts together,
and what has none."""

import json
from typing import Any

from medcodi.config_io import build_dataclass
from medcodi.nn.weights import load_config
from medcodi.training.dp.accounting import Budget, spent
from medcodi.training.run import Run
from medcodi.training.starting import STARTED


def statement(run: Run, joint: bool) -> str:
    """Sentences, "" where no stage trained with dp. `joint`: the pipeline has stage 3, which
    trained without."""
    private = {name: _export(run, f"stage2/{name}") for name in run.family.names}
    private = {name: told for name, told in private.items() if told.get("dp")}
    if not private:
        return ""
    budgets = {
        name: build_dataclass(
            Budget, {k: v for k, v in told["dp"].items() if k not in ("steps", "epsilon")}, name
        )
        for name, told in private.items()
    }
    steps = {name: told["dp"]["steps"] for name, told in private.items()}
    parts = [
        f"{name} (epsilon {budgets[name].epsilon(steps[name]):.3g}, delta {b.delta:.3g}, per "
        f"{b.unit}, {b.units} {b.unit}s, noise multiplier {b.noise_multiplier:.3g})"
        for name, b in budgets.items()
    ]
    told = [f"Denoisers that trained with differential privacy: {', '.join(parts)}."]
    if len({(b.unit, b.accountant) for b in budgets.values()}) == 1 and len(budgets) > 1:
        total = spent([(budgets[name], steps[name]) for name in budgets])
        delta = sum(b.delta for b in budgets.values())
        told.append(f"Together: epsilon {total:.3g} at delta {delta:.3g}.")
    suspect = {part.get("data") for part in private.values()} | {None, ""}
    exposed = [x for x in _others(run, private) if _export(run, x).get("data") in suspect]
    exposed += ["stage3"] if joint else []
    starts = {name: _started(run, f"stage2/{name}") for name in private}
    exposed += [
        f"what stage2/{name} started from" for name, data in starts.items() if data & suspect - {""}
    ]
    if exposed:
        told.append(
            f"Trained on the same data without it: {', '.join(exposed)}. The pipeline as a whole "
            "has NO guarantee."
        )
    else:
        told.append("All other networks were trained on other data.")
    unknown = [f"stage2/{name}" for name, data in starts.items() if "" in data]
    if unknown:
        told.append(
            f"{', '.join(unknown)} started from weights whose data are not known: what they hold "
            "of these patients is not covered."
        )
    told.append(
        "Not covered either: the table's schema and the tokenizers where they come from the same "
        "data, figures measured on held-out patients, and the choice among several trainings."
    )
    return " ".join(told)


def _started(run: Run, label: str) -> set[str]:
    """Identities of the data of the weights that a stage started from, "" for one that is not
    known; empty where it started from none."""
    path = run.folder / label / STARTED
    sources = json.loads(path.read_text()) if path.is_file() else {}
    return {source.get("data") or "" for source in sources.values()}


def _others(run: Run, private: dict[str, Any]) -> list[str]:
    """Labels of the stages without dp."""
    denoisers = [f"stage2/{name}" for name in run.family.names if name not in private]
    space = ["stage1"] if run.family.has_prompts else []
    return [*(f"autoencoder/{group}" for group in run.family.groups), *space, *denoisers]


def _export(run: Run, label: str) -> dict[str, Any]:
    """What a stage exported; {} where it has not, as stage 2 of a run that kept stage 3 alone."""
    folder = run.folder / label / "export"
    return load_config(folder) if folder.is_dir() else {}
