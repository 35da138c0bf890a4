"""Contact sheets: rows of previews (images as float arrays, text as strings) in one PNG."""

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

LABEL_WIDTH, MARGIN = 110, 4


def contact_sheet(
    rows: Sequence[Sequence[Any]], labels: Sequence[str], cell: int = 128
) -> Image.Image:
    """`rows[i][j]` is a (H, W) float array in [0, 1] or a str; one label a row. Returns an RGB
    image."""
    columns = max(len(row) for row in rows)
    heights = [
        cell if any(isinstance(v, np.ndarray) for v in row) else int(cell * 0.9) for row in rows
    ]
    sheet = Image.new(
        "RGB", (LABEL_WIDTH + columns * (cell + MARGIN), sum(heights) + MARGIN * len(rows)), "white"
    )
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=10)
    top = 0
    for row, label, height in zip(rows, labels, heights, strict=True):
        for i, line in enumerate(textwrap.wrap(label, 18)):
            draw.text((4, top + 4 + 12 * i), line, fill="black", font=font)
        for j, value in enumerate(row):
            left = LABEL_WIDTH + j * (cell + MARGIN)
            if isinstance(value, np.ndarray):
                pixels = Image.fromarray((np.clip(value, 0, 1) * 255).astype(np.uint8))
                sheet.paste(pixels.resize((cell, cell), Image.Resampling.BICUBIC), (left, top))
            else:
                for i, line in enumerate(textwrap.wrap(str(value), 24)[: height // 10]):
                    draw.text(
                        (left, top + 10 * i),
                        line,
                        fill="black",
                        font=ImageFont.load_default(size=8),
                    )
        top += height + MARGIN
    return sheet
