"""The table: means, intervals and agreement, against numbers worked out by hand."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from medcodi.cli.app import app
from medcodi.turing.report import agreement, describe_task, markdown, report, table
from medcodi.turing.store import RatingStore

NAN = np.nan
# Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), example C: 4 observers, 12
# units, ordinal .815
EXAMPLE = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
        [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
    ]
)


def test_alpha_by_hand():
    """Readers [1 2 3 4] and [1 2 3 5]: counts n = 2 2 2 1 1, squared ordinal distances d(c, k) =
    (sum of n from c to k - (n_c + n_k) / 2)^2. Observed: one pair, d(4, 5) = 1, over 8 ratings
    twice: .25.
    Expected: sum of n_c n_k d(c, k) over c < k is 324, times 2 over 8 x 7. Alpha = 1 - .25 / (648 /
    56)."""
    assert agreement(np.array([[1.0, 2, 3, 4], [1, 2, 3, 5]])) == pytest.approx(
        1 - 0.25 * 56 / 648, abs=1e-12
    )


def test_alpha_of_a_published_example():
    assert agreement(EXAMPLE) == pytest.approx(0.815, abs=5e-4)


def test_alpha_at_its_ends():
    rng = np.random.default_rng(0)
    scores = rng.integers(1, 6, (3, 4000)).astype(float)
    assert agreement(np.repeat(scores[:1], 3, axis=0)) == pytest.approx(1)
    assert abs(agreement(scores)) < 0.03
    assert np.isnan(agreement(np.full((3, 5), 4.0)))
    assert np.isnan(agreement(np.array([[1.0, NAN], [NAN, 2]])))


def test_figures_of_a_task_by_hand():
    scores = np.array([[5.0, 4, 2, 1], [4, 4, 3, NAN]])
    told = describe_task(scores, np.array([False, False, True, True]), num_resamples=200, seed=0)
    assert told["num_items"] == 4 and told["num_ratings"] == 7
    assert told["real"]["value"] == 4.25 and told["real"]["sd"] == pytest.approx(0.5)
    assert told["synthetic"]["value"] == 2.0 and told["synthetic"]["sd"] == pytest.approx(1.0)
    assert told["difference"]["value"] == -2.25 and told["auc"]["value"] == 1.0
    assert told["real"]["low"] <= 4.25 <= told["real"]["high"]


def test_ratings_without_information_cannot_tell():
    """Random ratings: the AUC and the difference are at chance, inside their own intervals."""
    rng = np.random.default_rng(3)
    told = describe_task(
        rng.integers(1, 6, (3, 400)).astype(float), np.arange(400) % 2 == 0, 200, 0
    )
    assert told["auc"]["low"] < 0.5 < told["auc"]["high"]
    assert told["difference"]["low"] < 0 < told["difference"]["high"]


@pytest.fixture
def rated(study):
    """Readers 0 and 1 rate all: real 4 or 5, synthetic 2; reader 2 none."""
    folder, codes = study
    truth = json.loads((folder / "truth.json").read_text())["items"]
    store = RatingStore(folder / "ratings.sqlite")
    for number, code in enumerate(codes[:2]):
        for key, told in truth.items():
            store.rate(code, key, 2 if told["synthetic"] else 4 + number, 3.0)
    store.close()
    return folder, codes


def test_report_of_a_study(rated, tmp_path):
    folder, _ = rated
    figures = report(folder, num_resamples=50)
    assert [told["real"]["value"] for told in figures["tasks"].values()] == [4.5] * 5
    assert [told["synthetic"]["value"] for told in figures["tasks"].values()] == [2.0] * 5
    assert [reader["rated"] for reader in figures["readers"]] == [20, 20, 0]
    assert {len(row) for row in table(figures)} == {9}
    assert "4.5 +- 0.6 [4.5, 4.5]" in markdown(figures) and "4.1 +- 0.9, 3.7 +- 0.8" in markdown(
        figures
    )
    call = [
        "turing",
        "report",
        str(folder),
        "--output",
        str(tmp_path / "r"),
        "--num-resamples",
        "20",
    ]
    result = CliRunner().invoke(app, call)
    assert result.exit_code == 0, result.output
    assert (
        json.loads((tmp_path / "r" / "turing.json").read_text())["tasks"]["pair"]["auc"]["value"]
        == 1.0
    )


def test_a_study_that_has_only_begun(study):
    folder, codes = study
    with pytest.raises(ValueError, match="holds no ratings yet"):
        report(folder)
    truth = json.loads((folder / "truth.json").read_text())["items"]
    store = RatingStore(folder / "ratings.sqlite")
    store.rate(codes[0], next(key for key, told in truth.items() if told["task"] == "pair"), 3)
    store.close()
    figures = report(folder, num_resamples=20)
    assert np.isnan(figures["tasks"]["xray"]["real"]["value"])
    assert markdown(figures).count("| - | - | - | - | - |") == 4
    (folder / "truth.json").unlink()
    with pytest.raises(FileNotFoundError, match="nobody knows which items are synthetic"):
        report(folder)
