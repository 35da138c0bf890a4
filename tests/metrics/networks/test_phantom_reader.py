import numpy as np
import pytest

from medcodi.metrics.networks.phantom_reader import LABELS, PhantomReader, label_table
from medcodi.phantom import Patient, render, sample_patient, truth_of


@pytest.fixture(scope="module")
def frontal() -> tuple[np.ndarray, list[dict]]:
    """Frontal images and truths; rendered at half size, which the reader enlarges."""
    patients = [sample_patient(11, index) for index in range(700)]
    return np.stack([render(patient, 32)[0] for patient in patients]), [
        truth_of(patient) for patient in patients
    ]


@pytest.fixture(scope="module")
def reader(frontal) -> PhantomReader:
    images, truths = frontal
    return PhantomReader(seed=3).fit(
        images[:500], truths[:500], "frontal", num_epochs=10, batch_size=32
    )


def test_reader_sees_the_findings_of_new_patients(reader, frontal):
    images, truths = frontal
    scores = reader.score(images[500:], truths[500:])
    assert scores["effusion_left"] > 0.95 and scores["effusion_right"] > 0.95
    assert scores["cardiomegaly"] > 0.9 and scores["edema"] > 0.9 and scores["ctr_r2"] > 0.6


def test_read_gives_a_number_for_each_image(reader, frontal):
    read = reader.read(frontal[0][:5])
    assert set(read) == {*LABELS, "ctr"}
    assert all(values.shape == (5,) for values in read.values())
    assert all(((read[key] >= 0) & (read[key] <= 1)).all() for key in LABELS)


def test_side_follows_the_rendered_side(reader):
    images = np.stack(
        [render(Patient(effusion_left=0.6), 32)[0], render(Patient(effusion_right=0.6), 32)[0]]
    )
    read = reader.read(images)
    assert read["effusion_left"][0] > 0.5 > read["effusion_left"][1]
    assert read["effusion_right"][1] > 0.5 > read["effusion_right"][0]


def test_save_and_load_read_the_same(reader, frontal, tmp_path):
    reader.save(tmp_path)
    again = PhantomReader.load(tmp_path)
    assert again.view == "frontal"
    before, after = reader.read(frontal[0][:8]), again.read(frontal[0][:8])
    assert all(np.array_equal(before[key], after[key]) for key in before)
    (tmp_path / "config.json").write_text('{"view": "frontal", "seed": 0, "labels": ["edema"]}')
    with pytest.raises(ValueError, match="fit it again"):
        PhantomReader.load(tmp_path)


def test_same_seed_same_reader(frontal):
    images, truths = frontal
    first, second = (
        PhantomReader(seed=1).fit(images[:128], truths[:128], "frontal", num_epochs=1)
        for _ in range(2)
    )
    a, b = first.read(images[128:136]), second.read(images[128:136])
    assert all(np.array_equal(a[key], b[key]) for key in a)


def test_labels_follow_the_truth():
    truth = truth_of(
        Patient(
            effusion_left=0.3,
            consolidation="left_lower",
            consolidation_size=0.5,
            pneumothorax="right",
        )
    )
    row = dict(zip(LABELS, label_table([truth])[0], strict=True))
    assert {key for key, value in row.items() if value} == {
        *(
            "effusion_left",
            "consolidation",
            "consolidation_left_lower",
            "pneumothorax",
            "pneumothorax_right",
        ),
    }


def test_errors_say_what_is_wrong(frontal):
    with pytest.raises(ValueError, match="not trained"):
        PhantomReader().read(frontal[0][:2])
    with pytest.raises(ValueError, match=r"got 2 images and 1 truths"):
        PhantomReader().fit(frontal[0][:2], frontal[1][:1], "frontal")
