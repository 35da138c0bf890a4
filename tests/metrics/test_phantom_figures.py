"""The phantom's figures: perfect outputs reach the ceiling, shuffled ones reach chance, and every
metric can fail."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from medcodi.metrics import phantom_figures, phantom_metrics, phantom_readings, retrieval
from medcodi.metrics.networks.phantom_reader import PhantomReader
from medcodi.phantom import generate

SIZE, NUM_TRAIN, NUM_TEST = 32, 320, 120


@pytest.fixture(scope="module")
def studies():
    found = [
        s for s in generate(NUM_TRAIN + NUM_TEST + 100, seed=5, size=SIZE) if len(s.values) == 4
    ]
    return found[: NUM_TRAIN + NUM_TEST]


@pytest.fixture(scope="module")
def held_out(studies):
    return studies[NUM_TRAIN:]


@pytest.fixture(scope="module")
def truth(held_out):
    return phantom_readings.truth_reading([s.truth for s in held_out])


@pytest.fixture(scope="module")
def reader(studies):
    train = studies[:NUM_TRAIN]
    images = np.stack([s.values["frontal"] for s in train])
    return PhantomReader().fit(
        images, [s.truth for s in train], "frontal", num_epochs=8, batch_size=32
    )


@pytest.fixture(scope="module")
def images(held_out):
    return np.stack([s.values["frontal"] for s in held_out])


@pytest.fixture(scope="module")
def reports(held_out):
    return [s.values["report"] for s in held_out]


def figures(metrics, truth, read, real=None):
    rows = phantom_figures.follow_figures(
        "route",
        metrics,
        truth,
        phantom_figures.Outputs(read, real or read, real or read, real or read),
        num_resamples=50,
    )
    return {row["metric"]: row for row in rows}


def order(num):
    return np.random.default_rng(1).permutation(num)


def test_perfect_images_reach_the_ceiling(reader, images, truth):
    found = figures(
        phantom_metrics.IMAGE_METRICS, truth, phantom_readings.image_reading(reader, images)
    )
    assert all(row["value"] == row["ceiling"] for row in found.values())
    for name in ("mean AUC of the four findings", "effusion, left: AUC", "effusion, right: AUC"):
        assert found[name]["value"] > 0.75 and found[name]["above_chance"], found[name]
        assert found[name]["floors"]["shuffled"] == pytest.approx(0.5, abs=0.08)
    assert found["cardiothoracic ratio: Pearson r"]["value"] > 0.7
    assert found["effusion, left: AUC"]["positives"] == truth["effusion_left"].sum()
    one_sided = found["side of a one-sided effusion: AUC"]
    assert one_sided["n"] == (truth["effusion_left"] != truth["effusion_right"]).sum()


def test_shuffled_images_reach_chance(reader, images, truth):
    found = figures(
        phantom_metrics.IMAGE_METRICS,
        truth,
        phantom_readings.image_reading(reader, images[order(len(images))]),
    )
    assert found["mean AUC of the four findings"]["value"] == pytest.approx(0.5, abs=0.12)
    assert abs(found["cardiothoracic ratio: Pearson r"]["value"]) < 0.3


def test_a_flipped_image_loses_the_side_and_a_blurred_one_the_findings(reader, images, truth):
    real = figures(
        phantom_metrics.IMAGE_METRICS, truth, phantom_readings.image_reading(reader, images)
    )
    flipped = figures(
        phantom_metrics.IMAGE_METRICS,
        truth,
        phantom_readings.image_reading(reader, images[:, :, ::-1].copy()),
    )
    side = "side of a one-sided effusion: AUC"
    assert real[side]["value"] > 0.8 and flipped[side]["value"] < 0.4
    blurred = [
        figures(
            phantom_metrics.IMAGE_METRICS,
            truth,
            phantom_readings.image_reading(reader, gaussian_filter(images, (0, s, s))),
        )
        for s in (3.0, 12.0)
    ]
    name = "mean AUC of the four findings"
    assert real[name]["value"] > blurred[0][name]["value"] > blurred[1][name]["value"]


def test_real_reports_are_perfect_and_shuffled_ones_are_not(reports, truth):
    real = figures(phantom_metrics.REPORT_METRICS, truth, phantom_readings.report_reading(reports))
    for name in (
        "11 findings: micro F1",
        "effusion, left: F1",
        "side of a one-sided effusion: accuracy",
    ):
        assert real[name]["value"] > 0.97, real[name]
    shuffled = figures(
        phantom_metrics.REPORT_METRICS,
        truth,
        phantom_readings.report_reading([reports[i] for i in order(len(reports))]),
    )
    name = "11 findings: micro F1"
    assert shuffled[name]["value"] == pytest.approx(real[name]["floors"]["shuffled"], abs=0.12)
    assert not shuffled[name]["above_chance"] or shuffled[name]["value"] < 0.5


def test_swapped_sides_fail_in_reports(reports, truth):
    swapped = [
        r.lower().replace("left", "LEFT").replace("right", "left").replace("LEFT", "right")
        for r in reports
    ]
    found = figures(phantom_metrics.REPORT_METRICS, truth, phantom_readings.report_reading(swapped))
    assert found["side of a one-sided effusion: accuracy"]["value"] < 0.1
    assert found["side of a consolidation: accuracy"]["value"] < 0.1


def test_not_mentioned_counts_as_absent():
    read = phantom_readings.report_reading(["Heart size is normal."])
    assert all(read[key][0] == 0 for key in phantom_readings.REPORT_FINDINGS)


def test_a_heart_that_is_enlarged_without_a_grade_counts_as_mild():
    texts = ["The heart is enlarged.", "There is mild cardiomegaly.", "Heart size is normal.", "-"]
    assert phantom_readings.report_reading(texts)["ctr"].tolist() == [1, 1, 0, 0]


def test_table_columns_follow_the_risk(held_out, truth):
    rows = [s.values["tabular"] for s in held_out]
    real = figures(phantom_metrics.TABLE_METRICS, truth, phantom_readings.table_reading(rows))
    assert real["mean AUC of the four outcomes"]["value"] > 0.62
    assert real["low oxygen saturation with true risk: Spearman"]["value"] > 0.15
    shuffled = figures(
        phantom_metrics.TABLE_METRICS,
        truth,
        phantom_readings.table_reading([rows[i] for i in order(len(rows))]),
    )
    assert shuffled["mean AUC of the four outcomes"]["value"] == pytest.approx(0.5, abs=0.12)


def test_an_undefined_figure_says_so(held_out, truth):
    """Nobody dies in these rows: no AUC, no zero, but a note."""
    rows = [s.values["tabular"] | {"last_status": "discharged"} for s in held_out]
    found = figures(phantom_metrics.TABLE_METRICS, truth, phantom_readings.table_reading(rows))[
        "last status by true risk: AUC"
    ]
    assert np.isnan(found["value"]) and found["note"] and not found["above_chance"]


def test_coherence_of_real_pairs_is_above_independent_ones(reader, images, reports):
    image, report = (
        phantom_readings.image_reading(reader, images),
        phantom_readings.report_reading(reports),
    )
    apart = phantom_readings.take(report, order(len(reports)))
    rows = phantom_figures.coherence_figures(
        "s",
        "frontal and report",
        (image, report),
        (image, apart),
        (image, report),
        num_resamples=60,
    )
    mean = next(row for row in rows if row["metric"].startswith("mean kappa"))
    assert mean["joint"]["value"] == mean["ceiling"] > 0.3
    assert mean["difference"]["interval"][0] > 0 and abs(mean["independent"]["value"]) < 0.2
    assert abs(mean["floors"]["shuffled"]) < 0.1
    same = phantom_figures.coherence_figures(
        "s", "p", (image, apart), (image, apart), (image, report), num_resamples=20
    )
    assert all(row["difference"]["value"] == 0 for row in same)


def test_findings_that_never_show_prove_no_coherence(reader, images):
    empty = phantom_readings.report_reading(["The lungs are clear."] * 20)
    rows = phantom_figures.coherence_figures(
        "s", "p", (empty, empty), (empty, empty), (empty, empty), num_resamples=10
    )
    assert rows[0]["joint"]["value"] == 0 and np.isnan(rows[1]["joint"]["value"])


def test_nearest_neighbours_find_copies_and_the_constant_is_the_best(reports, images):
    assert (retrieval.image_distances(images[:9], images).argmin(1) == np.arange(9)).all()
    found = retrieval.nearest(retrieval.text_distances(reports[:9], reports))
    assert [reports[i] for i in found] == reports[:9]
    both = retrieval.nearest(
        retrieval.text_distances(reports[:9], reports),
        retrieval.image_distances(images[:9], images),
    )
    assert (both == np.arange(9)).all()
    truth = np.array([[1, 0], [1, 0], [0, 1]])
    assert retrieval.best_constant(np.array([[0, 0], [0, 1], [1, 0]]), truth) == 2
