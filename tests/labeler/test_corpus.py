"""The corpus of sentences with known answers, and what may not change an answer: punctuation, case,
numbering, headings and hard line breaks."""

import textwrap

import pytest
from typer.testing import CliRunner

from medcodi.cli.app import app
from medcodi.labeler import Labeler
from medcodi.labeler.corpus import check, corpora, load_corpus, parse_answer, run_corpus

CORPUS = load_corpus("chexpert")
# These speak of layout, of signs at the start of a line, or hold sections of their own.
WITH_LAYOUT = {"without_content", "layout", "sections", "history"}


@pytest.fixture(scope="module")
def labeler() -> Labeler:
    return Labeler.from_vocabulary(CORPUS.vocabulary)


def test_the_corpus_is_read_as_it_says(labeler):
    counts, failures = run_corpus(CORPUS, labeler)
    assert not failures
    assert sum(number for _, number in counts.values()) >= 300
    assert all(number >= 10 for _, number in counts.values())


def wrapped(text: str) -> str:
    return textwrap.fill(text, 25, break_long_words=False, break_on_hyphens=False)


FORMS = {
    "with a full stop": lambda text: text.rstrip(". ") + ".",
    "without a full stop": lambda text: text.rstrip("."),
    "in capitals": str.upper,
    "in small letters": str.lower,
    "numbered": lambda text: f"1. {text}",
    "wrapped": wrapped,
    "wrapped in capitals": lambda text: wrapped(text).upper(),
    "with wide spaces": lambda text: f"  {text.replace(' ', '  ')}  ",
    "with hard spaces": lambda text: text.replace(" ", "\u00a0"),
    "under a heading": lambda text: f"FINDINGS: {text}",
    "under a heading of its own line": lambda text: f"FINDINGS:\n\n{text}",
    "numbered under a heading": lambda text: f"IMPRESSION: 1. {text}",
    "behind a question": lambda text: f"INDICATION: Rule out pneumonia.\nFINDINGS: {text}",
}


@pytest.mark.parametrize("form", FORMS)
def test_form_changes_no_answer(labeler, form):
    wrong = [
        failure
        for kind, texts in CORPUS.kinds.items()
        for text, answer in texts.items()
        if kind not in WITH_LAYOUT and "\n" not in text
        if (failure := check(labeler, kind, FORMS[form](text), answer))
    ]
    assert not wrong


@pytest.mark.parametrize("kind", ["affirmed", "denied", "hedged", "resolution", "sides", "causes"])
def test_a_line_break_at_any_word_changes_no_answer(labeler, kind):
    wrong = []
    for text, answer in CORPUS.kinds[kind].items():
        words = text.split()
        broken = [
            f"{' '.join(words[:place])}\n{' '.join(words[place:])}"
            for place in range(1, len(words))
        ]
        broken.append("\n".join(words))
        wrong += [failure for form in broken if (failure := check(labeler, kind, form, answer))]
    assert not wrong


def test_an_answer_names_observations():
    columns = ["No Finding", "Edema", "Fracture"]
    assert parse_answer("Edema, no Fracture", columns) == {"Edema": 1, "Fracture": 0}
    assert parse_answer("maybe Edema, No Finding", columns) == {"Edema": -1, "No Finding": 1}
    assert parse_answer("nothing", columns) == {}
    with pytest.raises(ValueError, match="did you mean 'Edema'"):
        parse_answer("no Edma", columns)


def test_a_corpus_that_is_not_there_or_does_not_fit_is_refused(tmp_path):
    assert corpora() == ["chexpert"]
    with pytest.raises(FileNotFoundError, match="'mine': expected one of chexpert or the path"):
        load_corpus("mine")
    path = tmp_path / "mine.yaml"
    path.write_text("vocabulary: chexpert\nkinds: {}\n")
    with pytest.raises(ValueError, match=r"mine\.yaml: .*at least one text"):
        load_corpus(path)


def test_the_command_runs_the_corpus_and_a_users_own(tmp_path):
    result = CliRunner().invoke(app, ["label", "--self-test"])
    assert result.exit_code == 0, result.output
    assert "shorthand" in result.output
    path = tmp_path / "mine.yaml"
    path.write_text(
        "vocabulary: chexpert\nkinds:\n  mine:\n    No edema.: no Edema\n    Edema.: no Edema\n"
    )
    result = CliRunner().invoke(app, ["label", "--self-test", "--corpus", str(path)])
    assert result.exit_code == 1
    assert "'Edema.'" in str(result.exception) or "'Edema.'" in result.output
