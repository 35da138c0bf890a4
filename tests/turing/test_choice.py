"""The forced choice: figures by hand, a study of that arm from the page's session to the report."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from medcodi.cli.app import app
from medcodi.turing.choice import CHOICE_HEAD, describe_choice
from medcodi.turing.report import markdown, report, table
from medcodi.turing.store import RatingStore
from medcodi.turing.tasks import CHOICE, arm_of
from tests.turing.conftest import serving
from tests.turing.folders import write_study

NAN = np.nan


def test_figures_by_hand():
    """Real, real, synthetic, synthetic. Reader 1: sure real, guess computer, sure computer, sure
    real (wrong); reader 2: guess real, none, rather computer, guess computer."""
    scores = np.array([[6.0, 3, 1, 6], [4, NAN, 2, 3]])
    told = describe_choice(scores, np.array([False, False, True, True]), 100, 0)
    values = {name: told[name]["value"] for name in told}
    assert values == pytest.approx(
        {
            "right": 5 / 7,
            "real_called_real": 2 / 3,
            "synthetic_called_synthetic": 3 / 4,
            "right_when_sure": 2 / 3,
            "sure": 3 / 7,
        }
    )
    assert told["right"]["low"] <= 5 / 7 <= told["right"]["high"]


def test_guessing_is_right_half_of_the_time():
    rng = np.random.default_rng(0)
    scores = rng.integers(1, 7, (3, 400)).astype(float)
    told = describe_choice(scores, np.arange(400) % 2 == 0, 200, 0)
    assert told["right"]["low"] < 0.5 < told["right"]["high"]
    nothing = describe_choice(np.full((2, 4), NAN), np.array([True, False] * 2), 10, 0)
    assert all(np.isnan(figure["value"]) for figure in nothing.values())


def test_a_study_of_that_arm(tmp_path):
    folder, codes = write_study(tmp_path, num_items=2, arm="choice")
    truth = json.loads((folder / "truth.json").read_text())["items"]
    with serving(folder) as client:
        session = json.loads(client("GET", "/api/session", reader=codes[0])[2])
        assert session["labels"] == list(CHOICE.labels)
        assert session["tasks"][0]["question"] == "Is this X-ray real, or made by a computer?"
        for key, told in truth.items():
            body = {"item": key, "score": 1 if told["synthetic"] else 6, "seconds": 1.0}
            assert client("POST", "/api/ratings", body, codes[0])[0] == 200
        status, _, answer = client("POST", "/api/ratings", {**body, "score": 7}, codes[0])
        assert status == 400 and b"whole number of 1 to 6, got 7" in answer
    figures = report(folder, num_resamples=10)
    assert figures["arm"] == "choice"
    assert {told["right"]["value"] for told in figures["tasks"].values()} == {1.0}
    assert {len(row) for row in table(figures)} == {len(CHOICE_HEAD)}
    assert "1.00 [1.00, 1.00]" in markdown(figures) and "what guessing gives" in markdown(figures)
    result = CliRunner().invoke(app, ["turing", "report", str(folder), "--num-resamples", "10"])
    assert result.exit_code == 0, result.output


def test_an_unknown_arm_is_named(tmp_path):
    with pytest.raises(ValueError, match="unknown arm 'forced'; arms: rating, choice"):
        arm_of("forced")
    with pytest.raises(ValueError, match="unknown arm 'forced'"):
        write_study(tmp_path, arm="forced")
    assert not (tmp_path / "study").exists()


def test_the_store_keeps_how_many_scores_there_are(tmp_path):
    store = RatingStore(tmp_path / "r.sqlite", 6)
    store.add_reader("A", 1)
    store.close()
    again = RatingStore(tmp_path / "r.sqlite")
    again.rate("A", "item", 6)
    with pytest.raises(ValueError, match="1 to 6, got 7"):
        again.rate("A", "item", 7)
    again.close()
