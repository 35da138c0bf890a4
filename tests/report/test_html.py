"""Pages: templates that escape, pictures."""

import base64
import io

import jinja2
import numpy as np
import pytest
from PIL import Image

from medcodi.report.html import png_url, render


def test_templates_escape_and_miss_nothing():
    page = render("base.html", title="<b>'x'</b>")
    assert "<b>'x'" not in page and "&lt;b&gt;&#39;x&#39;" in page
    with pytest.raises(jinja2.UndefinedError, match="title"):
        render("base.html")


def test_png_url():
    image = np.array([[0.0, 1.2], [0.5, -1.0]])
    pixels = Image.open(io.BytesIO(base64.b64decode(png_url(image).partition(",")[2])))
    assert np.asarray(pixels).tolist() == [[0, 255], [128, 0]]
    small = Image.open(
        io.BytesIO(base64.b64decode(png_url(np.ones((90, 60)), 30).partition(",")[2]))
    )
    assert small.size == (20, 30)
