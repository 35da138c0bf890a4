"""Sentences with known answers: `medcodi label --self-test`. The corpus of a vocabulary is a YAML
file beside the vocabularies; a user's own has the same form:

    vocabulary: chexpert
    kinds:
      KIND:
        TEXT: ANSWER

An answer lists observations, `no NAME` for denied and `maybe NAME` for uncertain ones; those that
it does not name must not be mentioned. The column for "no finding" counts only where it is named.
`nothing`: the report has no label at all.
"""

from dataclasses import dataclass
from pathlib import Path

from medcodi.config_io import build_dataclass, load_yaml, unknown_key
from medcodi.labeler.labeler import Labeler
from medcodi.labeler.scope import NEGATIVE, POSITIVE, UNCERTAIN

FOLDER = Path(__file__).parent / "corpora"
NOTHING = "nothing"
PREFIXES = {"no ": NEGATIVE, "maybe ": UNCERTAIN}


@dataclass
class Corpus:
    """`kinds`: kind -> text -> answer."""

    vocabulary: str
    kinds: dict[str, dict[str, str]]

    def __post_init__(self) -> None:
        if not any(self.kinds.values()):
            raise ValueError("a corpus needs at least one text under kinds")


@dataclass(frozen=True)
class Failure:
    """A text that is read otherwise; `read` and `expected`: observation -> value."""

    kind: str
    text: str
    read: dict[str, int]
    expected: dict[str, int]


def corpora() -> list[str]:
    """Names of the corpora that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_corpus(name_or_path: str | Path) -> Corpus:
    """A shipped corpus by the name of its vocabulary, or a user's by path. FileNotFoundError when
    there is neither, ValueError naming the file for one that does not fit."""
    shipped = FOLDER / f"{name_or_path}.yaml"
    path = shipped if shipped.is_file() else Path(name_or_path)
    if not path.is_file():
        raise FileNotFoundError(
            f"corpus {str(name_or_path)!r}: expected one of {', '.join(corpora())} or the path of "
            "a YAML file"
        )
    try:
        return build_dataclass(Corpus, load_yaml(path), "the corpus")
    except ValueError as error:
        raise ValueError(f"corpus {path}: {error}") from None


def parse_answer(answer: str, columns: list[str]) -> dict[str, int]:
    """observation -> value; empty for `nothing`. ValueError for a name that is no column."""
    found: dict[str, int] = {}
    for part in [] if answer == NOTHING else answer.split(","):
        part = part.strip()
        prefix = next((p for p in PREFIXES if part.startswith(p) and part not in columns), "")
        name = part.removeprefix(prefix)
        if name not in columns:
            raise unknown_key(name, columns, f"the answer {answer!r}")
        found[name] = PREFIXES.get(prefix, POSITIVE)
    return found


def run_corpus(
    corpus: Corpus, labeler: Labeler
) -> tuple[dict[str, tuple[int, int]], list[Failure]]:
    """(kind -> (texts read as expected, texts), what is read otherwise)."""
    counts, failures = {}, []
    for kind, texts in corpus.kinds.items():
        wrong = [
            failure
            for text, answer in texts.items()
            if (failure := check(labeler, kind, text, answer))
        ]
        counts[kind] = (len(texts) - len(wrong), len(texts))
        failures += wrong
    return counts, failures


def check(labeler: Labeler, kind: str, text: str, answer: str) -> Failure | None:
    """None when `labeler` reads `text` as `answer` says."""
    expected, read = parse_answer(answer, labeler.columns), labeler.label_one(text)
    rule = labeler.vocabulary.no_finding
    unnamed = rule.observation if rule and answer != NOTHING else None
    compared = {k: v for k, v in read.items() if k != unnamed or k in expected}
    return None if compared == expected else Failure(kind, text, compared, expected)
