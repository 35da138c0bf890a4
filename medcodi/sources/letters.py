"""Candidates for burned-in text: rows of small bright shapes near the border of a radiograph. They
are listed, not read: an L or R alone is none, a name or a date is a row of many.

Legend: H W pixels.
"""

import numpy as np
from scipy.ndimage import find_objects, label, uniform_filter

LONGEST = 1024  # pixels of the longer side of what is searched
BORDER = 0.25  # of each side: where text stands
BRIGHT, ABOVE = 0.6, 0.15  # of the brightest grey; of it, above the mean around
MIN_HEIGHT, MAX_HEIGHT = 6, 0.06  # pixels; share of the height
MIN_LETTERS = 4  # in a row


def text_boxes(image: np.ndarray) -> list[tuple[float, float, float, float]]:
    """(top, left, bottom, right), shares of height and width, of rows of at least four shapes of
    about one height, side by side, in `image` (H, W) in [0, 1]."""
    step = max(1, -(-max(image.shape) // LONGEST))
    small = image[::step, ::step]
    height, width = small.shape
    top = float(small.max())
    around = uniform_filter(small.astype(np.float32), max(9, round(MAX_HEIGHT * height)))
    marks, _ = label((small >= BRIGHT * top) & (small - around >= ABOVE * top))
    shapes = [box for box in find_objects(marks) if _is_letter(box, small.shape)]
    return [
        (
            min(box[0].start for box in row) / height,
            min(box[1].start for box in row) / width,
            max(box[0].stop for box in row) / height,
            max(box[1].stop for box in row) / width,
        )
        for row in _rows(shapes)
    ]


def _is_letter(box: tuple[slice, slice], shape: tuple[int, int]) -> bool:
    high, wide = (side.stop - side.start for side in box)
    if not MIN_HEIGHT <= high <= MAX_HEIGHT * shape[0] or not 0.1 * high <= wide <= 1.6 * high:
        return False
    centre = [(side.start + side.stop) / 2 / total for side, total in zip(box, shape, strict=True)]
    return any(not BORDER <= place <= 1 - BORDER for place in centre)


def _rows(shapes: list[tuple[slice, slice]]) -> list[list[tuple[slice, slice]]]:
    """Shapes that stand in a row: each to the right of the one before, at most two heights away, of
    a height within a third of it."""
    left = sorted(shapes, key=lambda box: box[1].start)
    rows = []
    while left:
        row = [left.pop(0)]
        for box in list(left):
            if _follows(row[-1], box):
                row.append(box)
                left.remove(box)
        if len(row) >= MIN_LETTERS:
            rows.append(row)
    return rows


def _follows(last: tuple[slice, slice], box: tuple[slice, slice]) -> bool:
    one, other = (each[0].stop - each[0].start for each in (last, box))
    gap = box[1].start - last[1].stop
    level = abs((box[0].start + box[0].stop) - (last[0].start + last[0].stop)) / 2
    return -0.2 * one <= gap <= 2 * one and level <= one / 2 and 2 / 3 <= other / one <= 3 / 2


def text_note(image: np.ndarray) -> list[str]:
    """What to list of `image`; empty where no text seems to stand."""
    boxes = text_boxes(image)
    if not boxes:
        return []
    top, left, bottom, right = boxes[0]
    where = f"{top:.0%} to {bottom:.0%} down, {left:.0%} to {right:.0%} across"
    return [f"{len(boxes)} rows of shapes like letters near the border, the first {where}"]
