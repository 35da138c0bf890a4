"""Planted copies are found, strangers are not: on real phantom studies, with exact and perturbed
copies."""

import numpy as np
import pytest

from medcodi.data.table import Column, TableSchema
from medcodi.metrics import privacy
from medcodi.metrics.networks.fitting import FitSettings
from medcodi.metrics.networks.verifier import Verifier, acquisitions, patient_pairs, top_scores
from medcodi.metrics.retrieval import image_distances, text_distances
from medcodi.metrics.statistics import Estimate
from medcodi.phantom import SCHEMA, draw_row, sample_patient, write_report
from medcodi.phantom.anatomy import generator_for

NUM_TRAIN, NUM_HOLDOUT, NUM_SYNTHETIC, PLANTED = 120, 60, 60, 0.2


IMAGE, REPORT, ROW = "image", "report", "row"


def smooth_images(n: int, seed: int) -> np.ndarray:
    """(N, 16, 16): a body that all share, and broad random shades of each patient's own."""
    rng = np.random.default_rng(seed)
    waves = np.cos(np.pi * np.arange(4)[:, None] * (np.arange(16) + 0.5) / 16)  # 4, 16
    shades = np.einsum("nij,ih,jw->nhw", rng.normal(size=(n, 4, 4)), waves, waves)
    return np.clip(0.5 + 0.08 * shades, 0, 1).astype(np.float32)


@pytest.fixture(scope="module")
def parts():
    """Training, holdout and a third part that stands for a perfect generator: images, and the
    phantom's reports and rows (its radiographs would take a minute to render)."""
    total = NUM_TRAIN + NUM_HOLDOUT + NUM_SYNTHETIC
    patients = [sample_patient(7, i) for i in range(total)]
    whole = {
        IMAGE: smooth_images(total, 0),
        REPORT: [write_report(p, generator_for(7, i, "report")) for i, p in enumerate(patients)],
        ROW: [draw_row(p, generator_for(7, i, "table")) for i, p in enumerate(patients)],
    }
    ends = [
        slice(NUM_TRAIN),
        slice(NUM_TRAIN, NUM_TRAIN + NUM_HOLDOUT),
        slice(NUM_TRAIN + NUM_HOLDOUT, total),
    ]
    return [{name: values[end] for name, values in whole.items()} for end in ends]


def distances(name, queries, references):
    if name == IMAGE:
        return image_distances(queries, references)
    if name == REPORT:
        return text_distances(queries, references)
    return privacy.row_distances(queries, references, SCHEMA)


PERTURB = {
    IMAGE: privacy.perturbed_images,
    REPORT: privacy.perturbed_texts,
    ROW: lambda rows: privacy.perturbed_rows(rows, SCHEMA),
}


def with_copies(parts, name, perturb):
    """The synthetic set with a fifth replaced by training records, and which."""
    train, _, synthetic = (part[name] for part in parts)
    rows, sources = privacy.plant(NUM_SYNTHETIC, NUM_TRAIN, PLANTED, seed=1)
    copies = [train[i] for i in sources]
    copies = perturb(np.stack(copies) if name == IMAGE else copies) if perturb else copies
    changed = list(synthetic)
    for row, copy in zip(rows, copies, strict=True):
        changed[row] = copy
    return (np.stack(changed) if name == IMAGE else changed), rows


KINDS = [(IMAGE, True), (REPORT, True), (ROW, True), (IMAGE, False), (ROW, False)]


@pytest.mark.parametrize(
    ("name", "exact"), KINDS, ids=[f"{n}-{'exact' if e else 'perturbed'}" for n, e in KINDS]
)
def test_planted_copies_are_found_and_strangers_are_not(parts, name, exact):
    train, holdout = parts[0][name], parts[1][name]
    control = distances(name, holdout, train)
    clean = privacy.memorised(distances(name, parts[2][name], train), control, level=0.02)
    assert clean.share.value < 0.1 and clean.p > 0.01
    changed, planted = with_copies(parts, name, None if exact else PERTURB[name])
    found = privacy.memorised(distances(name, changed, train), control, level=0.02)
    # A report that half of the patients share, or a row with a near twin, is no copy of one record:
    # those may be missed.
    assert found.flagged[planted].mean() >= {IMAGE: 1.0, ROW: 0.9, REPORT: 0.55}[name]
    assert found.p < 0.01


def test_perturbed_joint_copies_are_found(parts):
    """A report alone cannot tell a changed copy from two patients with like findings; the record
    can."""
    train, holdout, _ = parts
    copies = {name: PERTURB[name](train[name][:30]) for name in PERTURB}
    control = [distances(name, holdout[name], train[name]) for name in PERTURB]
    scales = [float(np.median(d)) for d in control]
    found = [distances(name, copies[name], train[name]) for name in PERTURB]
    found, control = (privacy.joint_distances(*d, scales=scales) for d in (found, control))
    assert privacy.memorised(found, control, level=0.02).flagged.all()


def test_closest_record_moves_with_copies(parts):
    train, holdout, synthetic = (part[IMAGE] for part in parts)
    clean = privacy.closest_record(
        image_distances(synthetic, train), image_distances(synthetic, holdout)
    )
    assert clean["expected"] == pytest.approx(2 / 3)
    assert clean["p"] > 0.01 and clean["share"].low < clean["expected"] < clean["share"].high
    shares = [clean["share"].value]
    for fraction in (0.5, 1.0):
        changed = synthetic.copy()
        count = int(fraction * NUM_SYNTHETIC)
        changed[:count] = train[:count]
        shares.append(
            privacy.closest_record(
                image_distances(changed, train), image_distances(changed, holdout)
            )["share"].value
        )
    assert shares == sorted(shares) and shares[0] < shares[1] < shares[2] == 1.0
    # The same claim about the holdout must not fire: the test has a direction.
    changed[:] = holdout
    assert (
        privacy.closest_record(image_distances(changed, train), image_distances(changed, holdout))[
            "share"
        ].value
        == 0.0
    )


def test_a_sentence_that_all_share_is_no_copy():
    ties = np.zeros((5, 30))
    assert np.array_equal(privacy.neighbour_ratios(ties), np.ones(5))
    half = privacy.closest_record(np.zeros((4, 30)), np.zeros((4, 10)))
    assert half["share"].value == half["expected"] == 0.75


def test_membership_sees_copies_and_no_more(parts):
    train, holdout, synthetic = (part[IMAGE] for part in parts)

    def attack(released):
        return privacy.membership(
            -image_distances(train, released).min(axis=1),
            -image_distances(holdout, released).min(axis=1),
        )

    chance = attack(synthetic)
    assert chance.low < 0.5 < chance.high
    changed = synthetic.copy()
    changed[:] = train[:NUM_SYNTHETIC]  # half of training is released
    leaking = attack(changed)
    assert leaking.value > 0.7 and leaking.low > chance.high - 0.05


def test_linkage_of_joint_copies(parts):
    train, holdout, _ = parts

    def to_train(part, count):
        return [distances(name, part[name][:count], train[name]) for name in (IMAGE, REPORT, ROW)]

    copies, strangers = to_train(train, 30), to_train(holdout, NUM_HOLDOUT)
    assert privacy.linkage(copies).value == 1.0
    assert privacy.linkage(strangers).value < 0.2
    scales = [float(np.median(d)) for d in strangers]
    control = privacy.joint_distances(*strangers, scales=scales)
    assert privacy.memorised(privacy.joint_distances(*copies, scales=scales), control).flagged.all()
    with pytest.raises(ValueError, match="two modalities or more"):
        privacy.linkage(copies[:1])


def test_row_distances_by_hand():
    schema = TableSchema(
        [
            Column("a", "continuous", mean=1, std=2, minimum=0, maximum=4),
            Column("b", "categorical", ["x", "y"]),
        ]
    )
    first = [{"a": 0, "b": "x"}, {"a": 2, "b": None}, {}]
    second = [{"a": 2, "b": "y"}, {"a": 4, "b": "x"}]
    expected = [[0.75, 0.5], [0.0, 0.5], [1.0, 1.0]]
    assert privacy.row_distances(first, second, schema) == pytest.approx(
        np.array(expected), abs=1e-6
    )


def test_reidentification_separates_patients_and_finds_copies(parts):
    train, holdout, synthetic = (part[IMAGE] for part in parts)
    verifier = Verifier(
        FitSettings(network="tiny", num_epochs=16, batch_size=40, learning_rate=3e-3)
    ).fit(train)
    check = verifier.verify(holdout, acquisitions(holdout, seed=3))
    assert check["auc"] > 0.95
    reference = verifier.embed(train)
    strangers = top_scores(verifier.embed(holdout), reference)
    copies = top_scores(verifier.embed(acquisitions(train[:NUM_SYNTHETIC], seed=4)), reference)
    assert np.median(copies) > np.quantile(strangers, 0.9)
    assert (
        abs(np.median(top_scores(verifier.embed(synthetic), reference)) - np.median(strangers))
        < 0.1
    )


def test_patient_pairs():
    pairs = patient_pairs(["a", "b", "a", "c", "c", "c"])
    assert sorted(map(sorted, pairs.tolist()))[0] == [0, 2] and len(pairs) == 2
    assert patient_pairs(["a", "b"]).shape == (0, 2)


def test_bad_input_says_what_is_wrong():
    good = np.random.default_rng(0).random((60, 60))
    with pytest.raises(ValueError, match="holdout records, got 60"):
        privacy.memorised(good, good, level=0.01)
    with pytest.raises(ValueError, match="NaN"):
        privacy.neighbour_ratios(np.full((3, 3), np.nan))
    with pytest.raises(ValueError, match="a row and a column at least"):
        privacy.closest_record(np.zeros((0, 4)), np.zeros((0, 4)))
    with pytest.raises(ValueError, match="the same synthetic records"):
        privacy.closest_record(good, good[:5])
    with pytest.raises(ValueError, match="20 finite scores"):
        privacy.membership(np.zeros(5), np.zeros(50))
    with pytest.raises(ValueError, match="cannot plant"):
        privacy.plant(10, 100, 0.01)
    with pytest.raises(ValueError, match="two training records"):
        privacy.neighbour_ratios(good[:, :1])
    with pytest.raises(ValueError, match=r"distances of one shape, got \[\(60, 60\), \(60, 5\)\]"):
        privacy.linkage([good, good[:, :5]])
    with pytest.raises(ValueError, match="one scale"):
        privacy.joint_distances(good, scales=[])
    with pytest.raises(ValueError, match="not trained"):
        Verifier(FitSettings(network="tiny")).embed(np.zeros((2, 16, 16)))


def test_an_attack_that_cannot_win_is_no_pass():
    share = Estimate(0.01, 0.0, 0.05, 200)
    found, blind = Estimate(1.0, 0.9, 1.0, 20), Estimate(0.1, 0.0, 0.3, 20)
    assert privacy.verdict(share, 0.02, found) == "no more than by chance"
    assert privacy.verdict(Estimate(0.3, 0.2, 0.4, 200), 0.02, found) == "copies"
    few = Estimate(0.0, 0.0, 0.2, 20)
    assert privacy.verdict(few, 0.02, found) == "too few attempts: 20"
    assert privacy.verdict(share, 0.02, blind).startswith("too few successes: 10% of 20 planted")
