"""Burned-in text: rows of letters near the border are listed; markers and anatomy are not."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from medcodi.sources.archive.options import DicomOptions
from medcodi.sources.dicom.pixels import prepared_image
from medcodi.sources.letters import text_boxes, text_note
from tests.sources.dicom_files import image

SIDE = 500


def chest() -> np.ndarray:
    """A smooth picture, .1 to .8."""
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    return 0.45 + 0.35 * np.sin(6 * x) * np.cos(5 * y)


def written(text, place, size=14) -> np.ndarray:
    picture = Image.fromarray((chest() * 255).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    draw.text(place, text, 255, font=ImageFont.load_default(size))
    return np.asarray(picture, np.float64) / 255


@pytest.mark.parametrize(
    "text, place",
    [
        ("DOE JOHN", (10, 10)),
        ("12.03.1950", (330, 12)),
        ("HOSPITAL 7", (200, 470)),
        ("ABCDE", (8, 240)),
    ],
)
def test_text_near_the_border_is_found(text, place):
    (box, *_) = text_boxes(written(text, place, 20))
    top, left, bottom, right = (round(share * SIDE) for share in box)
    assert abs(left - place[0]) < 12 and 0 <= top - place[1] < 12
    assert 8 < bottom - top < 30 and right - left > 40
    assert "like letters near the border" in text_note(written(text, place, 20))[0]


@pytest.mark.parametrize(
    "picture",
    [
        chest(),
        written("L", (20, 20), 24),
        written("AP", (450, 20), 20),
        written("NAME", (230, 240)),
    ],
)
def test_markers_and_anatomy_are_no_text(picture):
    assert text_note(picture) == []


def test_a_dicom_file_with_text_is_a_suspect():
    pixels = (written("DOE JOHN", (10, 10), 20) * 4095).astype(np.uint16)
    options = DicomOptions("a", "b", "c", size=64)
    assert any("letters" in note for note in prepared_image(image(pixels), options, 1.0).notes)
    plain = image((chest() * 4095).astype(np.uint16))
    plain.add_new(0x60003000, "OW", bytes(SIDE * SIDE // 8))
    found = prepared_image(plain, options, 1.0)
    assert found.notes == [] and found.flags == ["overlay not drawn"]
