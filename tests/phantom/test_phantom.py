from dataclasses import replace

import numpy as np
import pytest

from medcodi.phantom import (
    SCHEMA,
    Patient,
    bayes_auc,
    draw_row,
    findings,
    generate,
    make_study,
    outcome_probability,
    project,
    read_report,
    render,
    sample_patient,
    write_report,
)
from medcodi.phantom.anatomy import generator_for

ABSENT = ("none", "normal", False)
PATIENTS = [sample_patient(0, index) for index in range(3000)]


def difference(changed: Patient, patient: Patient | None = None) -> tuple[np.ndarray, np.ndarray]:
    """What a finding adds to both views."""
    return tuple(b - a for a, b in zip(render(patient or Patient()), render(changed), strict=True))


def test_same_seed_same_bits_for_any_number_of_processes():
    alone, together = (list(generate(40, seed=5, size=16, num_processes=n)) for n in (1, 2))
    for index, (a, b) in enumerate(zip(alone, together, strict=True)):
        assert a.study_id == b.study_id == f"phantom-{index:06d}"
        assert (
            a.truth == b.truth
            and a.patient_id == b.patient_id
            and a.values.keys() == b.values.keys()
        )
        for name, value in a.values.items():
            assert np.array_equal(value, b.values[name])


def test_other_seed_other_patient():
    assert make_study(0, 3, 16).truth != make_study(1, 3, 16).truth


def test_images_are_float32_in_the_unit_range_at_every_size():
    for size in (32, 64, 96):
        for image in render(PATIENTS[0], size):
            assert image.shape == (size, size) and image.dtype == np.float32
            assert image.min() >= 0 and image.max() <= 1


def test_sizes_show_the_same_patient():
    for large, small in zip(render(PATIENTS[1], 128), render(PATIENTS[1], 64), strict=True):
        assert np.abs(large.reshape(64, 2, 64, 2).mean((1, 3)) - small).mean() < 0.03


def test_both_views_are_projections_of_one_volume():
    for patient in PATIENTS[:5]:
        frontal, lateral = project(patient, 48)
        profiles = (
            frontal.sum(1) * 37.0 / 48,
            lateral.sum(1) * 29.0 / 48,
        )  # attenuation of each slice, cm^2
        np.testing.assert_allclose(*profiles, rtol=1e-4)


def test_a_finding_lies_at_the_same_height_in_both_views():
    healthy, nodule = project(Patient()), project(Patient(nodule="right_upper", nodule_size=1.0))
    frontal, lateral = (np.argmax((b - a).sum(1)) for a, b in zip(healthy, nodule, strict=True))
    assert frontal == lateral


def test_effusion_is_seen_on_its_side_right_being_image_left():
    left, _ = difference(Patient(effusion_left=0.4))
    right, _ = difference(Patient(effusion_right=0.4))
    assert left[:, 32:].sum() > 20 * np.abs(left[:, :31]).sum()
    assert right[:, :32].sum() > 20 * np.abs(right[:, 33:]).sum()
    assert (
        np.corrcoef(left[:, ::-1].ravel(), right.ravel())[0, 1] > 0.8
    )  # mirrored, but for heart and diaphragm


def test_more_fluid_is_brighter():
    images = [
        render(Patient(effusion_right=volume))[0].sum() for volume in (0.0, 0.15, 0.3, 0.6, 0.9)
    ]
    assert np.all(np.diff(images) > 0)


def test_larger_ratio_gives_wider_heart_as_wide_as_it_says():
    smallest, widths = project(Patient(cardiothoracic_ratio=0.36))[0], []
    for ratio in (0.45, 0.55, 0.65):
        added = project(Patient(cardiothoracic_ratio=ratio))[0] - smallest
        columns = np.flatnonzero((added > 0.5).any(0))
        widths.append(np.ptp(columns) * 37.0 / 64)
    # The shadow grows on both sides, so from its left to its right end it is ctr x 27 cm, within a
    # pixel or two.
    np.testing.assert_allclose(widths, 27.0 * np.array([0.45, 0.55, 0.65]), atol=1.6)


def test_retrocardiac_consolidation_is_for_the_lateral_view():
    heart = Patient(cardiothoracic_ratio=0.52)
    frontal, lateral = difference(
        replace(heart, consolidation="retrocardiac", consolidation_size=0.6), heart
    )
    assert np.abs(lateral).sum() > 1.15 * np.abs(frontal).sum()
    frontal, lateral = difference(
        replace(heart, consolidation="right_upper", consolidation_size=0.6), heart
    )
    assert np.abs(lateral).sum() < np.abs(frontal).sum()


def test_pneumothorax_darkens_its_side_and_edema_brightens_both():
    added, _ = difference(Patient(pneumothorax="left", pneumothorax_size=0.8))
    assert added[:, 32:].min() < -0.05 and np.abs(added[:, :31]).max() < 0.01
    added, _ = difference(Patient(edema=0.6))
    assert added[:, :31].sum() > 20 and added[:, 33:].sum() > 20


def test_unknown_site_is_refused():
    with pytest.raises(ValueError, match="consolidation: expected one of none, right_upper"):
        Patient(consolidation="upper")


def test_reading_a_report_gives_back_the_truth():
    for index, patient in enumerate(PATIENTS):
        text, truth = write_report(patient, generator_for(0, index, "report")), findings(patient)
        read = read_report(text)
        assert read.keys() == truth.keys()
        for key, value in truth.items():
            assert read[key] == value or (read[key] is None and value in ABSENT), (key, text)


def test_reports_are_short_and_of_few_words():
    texts = [
        write_report(patient, generator_for(0, i, "report")) for i, patient in enumerate(PATIENTS)
    ]
    lengths = np.array([len(text.split()) for text in texts])
    assert lengths.max() <= 60 and 20 < lengths.mean() < 45
    assert all(2 <= text.count(".") <= 5 for text in texts)
    assert len({word.strip(".,").lower() for text in texts for word in text.split()}) < 250
    assert len(set(texts)) < 0.9 * len(texts)  # normal reports repeat


@pytest.mark.parametrize(
    "text, expected",
    [
        (
            "No pleural effusion or pneumothorax.",
            {"effusion_left": "none", "pneumothorax": "none", "edema": None},
        ),
        (
            "small left effusion without pneumothorax",
            {"effusion_left": "small", "pneumothorax": "none"},
        ),
        (
            "No edema and small right pleural effusion.",
            {"edema": "none", "effusion_right": "small"},
        ),
        (
            "No consolidation but a nodule in the left upper lobe.",
            {"consolidation": "none", "nodule": "left_upper"},
        ),
        (
            "Bilateral pleural effusions.",
            {"effusion_left": "unspecified", "effusion_right": "unspecified"},
        ),
        ("Pneumothorax is seen .", {"pneumothorax": "unspecified"}),
        ("The heart is not enlarged.", {"heart": "normal", "cardiomegaly": False}),
        ("Possible left basilar atelectasis", {"atelectasis": "left", "heart": None}),
        ("The lungs are clear.", {"edema": "none", "nodule": "none", "effusion_left": None}),
        ("", {"heart": None, "pacemaker": None}),
    ],
)
def test_reader_on_text_that_the_grammar_does_not_write(text, expected):
    read = read_report(text)
    assert {key: read[key] for key in expected} == expected


def test_rows_have_about_the_marginals_of_the_paper():
    rows = [draw_row(patient, generator_for(0, i, "table")) for i, patient in enumerate(PATIENTS)]
    SCHEMA.encode(rows)
    cells = {
        column.name: [row[column.name] for row in rows if row[column.name] is not None]
        for column in SCHEMA.columns
    }
    shares = {
        "last_status": ("deceased", 0.133),
        "is_icu": ("true", 0.192),
        "was_ventilated": ("yes", 0.159),
    }
    shares |= {
        "acute_kidney_injury": ("yes", 0.185),
        "age_splits": ("[18,59]", 0.555),
        "gender_concept_name": ("NA", 0.024),
    }
    shares |= {"visit_concept_name": ("inpatient", 0.741)}
    for name, (category, share) in shares.items():
        assert cells[name].count(category) / len(cells[name]) == pytest.approx(share, abs=0.035), (
            name
        )
    for column in SCHEMA.columns:
        assert len(cells[column.name]) / len(rows) == pytest.approx(0.97, abs=0.015)
        if not column.is_discrete:
            assert np.mean(cells[column.name]) == pytest.approx(column.mean, abs=0.1 * column.std)
            assert np.std(cells[column.name]) == pytest.approx(column.std, rel=0.2)


def test_bayes_auc_is_that_of_the_true_probability():
    assert bayes_auc(PATIENTS) == pytest.approx(0.85, abs=0.02)
    risk = np.array([outcome_probability(patient) for patient in PATIENTS])
    rng, drawn = np.random.default_rng(0), []
    order = np.argsort(np.argsort(risk))
    for _ in range(60):
        dead = rng.random(len(risk)) < risk
        drawn.append((order[dead].mean() - (dead.sum() - 1) / 2) / (~dead).sum())
    assert np.mean(drawn) == pytest.approx(bayes_auc(PATIENTS), abs=0.005)


def test_findings_are_common_enough_to_learn():
    found = [findings(patient) for patient in PATIENTS]
    share = {key: np.mean([f[key] not in ABSENT for f in found]) for key in found[0]}
    share["effusion"] = np.mean([p.effusion_left + p.effusion_right > 0 for p in PATIENTS])
    for key, low, high in (
        ("effusion", 0.27, 0.36),
        ("consolidation", 0.27, 0.35),
        ("cardiomegaly", 0.2, 0.35),
    ):
        assert low < share[key] < high, key
    for key in ("edema", "atelectasis", "pneumothorax", "nodule", "pacemaker", "central_line"):
        assert 0.06 < share[key] < 0.17, key
    wide = np.array([patient.cardiomegaly for patient in PATIENTS])
    wet = np.array([patient.edema > 0 for patient in PATIENTS])
    assert wet[wide].mean() > 1.5 * wet[~wide].mean()


def test_absence_names_and_truth():
    studies = [make_study(0, index, 8, names={"frontal": "pa"}) for index in range(500)]
    for name, rate in (("pa", 0.0), ("lateral", 0.08), ("report", 0.05), ("tabular", 0.08)):
        assert np.mean([name not in study.values for study in studies]) == pytest.approx(
            rate, abs=0.04
        )
    assert all(
        {"ctr", "outcome_probability", "effusion_left"} <= study.truth.keys() for study in studies
    )
    with pytest.raises(ValueError, match="the phantom has frontal, lateral, report, tabular"):
        make_study(0, 0, 8, names={"front": "pa"})


def test_visits_keep_the_body_and_change_the_findings():
    """Visit 0 is the patient without visits, to the bit."""
    alone, first = make_study(3, 5, 32), make_study(3, 15, 32, visits=3)
    assert np.array_equal(alone.values["frontal"], first.values["frontal"])
    studies = list(generate(24, seed=3, size=32, visits=3))
    assert len({study.patient_id for study in studies}) == 8
    assert [study.patient_id for study in studies[:3]] == [studies[0].patient_id] * 3
    for name in ("sex", "age", "body_size", "texture_seed", "ctr"):
        assert len({study.truth[name] for study in studies[:3]}) == 1
    assert len({study.truth["offset_x"] for study in studies[:3]}) == 3
    edema = [study.truth["edema"] for study in studies]
    changed = sum(edema[i] != edema[i + 1] for i in range(0, 24, 3))
    assert changed > 0
    with pytest.raises(ValueError, match="one visit or more, got 0"):
        make_study(3, 5, 32, visits=0)
