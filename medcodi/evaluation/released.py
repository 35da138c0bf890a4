"""What the privacy table compares: the released sets (generated, held-out patients in their place,
and generated with planted copies), training and control, and the distances between them."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from medcodi.data.table import TableSchema
from medcodi.evaluation.context import EvaluationContext
from medcodi.evaluation.records import generated_records, real_test
from medcodi.evaluation.routes import patients
from medcodi.metrics import privacy
from medcodi.metrics.networks.verifier import patient_pairs
from medcodi.metrics.retrieval import image_distances, text_distances

JOINT = "record"
GENERATED, STRANGERS, EXACT, CHANGED = (
    "generated",
    "held-out patients",
    "planted, exact",
    "planted, perturbed",
)
Values = dict[str, Any]  # letter -> images (N, H, W), texts or rows


@dataclasses.dataclass
class Sets:
    """Values of the released sets by name, of training and of the control half of the holdout, and
    the patients of these two; `planted` rows (P,)."""

    released: dict[str, Values]
    train: Values
    control: Values
    train_patients: list[str]
    control_patients: list[str]
    planted: np.ndarray


def released_sets(
    context: EvaluationContext,
    options: dict[str, Any],
    letters: Sequence[str],
    schema: TableSchema | None,
) -> tuple[Sets, np.ndarray]:
    """The sets that are compared, and pairs (P, 2) of training rows of one patient."""
    training = context.studies.training(letters, options["num_training"])
    held_out = real_test(context, letters, options["num_test"])
    train_ids = {study.patient_id for study in training}
    held_out = [study for study in held_out if study.patient_id not in train_ids]
    if len(held_out) < 2 or not training:
        raise ValueError(
            f"a holdout of other patients needs studies; got {len(held_out)} and {len(training)} "
            "for training"
        )
    generated = generated_records(context, options["num_records"])
    half = len(held_out) // 2
    of = lambda studies: {
        letter: _column(context.studies.values(studies, letter)) for letter in letters
    }
    train, strangers, control = of(training), of(held_out[:half]), of(held_out[half:])
    released = {GENERATED: {letter: _column(generated[letter]) for letter in letters}}
    released[STRANGERS] = {
        letter: values[: options["num_records"]] for letter, values in strangers.items()
    }
    planted, sources = privacy.plant(
        options["num_records"], len(training), options["planted"], context.seed
    )
    for name, perturb in ((EXACT, None), (CHANGED, _perturb)):
        copies = {letter: _column([values[i] for i in sources]) for letter, values in train.items()}
        copies = perturb(copies, schema, context.seed) if perturb else copies
        released[name] = {
            letter: _replaced(released[GENERATED][letter], planted, copies[letter])
            for letter in letters
        }
    owners = patients(training)
    return Sets(
        released, train, control, owners, patients(held_out[half:]), planted
    ), patient_pairs(owners, context.seed)


def _column(values: Sequence[Any]) -> Any:
    return np.stack(values) if isinstance(values[0], np.ndarray) else list(values)


def _replaced(values: Any, rows: np.ndarray, by: Any) -> Any:
    changed = list(values)
    for row, value in zip(rows, by, strict=True):
        changed[row] = value
    return _column(changed)


def _perturb(copies: Values, schema: TableSchema | None, seed: int) -> Values:
    changed = {"F": privacy.perturbed_images(copies["F"], seed=seed)}
    if "T" in copies:
        changed["T"] = privacy.perturbed_texts(copies["T"], seed)
    return changed | (
        {"table": privacy.perturbed_rows(copies["table"], schema, seed)}
        if "table" in copies
        else {}
    )


Distances = tuple[
    np.ndarray, np.ndarray, np.ndarray
]  # released to training, to control; control to training


def spaces_of(
    sets: Sets, letters: Sequence[str], schema: TableSchema | None
) -> dict[str, dict[str, Distances]]:
    """Released set -> space -> distances. The joint record adds the modalities, each over its
    median stranger's."""
    measures: dict[str, Callable] = {
        "F": image_distances,
        "T": text_distances,
        "table": lambda a, b: privacy.row_distances(a, b, schema),
    }
    size = len(sets.train["F"])
    # One call a set, so that texts are weighed by the same words whether they are compared with
    # training or control.
    real = {letter: _column([*sets.train[letter], *sets.control[letter]]) for letter in letters}
    control = {
        letter: measures[letter](sets.control[letter], real[letter])[:, :size] for letter in letters
    }
    scales = [float(np.median(control[letter])) for letter in letters]
    spaces: dict[str, dict[str, Distances]] = {}
    for name, values in sets.released.items():
        whole = {letter: measures[letter](values[letter], real[letter]) for letter in letters}
        spaces[name] = {
            letter: (d[:, :size], d[:, size:], control[letter]) for letter, d in whole.items()
        }
        if len(letters) > 1:
            parts = [[d[i] for d in spaces[name].values()] for i in range(3)]
            spaces[name][JOINT] = tuple(
                privacy.joint_distances(*part, scales=scales) for part in parts
            )
    return spaces
