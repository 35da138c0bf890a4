"""Self-contained HTML pages from the templates beside this file. What a template is given is
escaped; undefined names are errors."""

import base64
import functools
import io
from typing import Any

import jinja2
import numpy as np
from PIL import Image


@functools.cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("medcodi.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(template: str, **values: Any) -> str:
    """The page of `templates/TEMPLATE`."""
    return _environment().get_template(template).render(values)


def png_url(image: np.ndarray, side: int | None = None) -> str:
    """data: URL of an 8-bit PNG of (H, W) in [0, 1]; at most `side` pixels high and wide."""
    picture = Image.fromarray(np.round(np.clip(image, 0, 1) * 255).astype(np.uint8))
    if side is not None:
        picture.thumbnail((side, side))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return data_url(buffer.getvalue())


def data_url(png: bytes) -> str:
    """data: URL of the bytes of a PNG file."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
