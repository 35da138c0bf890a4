"""What becomes of an image whose greys are suspect (black, white, flat, of one value), in every
source of images."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from medcodi.data.greys import GreyLimits, Greys
from medcodi.sources.archive.options import RejectedError
from medcodi.sources.images import with_look
from medcodi.sources.letters import text_note

MADE_GREY = "colour made grey"  # a count of the printed report
MAX_RATIO = 4  # of the sides of an image


@dataclass
class PlainImage:
    """`image` (H, W) in [0, 1] in its look; `greys`: its figures; `notes`: why it is a suspect."""

    image: np.ndarray
    greys: Greys
    notes: list[str]


def plain_image(
    image: np.ndarray, look: str, policy: str, limits: GreyLimits, coloured: float = 0.0
) -> PlainImage:
    """A plain image (H, W) in [0, 1] (PNG, JPEG), looked at as one of a DICOM file; `coloured`:
    share of its pixels that had a colour. Raises RejectedError for one that is not to be used."""
    image = with_look(image, look)
    greys = replace(Greys.of_image(image), coloured=coloured)
    notes = judged(greys, limits, policy, shape_note(image.shape))
    return PlainImage(image, greys, notes + (text_note(image) if policy != "accept" else []))


def shape_note(shape: tuple[int, ...]) -> list[str]:
    """What is told of an image (H, W) that is a strip: no radiograph of a chest is one."""
    height, width = shape
    if max(shape) <= MAX_RATIO * min(shape):
        return []
    return [f"{width} x {height} pixels, one side over {MAX_RATIO} times the other"]


def judged(greys: Greys, limits: GreyLimits, policy: str, others: Sequence[str] = ()) -> list[str]:
    """Why an image with these figures is a suspect: `others`, and what lies outside of `limits`;
    nothing where suspects are accepted. Raises RejectedError for one that is not to be used."""
    notes = [*others, *limits.reasons(greys)]
    if policy == "accept":
        return []
    if greys.is_one_grey:
        raise RejectedError("the greys hold nothing: every pixel is shown alike", notes)
    if policy == "refuse" and notes:
        raise RejectedError("the greys are suspect: " + "; ".join(notes))
    return notes
