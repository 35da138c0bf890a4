"""The tokenizer of reports."""

import logging

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medcodi.autoencoders.tokenizer import ReportTokenizer
from tests.autoencoders.parts import REPORTS, build


def test_truncation_is_counted_and_warned_of_once(tokenizer, caplog):
    vae = build(tokenizer, max_length=8)
    with caplog.at_level(logging.WARNING):
        vae.encode([REPORTS[0], "No.", REPORTS[2]])
    assert vae.truncated == 2
    assert sum("max_length" in record.message for record in caplog.records) == 1


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=60))
def test_any_text_round_trips(tokenizer, text):
    text = text.encode("utf-8", "ignore").decode()  # lone surrogates are no text
    token_ids, mask = ReportTokenizer(tokenizer.backend, max_length=400)([text, "No pneumothorax."])
    assert tokenizer.decode(token_ids) == [text, "No pneumothorax."]
    assert mask.sum(1)[0] >= 2


def test_a_word_that_began_no_report_is_the_word_inside_a_report():
    reports = ["The heart is normal. Large left effusion.", "The lungs are clear. Large mass."] * 3
    tokenizer = ReportTokenizer.train(reports, vocab_size=400)
    inside = tokenizer(["The heart is normal. Large left effusion."])[0][0].tolist()
    alone = tokenizer(["Large left effusion."])[0][0].tolist()
    assert alone[1:] == inside[-len(alone) + 1 :]
    assert tokenizer.decode(torch.tensor([alone])) == ["Large left effusion."]
    # without [BOS] the words go on a text: their space stays
    assert tokenizer.decode(torch.tensor([alone[1:]])) == [" Large left effusion."]
    begun = tokenizer(["The heart is normal."])[0]
    assert tokenizer.backend.convert_ids_to_tokens(begun[0, 1].item()) == "The"


def test_special_tokens_written_in_a_text_are_text(tokenizer):
    assert tokenizer.decode(tokenizer(["see [PAD] [EOS] here"])[0]) == ["see [PAD] [EOS] here"]


def test_tokenizer_file_round_trips(tokenizer, tmp_path):
    file = tokenizer.save(tmp_path)
    assert file.name == "tokenizer.json"
    for again in (ReportTokenizer.load(file), ReportTokenizer.load(tmp_path)):
        assert torch.equal(again(REPORTS)[0], tokenizer(REPORTS)[0])
    tokenizer.backend.save_pretrained(tmp_path / "folder")
    assert torch.equal(ReportTokenizer.load(tmp_path / "folder")(REPORTS)[0], tokenizer(REPORTS)[0])
    with pytest.raises(ValueError, match="no tokenizer at"):
        ReportTokenizer.load(tmp_path / "nowhere")


def test_words_that_training_never_had_are_named():
    reports = ["The heart is normal. Large left effusion.", "No pneumothorax. Large mass."] * 3
    tokenizer = ReportTokenizer.train(reports, vocab_size=400)
    assert tokenizer.spelled("Large left effusion. The heart is normal.") == []
    assert tokenizer.spelled("LARGE left effusion, LARGE mass.") == ["LARGE"]
    assert tokenizer.spelled("Großer Erguss.") == ["Großer", "Erguss"]
    # one of many is no reason to warn, and what has no words has none
    assert tokenizer.spelled("Large left mass. No pneumothorax, no effusion, trace.") == []
    assert tokenizer.spelled("12 / 5") == []
