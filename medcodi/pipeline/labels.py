"""Label prompts, "Edema, no effusion": each label becomes a part of the prompt of a modality that
can say it.

Legend: R prompt rows.
"""

import difflib
from collections.abc import Sequence
from typing import Any

from medcodi.labeler.names import Label, read_labels
from medcodi.modalities.base import Modality
from medcodi.modalities.family import ModelFamily

NEAREST = 3


def label_prompts(labels: Any, family: ModelFamily, names: Sequence[str]) -> dict[str, list[Any]]:
    """A text, or R of them -> R stored values of the modalities that say the labels: a row of a
    table where it has such columns, else a text; None where a row has nothing. {} for None.

    Raises ValueError with the nearest valid names for a label that no modality of `names` can say.
    """
    if labels is None:
        return {}
    texts = [labels] if isinstance(labels, str) else labels
    if not isinstance(texts, (list, tuple)) or not texts:
        raise ValueError(
            f"labels must be a text such as 'Edema, no effusion', or a list of them, got "
            f"{type(labels).__name__}"
        )
    # a column says exactly what a label does, a text may say anything
    able = sorted((family.modality(name) for name in names), key=lambda m: not m.schemas())
    rows = [_said(text, able) for text in texts]
    return {n: [row.get(n) for row in rows] for n in names if any(n in row for row in rows)}


def _said(text: Any, able: Sequence[Modality]) -> dict[str, Any]:
    """modality name -> stored value of one row."""
    left, row = read_labels(text), {}
    for modality in able:
        value, left = modality.from_labels(left)
        if value is not None:
            row[modality.name] = value
    if left:
        raise _unsaid(left[0], [name for modality in able for name in modality.label_names()])
    return row


def _unsaid(label: Label, valid: Sequence[str]) -> ValueError:
    if not valid:
        return ValueError(
            f"label {label.text!r:.80}: this pipeline has no modality that says findings, labels "
            "need columns of findings or reports"
        )
    by_lower = {name.lower(): name for name in reversed(valid)}
    close = difflib.get_close_matches(label.name.lower(), by_lower, NEAREST, 0.5)
    hint = f"; nearest: {', '.join(repr(by_lower[name]) for name in close)}." if close else "."
    return ValueError(
        f"label {label.text!r:.80} is nothing that this pipeline can say{hint} Valid names, also "
        f"after 'no', and after 'possible' where a column has such a value: "
        f"{', '.join(dict.fromkeys(valid))}"
    )
