"""Parts that a call keeps: exactly, alone and jointly, with every prompt, whatever the batch."""

import numpy as np
import pytest
import torch
from PIL import Image

from medcodi.pipeline import MedCoDiPipeline
from tests.tiny import SIZE

PICTURE = (np.arange(SIZE * SIZE).reshape(SIZE, SIZE) * 7 % 256).astype(np.uint8)
OTHER = PICTURE[::-1].copy()
MASK = np.zeros((SIZE, SIZE), np.uint8)
MASK[4:12, 6:14] = 255
OUTSIDE = MASK == 0


@pytest.fixture(scope="module")
def pipe(tiny_run):
    loaded = MedCoDiPipeline.from_pretrained(tiny_run.run_dir / "pipeline")
    loaded.set_progress_bar_config(disable=True)
    return loaded


def call(pipe, prompts=None, outputs=("frontal",), **settings):
    settings = {"num_inference_steps": 3, "seeds": [7], "batch_size": 1} | settings
    return pipe(prompts, list(outputs), **settings)


@pytest.mark.parametrize(
    ("prompts", "outputs"),
    [
        (None, ["frontal"]),
        ("Large left effusion.", ["frontal", "lateral", "tabular"]),
        ({"lateral": PICTURE, "tabular": {"heart_rate": 90}}, ["frontal", "report"]),
    ],
)
@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_pixels_outside_the_mask_are_those_of_the_image(pipe, prompts, outputs, scale):
    out = call(pipe, prompts, outputs, keep={"frontal": (PICTURE, MASK)}, guidance_scale=scale)
    shown = np.asarray(out.frontal[0])
    assert np.array_equal(shown[OUTSIDE], PICTURE[OUTSIDE])
    exact = PICTURE.astype(np.float32) / 255
    assert np.array_equal(out.stored["frontal"][0][OUTSIDE], exact[OUTSIDE])
    assert (shown[~OUTSIDE] != PICTURE[~OUTSIDE]).any()
    assert list(out) == [name for name in pipe.modalities if name in outputs]


def test_a_sample_with_kept_parts_regenerates_from_its_seed(pipe):
    """Each row has its own part, or none."""
    keep = {"frontal": [(PICTURE, MASK), None, (OTHER, MASK)]}
    texts = ["Edema.", "A nodule.", "Clear."]
    outputs = ["frontal", "tabular"]
    together = call(pipe, texts, outputs, keep=keep, seeds=[1, 2, 3], batch_size=3)
    for row, part in enumerate(keep["frontal"]):
        one = {"frontal": part} if part else None
        alone = call(pipe, texts[row], outputs, keep=one, seeds=[together.seeds[row]])
        for name in outputs:
            found, expected = together.latents[name][row], alone.latents[name][0]
            torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
    plain = call(pipe, texts[1], outputs, seeds=[2])
    assert torch.equal(plain.latents["frontal"], alone_latents(pipe, texts[1], outputs))


def alone_latents(pipe, text, outputs):
    """A row that keeps nothing, in a call that keeps: the same to the bit."""
    kept = call(pipe, [text] * 2, outputs, keep={"frontal": [None, (OTHER, MASK)]}, seeds=[2, 3])
    return kept.latents["frontal"][:1]


def test_kept_rows_are_the_rows_of_the_call(pipe):
    out = call(pipe, keep={"frontal": [(PICTURE, MASK), (OTHER, MASK)]}, seeds=[1, 2])
    for shown, picture in zip(out.frontal, (PICTURE, OTHER), strict=True):
        assert np.array_equal(np.asarray(shown)[OUTSIDE], picture[OUTSIDE])
    out = call(
        pipe,
        ["a", "b"],
        keep={"frontal": (PICTURE, MASK)},
        seeds=[1, 2, 3, 4],
        num_images_per_prompt=2,
    )
    assert len(out) == 4
    with pytest.raises(ValueError, match="prompts and kept parts must have equal lengths"):
        call(pipe, ["a", "b", "c"], keep={"frontal": [(PICTURE, MASK)] * 2})


def test_a_strength_varies_an_image_the_more_the_higher(pipe):
    autoencoder = pipe.autoencoders["radiograph"]
    given = autoencoder.encode(torch.from_numpy(PICTURE.astype(np.float32))[None, None] / 127.5 - 1)

    def distance(strength):
        settings = {"keep": {"frontal": PICTURE}, "strength": {"frontal": strength}}
        out = call(pipe, num_inference_steps=20, **settings)
        return float((out.latents["frontal"] - given).square().mean())

    near, middle, far = map(distance, (0.1, 0.4, 0.8))
    assert 0 < near < middle < far
    with pytest.raises(ValueError, match=r"strength 0\.0005 of 'frontal' leaves no step of 3"):
        call(pipe, keep={"frontal": PICTURE}, strength=0.0005)


def test_several_images_are_varied_as_they_are_prompts(pipe):
    several = np.stack([PICTURE, 255 - PICTURE])[:, None].astype(np.float32) / 255
    several = torch.from_numpy(several)  # (2, 1, H, W)
    settings = {"strength": 0.4, "num_inference_steps": 4}
    out = call(pipe, keep={"frontal": several}, seeds=[1, 2], **settings)
    first = call(pipe, keep={"frontal": several[:1]}, seeds=[1], **settings)
    assert len(out) == 2
    assert torch.allclose(out.latents["frontal"][0], first.latents["frontal"][0], atol=1e-4)


def test_a_strength_inside_a_mask(pipe):
    keep = {"frontal": (PICTURE, MASK)}
    out = call(pipe, keep=keep, strength={"frontal": 0.4}, num_inference_steps=10)
    assert np.array_equal(np.asarray(out.frontal[0])[OUTSIDE], PICTURE[OUTSIDE])
    fresh = call(pipe, keep=keep, num_inference_steps=10)
    assert not torch.allclose(out.latents["frontal"], fresh.latents["frontal"], atol=1e-2)


def test_a_large_image_and_its_mask_are_resized_alike(pipe):
    big, mask = (np.kron(x, np.ones((3, 3), np.uint8)) for x in (PICTURE, MASK))
    mask[20, 20] = 255  # one pixel of a kept cell of 3 x 3
    out = call(pipe, keep={"frontal": (Image.fromarray(big), Image.fromarray(mask))})
    (part,) = pipe.family.modality("frontal").parts.from_user((big, mask), False)
    assert np.array_equal(
        part.gap, (MASK > 0) | (np.arange(SIZE * SIZE) == 6 * SIZE + 6).reshape(SIZE, SIZE)
    )
    assert np.array_equal(out.stored["frontal"][0][~part.gap], part.value[~part.gap])


def test_files_of_an_image_and_a_mask(pipe, tmp_path):
    Image.fromarray(PICTURE).save(tmp_path / "image.png")
    Image.fromarray(MASK).save(tmp_path / "mask.png")
    paths = (tmp_path / "image.png", str(tmp_path / "mask.png"))
    out = call(pipe, keep={"frontal": paths})
    assert np.array_equal(np.asarray(out.frontal[0])[OUTSIDE], PICTURE[OUTSIDE])


SMALL = np.zeros((8, 8), np.uint8)
ODD = [
    ({"keep": 5}, "keep must be {name: part or list of parts}, got int"),
    ({"keep": {"frontl": (PICTURE, MASK)}}, "unknown key 'frontl' .* did you mean 'frontal'"),
    ({"keep": {"lateral": (PICTURE, MASK)}}, "unknown key 'lateral' in keep .outputs of this call"),
    ({"keep": {"frontal": PICTURE}}, "'frontal': nothing is left to generate: keep .image, mask."),
    ({"keep": {"frontal": (PICTURE, SMALL)}}, "size of its image, 16 x 16, got 8 x 8"),
    ({"keep": {"frontal": (PICTURE, 0 * MASK)}}, "the mask is black: nothing is left to generate"),
    ({"keep": {"frontal": (PICTURE, 0 * MASK + 255)}}, "white everywhere: nothing is kept"),
    ({"keep": {"frontal": (PICTURE, MASK, MASK)}}, "expected .image, mask., got a tuple of 3"),
    ({"keep": {"frontal": (PICTURE, "no.png")}}, "no image file at 'no.png'"),
    ({"keep": {"frontal": (PICTURE, 3)}}, "expected a PIL image.*got int"),
    ({"strength": 0.5}, "strength varies what is kept, but nothing is"),
    ({"keep": {"frontal": PICTURE}, "strength": 0}, r"strength of 'frontal' must lie in \(0, 1\]"),
    ({"keep": {"frontal": PICTURE}, "strength": 1.5}, r"must lie in \[0, 1\], got 1.5"),
    (
        {"keep": {"frontal": PICTURE}, "strength": {"lateral": 0.5}},
        "unknown key 'lateral' in streng",
    ),
    ({"keep": {"frontal": PICTURE}, "strength": "a"}, "strength of 'frontal' must be a finite"),
]


@pytest.mark.parametrize(("settings", "match"), ODD, ids=range(len(ODD)))
def test_parts_that_cannot_be_kept(pipe, settings, match):
    with pytest.raises(ValueError, match=match):
        call(pipe, **settings)


def test_a_prompt_cannot_be_kept(pipe):
    with pytest.raises(ValueError, match="'frontal' is kept and a prompt"):
        pipe({"frontal": PICTURE}, keep={"frontal": (PICTURE, MASK)})


ROW = {"heart_rate": 131, "last_status": "deceased", "oral_temperature": 38.7}
REPORT = "Clear. ..."


def test_columns_and_sentences_are_kept_jointly(pipe):
    """In a model that was trained for three steps: exact because of how values are put together."""
    keep = {"tabular": [ROW, None], "frontal": (PICTURE, MASK)}
    out = call(pipe, {"report": ["a", "b"]}, ["frontal", "tabular"], keep=keep, seeds=[1, 2])
    assert {name: out.tabular[name][0] for name in ROW} == ROW
    assert all(np.array_equal(np.asarray(x)[OUTSIDE], PICTURE[OUTSIDE]) for x in out.frontal)
    alone = call(pipe, "b", ["frontal", "tabular"], keep={"frontal": (PICTURE, MASK)}, seeds=[2])
    assert torch.equal(alone.latents["tabular"], out.latents["tabular"][1:])  # kept nothing
    scaled = call(pipe, "a", ["tabular"], keep={"tabular": ROW}, guidance_scale=3.0)
    assert {name: scaled.tabular[name][0] for name in ROW} == ROW


def test_kept_columns_move_the_latents(pipe):
    """That they lead to the true conditional, tests/diffusion/test_keep.py says."""
    kept, plain = (
        call(pipe, None, ["tabular"], keep=keep).latents["tabular"]
        for keep in ({"tabular": ROW}, None)
    )
    assert not torch.allclose(kept, plain, atol=1e-3)


def test_a_report_is_filled_in(pipe):
    out = call(pipe, {"frontal": PICTURE}, ["report", "tabular"], keep={"report": REPORT})
    assert out.report[0].startswith("Clear.") and len(out.report[0]) > len("Clear.")
    varied = call(pipe, None, ["report"], keep={"report": "Clear."}, strength=0.5)
    assert len(varied.report) == 1
    with pytest.raises(ValueError, match="'tabular': row 0 gives every column"):
        row = call(pipe, None, ["tabular"]).stored["tabular"][0]
        full = {
            c.name: row[c.name] or (c.categories or [c.minimum])[0]
            for c in pipe.family.modality("tabular").schema.columns
        }
        call(pipe, None, ["tabular"], keep={"tabular": full})
