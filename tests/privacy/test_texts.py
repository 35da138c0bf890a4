import numpy as np

from medcodi.privacy.texts import TextGuard, span_codes, word_codes

COMMON = "The lungs are clear. No pleural effusion or pneumothorax."
RARE = "A tubular opacity projects over the third left rib near an old surgical clip."


def guard():
    texts = [COMMON] * 8 + [f"{COMMON} {RARE}"]
    return TextGuard.fit(texts, [f"patient {i}" for i in range(len(texts))])


def test_common_phrases_score_nothing_and_a_rare_span_its_length():
    scores = guard().match([COMMON, RARE, "Heart size is normal.", "", f"{RARE} {COMMON}"])
    assert scores.score[[0, 2, 3]].tolist() == [0, 0, 0]
    assert scores.score[1] == 14 and scores.record[1] == 8
    assert scores.score[4] == 14


def test_a_span_of_many_patients_is_common_whoever_writes_it_often():
    """Nine reports of one patient are one patient."""
    texts = [RARE] * 9 + [COMMON] * 9
    owners = ["same"] * 9 + [f"patient {i}" for i in range(9)]
    scores = TextGuard.fit(texts, owners).match([RARE, COMMON]).score
    assert scores[0] == 14 and scores[1] == 0


def test_case_and_punctuation_do_not_hide_a_copy():
    assert guard().match([RARE.upper().replace(" ", ",  ")]).score[0] == 14


def test_span_codes_are_those_of_the_words():
    words = word_codes("one two three four two three")
    codes = span_codes(words, 2)
    assert len(words) == 6 and len(codes) == 5 and codes[1] == codes[4]
    assert len(np.unique(codes)) == 4 and len(span_codes(words, 7)) == 0
