"""Vocabularies: YAML files of observations, phrases and scope rules; shipped ones by name, a user's
own by path.

A vocabulary may `extends` another (a shipped name, or a path relative to its own file): lists are
appended to the other's lists, mappings merged, single values replaced. The keys, all optional but
`observations`:

    extends: chexpert
    sets: {NAME: [words]}           sets of words, `<NAME>` in phrases (language: `phrases.py`)
    gap_stops: [words]              words that a gap `...` never steps over
    rewrites: {variant: words}      spellings and abbreviations -> the words that phrases use
    sections: {skip: [headings], keep: [headings]}      beside those that `data/headings.py` knows
    observations:                   the columns, in this order
      NAME: {mentions: [phrases], absent: [phrases], uncertain: [phrases], exclude: [phrases],
             covered_by: [names]}
    scope:
      stops: {GROUP: [phrases]}
      cues: {NAME: {stage: STAGE, side: before|after|both|within, stops: [groups], max_words: N,
                    subject: true|false, phrases: [...]}}
      pseudo: [phrases]             look like cues and are none
    no_finding: {observation: NAME, ignore: [names], needs: [phrases], limits: [phrases]}
    implications: [{mentions: [phrases], observation: NAME}]   affirmed or hedged, they hedge it

`mentions` speak of the observation, whatever their status; `absent` say themselves that it is not
there ("heart size is normal"), `uncertain` that it is not certain ("blunting due to scarring"); a
mention that lies within an `exclude` phrase does not count, nor one within a longer mention of an
observation in `covered_by`. STAGE and the fields of a cue: `scope.py`.
"""

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medcodi.config_io import build_dataclass, load_yaml, unknown_key
from medcodi.labeler.phrases import PhraseCompiler
from medcodi.labeler.scope import STAGES, Cue

FOLDER = Path(__file__).parent / "vocabularies"
LONG_WORD = re.compile(r"[a-z]{5,}")
SIDES = {
    "before": ("before",),
    "after": ("after",),
    "both": ("before", "after"),
    "within": ("within",),
}


@dataclass
class Observation:
    """One column: its phrases by what they do."""

    mentions: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    exclude: list[str] = field(default_factory=list)
    uncertain: list[str] = field(default_factory=list)
    covered_by: list[str] = field(default_factory=list)


@dataclass
class CueRule:
    """Cue phrases that act alike; ValueError for a stage or side that does not exist."""

    phrases: list[str]
    stage: str
    side: str = "before"
    stops: list[str] = field(default_factory=list)
    max_words: int = 99
    subject: bool = False

    def __post_init__(self) -> None:
        for name, value, valid in (("stage", self.stage, STAGES), ("side", self.side, SIDES)):
            if value not in valid:
                raise ValueError(f"{name} must be one of {', '.join(valid)}, got {value!r}")

    @property
    def cues(self) -> list[Cue]:
        return [
            Cue(self.stage, side, frozenset(self.stops), self.max_words, self.subject)
            for side in SIDES[self.side]
        ]


@dataclass
class Implication:
    """A phrase that is no mention of `observation`, but makes it uncertain."""

    mentions: list[str]
    observation: str


@dataclass
class Scope:
    stops: dict[str, list[str]] = field(default_factory=dict)
    cues: dict[str, CueRule] = field(default_factory=dict)
    pseudo: list[str] = field(default_factory=list)


@dataclass
class Sections:
    skip: list[str] = field(default_factory=list)
    keep: list[str] = field(default_factory=list)


@dataclass
class NoFinding:
    """The column `observation` is positive when no other one, but those in `ignore`, is positive or
    uncertain. A report that mentions none at all has to use one of the phrases in `needs`, where
    there are any: "Lungs are clear." and not "Limited study."; a sentence with one of the phrases
    in `limits` that says of nothing that it is normal does not count: "Rib detail is limited."."""

    observation: str
    ignore: list[str] = field(default_factory=list)
    needs: list[str] = field(default_factory=list)
    limits: list[str] = field(default_factory=list)


@dataclass
class Vocabulary:
    """What a vocabulary file says, checked. `columns` are the observations with `no_finding` where
    the file lists it."""

    observations: dict[str, Observation]
    sets: dict[str, list[str]] = field(default_factory=dict)
    gap_stops: list[str] = field(default_factory=list)
    rewrites: dict[str, str] = field(default_factory=dict)
    sections: Sections = field(default_factory=Sections)
    scope: Scope = field(default_factory=Scope)
    no_finding: NoFinding | None = None
    implications: list[Implication] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.observations:
            raise ValueError("a vocabulary needs at least one entry in observations")
        for name, observation in self.observations.items():
            self._known(observation.covered_by, f"observations.{name}.covered_by")
        self._known([implication.observation for implication in self.implications], "implications")
        if self.no_finding:
            self._known([self.no_finding.observation, *self.no_finding.ignore], "no_finding")
        for name, rule in self.scope.cues.items():
            for group in rule.stops:
                if group not in self.scope.stops:
                    raise unknown_key(group, self.scope.stops, f"scope.cues.{name}.stops")

    def _known(self, names: list[str], where: str) -> None:
        for name in names:
            if name not in self.observations:
                raise unknown_key(name, self.observations, where)

    @property
    def columns(self) -> list[str]:
        return list(self.observations)

    @property
    def words(self) -> set[str]:
        """The long words of phrases and rewrites."""
        phrases = itertools.chain(
            itertools.chain.from_iterable(o.mentions for o in self.observations.values()),
            itertools.chain.from_iterable(self.sets.values()),
            self.rewrites,
            self.rewrites.values(),
        )
        return {word for phrase in phrases for word in LONG_WORD.findall(str(phrase).lower())}

    @property
    def compiler(self) -> PhraseCompiler:
        return PhraseCompiler(self.sets, self.gap_stops)


def load_vocabulary(name_or_path: str | Path) -> Vocabulary:
    """A shipped vocabulary by name or a user's by path. FileNotFoundError when there is neither,
    ValueError naming the file and the key for anything that does not fit."""
    path = _find(str(name_or_path), Path())
    try:
        return build_dataclass(Vocabulary, _resolve(path, ()), "the vocabulary")
    except ValueError as error:
        raise ValueError(f"vocabulary {path}: {error}") from None


def shipped() -> list[str]:
    """Names of the vocabularies that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml") if path.stem != "rules")


def _find(name: str, beside: Path) -> Path:
    if not name.endswith((".yaml", ".yml")) and (FOLDER / f"{name}.yaml").is_file():
        return FOLDER / f"{name}.yaml"
    if (beside / name).is_file():
        return beside / name
    raise FileNotFoundError(
        f"vocabulary {name!r}: expected one of {', '.join(shipped())} or the path of a YAML file"
    )


def _resolve(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    """The file's mapping, merged into what it extends."""
    if path.resolve() in seen:
        raise ValueError(f"{path} extends itself")
    own = load_yaml(path)
    base = own.pop("extends", None)
    return (
        _merge(_resolve(_find(str(base), path.parent), (*seen, path.resolve())), own)
        if base
        else own
    )


def _merge(base: Any, own: Any) -> Any:
    if isinstance(base, Mapping) and isinstance(own, Mapping):
        return {
            **base,
            **{
                key: _merge(base[key], value) if key in base else value
                for key, value in own.items()
            },
        }
    return [*base, *own] if isinstance(base, list) and isinstance(own, list) else own
