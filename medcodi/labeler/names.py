"""Findings by name, as in "Edema, no effusion": what each label of such a list says, and which of
several names it means."""

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from medcodi.labeler.labeler import Labeler
from medcodi.labeler.scope import NEGATIVE, POSITIVE, UNCERTAIN
from medcodi.labeler.vocabulary import load_vocabulary, shipped

QUALIFIED = re.compile(r"(no|without|possible)\s+(.+)", re.IGNORECASE | re.DOTALL)
STATUS = {"no": NEGATIVE, "without": NEGATIVE, "possible": UNCERTAIN}
ORGANS = frozenset(["pleural", "lung", "lungs", "pulmonary"])  # "pulmonary edema" is edema
DEFAULT = "chexpert"


@dataclass(frozen=True)
class Label:
    """`text` as it was given, "no effusion"; `name` is the finding, "effusion", `status` POSITIVE,
    NEGATIVE or UNCERTAIN."""

    text: str
    name: str
    status: int


def read_labels(text: Any) -> list[Label]:
    """`X`, `no X`, `without X`, `possible X` between commas. ValueError for an empty label, and for
    a finding that is named twice."""
    if not isinstance(text, str):
        raise ValueError(
            f"labels must be a text such as 'Edema, no effusion', got {type(text).__name__}"
        )
    labels = []
    for part in (" ".join(part.split()) for part in text.split(",")):
        if not part:
            raise ValueError(f"labels {text[:80]!r}: nothing stands between two commas")
        match = QUALIFIED.fullmatch(part)
        name, status = (match[2], STATUS[match[1].lower()]) if match else (part, POSITIVE)
        if plain(name) in {plain(label.name) for label in labels}:
            raise ValueError(f"labels {text[:80]!r}: {name!r} is named twice")
        labels.append(Label(part, name, status))
    return labels


def plain(name: str) -> str:
    """Lower-case words: `Pleural_Effusion` -> `pleural effusion`."""
    return " ".join(re.findall(r"[a-z0-9]+", name.lower()))


@functools.cache
def shipped_labeler(vocabulary: str) -> Labeler:
    return Labeler.from_vocabulary(vocabulary)


class FindingNames:
    """Names of findings, such as columns of a table. A label means one of them by its own words, or
    by those of the shipped vocabulary that knows most of the names."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = {plain(name): name for name in names}
        self.labeler = shipped_labeler(_vocabulary_of(frozenset(self.names)))
        self.meant: dict[str, list[str]] = {}  # observation -> names that mean it
        for name in self.names.values():
            self.meant.setdefault(_observation(self.labeler, name) or "", []).append(name)

    def find(self, label: Label) -> tuple[str, int] | None:
        """(name, status); None where no name, or more than one, is meant, and for a label that says
        more than a finding ("large left effusion")."""
        if plain(label.text) in self.names:  # "No Finding" denies nothing
            return self.names[plain(label.text)], POSITIVE
        if plain(label.name) in self.names:
            return self.names[plain(label.name)], label.status
        observation = _observation(self.labeler, label.name)
        names = self.meant.get(observation, []) if observation else []
        return (names[0], label.status) if len(names) == 1 else None


@functools.cache
def _vocabulary_of(names: frozenset[str]) -> str:
    known = {v: {*map(plain, load_vocabulary(v).observations)} for v in shipped()}
    return max(known, key=lambda v: (len(known[v] & names), v == DEFAULT))


def _observation(labeler: Labeler, name: str) -> str | None:
    """The one observation that a name stands for, without further words."""
    for observation in labeler.columns:
        if plain(observation) == plain(name):
            return observation
    words = len(_telling(name))
    found = {
        mention.observation
        for mention in labeler.mentions(f"{name}.")
        if mention.status == POSITIVE and words <= len(_telling(mention.phrase))
    }
    return found.pop() if len(found) == 1 else None


def _telling(text: str) -> list[str]:
    return [word for word in plain(text).split() if word not in ORGANS]


def is_said(label: Label) -> bool:
    """Whether a shipped vocabulary reads a finding in the words of a label."""
    return any(shipped_labeler(v).mentions(f"{label.text}.") for v in shipped())


def said_names() -> list[str]:
    """Observations of the shipped vocabularies that are read in their own names."""
    names = dict.fromkeys(n for v in (DEFAULT, *shipped()) for n in load_vocabulary(v).observations)
    return [name for name in names if is_said(Label(name, name, POSITIVE))]
