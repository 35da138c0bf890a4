import numpy as np
import pytest

from medcodi.privacy.retrieval import retrieval_scores


def test_scores_of_perfect_and_of_worst_retrieval():
    """Two images a patient: at one place, or each at that of another patient's."""
    places = np.eye(6)
    best = retrieval_scores(np.repeat(places, 2, axis=0), np.repeat(np.arange(6), 2))
    assert best["precision@1"].value == best["mAP@R"].value == 1
    swapped = np.concatenate([places, places])[[0, 7, 1, 8, 2, 9, 3, 10, 4, 11, 5, 6]]
    worst = retrieval_scores(swapped, np.repeat(np.arange(6), 2))
    assert worst["precision@1"].value == 0 and worst["mAP@R"].value == 0


def test_average_precision_is_its_definition():
    """A patient of three images asks for two: the first answer is wrong, the second is right."""
    embeddings = np.array([[1, 0], [0.5, 0.75**0.5], [0, 1], [0.9, 0.19**0.5]])
    scores = retrieval_scores(embeddings, ["a", "a", "a", "b"])
    # image 0: b, then 1 -> 1/2 / 2; image 1: 2 (.87), b (.83) -> 1 / 2; image 2: 1, b -> 1 / 2
    assert scores["mAP@R"].value == pytest.approx((0.25 + 0.5 + 0.5) / 3)
    assert scores["precision@1"].value == pytest.approx(2 / 3)


def test_one_image_a_patient_has_no_meaning():
    with pytest.raises(ValueError, match="no patient has two images"):
        retrieval_scores(np.eye(3), [1, 2, 3])
