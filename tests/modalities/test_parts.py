"""Parts of rows and reports: what they are, what they cost, and that they come back exactly."""

from pathlib import Path

import pandas as pd
import pytest
import torch

from medcodi.modalities import ModelFamily
from medcodi.modalities.parts import Parts
from tests.networks import normal, tiny_assets
from tests.tiny import tiny_recipe

ROW = {"heart_rate": 99, "last_status": "deceased", "oral_temperature": 37.123456}
TEXT = "The lungs are clear. ... No pneumothorax."


@pytest.fixture(scope="module")
def family():
    torch.manual_seed(0)
    longer = {"report": {"autoencoder": {"max_length": 64}}}
    recipe = tiny_recipe(Path("no data"), modalities=longer)
    return ModelFamily(recipe, tiny_assets(recipe))


@pytest.fixture(scope="module")
def table(family):
    return family.modality("tabular")


@pytest.fixture(scope="module")
def report(family):
    return family.modality("report")


def test_columns_of_a_row(table):
    (part,) = table.parts.from_user(ROW, False)
    assert part.value == ROW and set(part.gap) == set(table.schema.names) - set(ROW)
    frame = pd.DataFrame([ROW, {"heart_rate": 98.0}])
    second = table.parts.from_user(frame, False)[1]
    assert second.value == {"heart_rate": 98.0}
    assert table.parts.from_user([None, ROW], False)[0] is None
    whole = table.parts.lacking({"heart_rate": 99, "last_status": None})
    assert whole.value == {"heart_rate": 99} and whole.complete and len(whole.gap) == 12
    assert table.parts.lacking(None).value == {}


def test_a_whole_row_leaves_nothing(table):
    row = table.schema.decode(torch.zeros(1, 13))[0]
    assert table.parts.lacking(row) is None
    with pytest.raises(ValueError, match="row 0 gives every column: nothing is left to generate"):
        table.parts.from_user(row, False)
    assert table.parts.from_user(row, True)[0].gap is None
    with pytest.raises(ValueError, match=r"unknown key 'hart_rate' .* did you mean 'heart_rate'"):
        table.parts.from_user({"hart_rate": 9}, False)


def test_kinds_without_parts_or_masks(family, table):
    with pytest.raises(ValueError, match="'tabular': a tabular has no mask"):
        table.parts.parse("heart_rate=9", "mask.png", False)
    with pytest.raises(ValueError, match="a kept tabular needs a strength below 1"):
        Parts(table).from_user(ROW, False)


def test_columns_come_back_to_the_value_and_cells_of_a_completion_are_there(table):
    """Also numbers outside of what the decoder gives."""
    autoencoder = table.build_autoencoder().eval()
    odd = {"heart_rate": 12345.0, "oral_temperature": 37.123456789012}
    parts = [*table.parts.from_user([odd, None], False), table.parts.lacking(ROW)]
    latents = normal(3, *autoencoder.latent_shape)
    with torch.no_grad():
        autoencoder.decoder[-1].bias[-13:] = 5.0  # nearly every cell is missing
    generators = [torch.Generator().manual_seed(i) for i in range(3)]
    rows = table.parts.decode(autoencoder, latents, parts, generators)
    assert {k: rows[0][k] for k in odd} == odd and list(rows[0]) == table.schema.names
    assert sum(value is None for value in rows[1].values()) > 6
    assert None not in rows[2].values() and {k: rows[2][k] for k in ROW} == ROW


def test_given_columns_move_the_latents_and_nothing_given_does_not(table):
    autoencoder = table.build_autoencoder().eval()
    row = table.schema.decode(autoencoder.decode(normal(1, *autoencoder.latent_shape)))[0]
    said = {k: v for k, v in row.items() if v is not None}
    said.pop("heart_rate", None)
    parts = table.parts.from_user([said, ROW], False)
    kept = table.parts.kept(autoencoder, parts, 1.0, 8)
    latents = normal(1, *autoencoder.latent_shape).expand(2, -1, -1)
    move = kept.move(latents, kept.rows)
    # what the latents say already changes nothing, to rounding of the decoded numbers
    assert move[0].abs().max() < 0.1 * move[1].abs().max()
    torch.testing.assert_close(kept.move(latents[:1], kept.rows[1:]), move[1:])
    assert kept.moved.all() and not kept.given.any()


def test_sentences_around_a_gap(report):
    (part,) = report.parts.from_user("Heart normal. ... No edema.", False)
    assert part.gap == ("Heart normal.", "No edema.")
    (part,) = report.parts.from_user("\N{HORIZONTAL ELLIPSIS} No edema.", False)
    assert part.gap == ("", "No edema.")
    assert report.parts.from_user("No edema.", True)[0].gap is None


@pytest.mark.parametrize(
    ("text", "varied", "match"),
    [
        (
            "The lungs are clear.",
            False,
            "nothing is left to generate: expected a text with one gap",
        ),
        ("A. ... B. ... C.", False, "there are several gaps"),
        ("normal....", False, "nothing is left to generate"),
        (" ... ", False, "nothing is kept beside the gap"),
        ("A. ... B.", True, "leave out the gap or the strength"),
        ("word " * 30 + "...", False, r"the kept text has \d+ tokens, of 64 .* the gap needs 8"),
        (3, False, "expected a non-empty text, got 3"),
    ],
)
def test_texts_that_are_no_part(report, text, varied, match):
    with pytest.raises(ValueError, match=match):
        report.parts.from_user(text, varied)


def test_sentences_come_back_to_the_word(report):
    autoencoder = report.build_autoencoder().eval()
    gaps = ["Clear. ...", "... Clear.", "No. ... Clear."]
    parts = [*report.parts.from_user(gaps, False), None]
    latents = normal(4, *autoencoder.latent_shape)
    texts = report.parts.decode(autoencoder, latents, parts, [torch.Generator()] * 4)
    for part, text in zip(parts[:3], texts, strict=False):
        before, after = part.gap
        assert text.startswith(before) and text.endswith(after)
    assert len(texts[0]) > len("Clear.")  # at least one more token
    alone = report.parts.decode(autoencoder, latents[1:2], parts[1:2], [torch.Generator()])
    assert alone == texts[1:2]
    kept = report.parts.kept(autoencoder, parts[:3], 1.0, 8)
    assert kept.move(latents[:3], kept.rows)[0].abs().max() > 0


def test_a_prefix_is_gone_on_with(report):
    """Greedy continuations of a text's own beginning are the text."""
    autoencoder = report.build_autoencoder().eval()
    latents = normal(3, *autoencoder.latent_shape)
    whole = autoencoder.decode(latents)
    starts = [text[: len(text) // 2].rstrip("\ufffd") for text in whole]
    going_on = autoencoder.continuations(latents, ["", "", ""])
    assert all(text == rest for text, rest in zip(whole, going_on, strict=True) if text)
    assert len(autoencoder.continuations(latents, starts)) == 3
