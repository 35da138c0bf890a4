"""The frame of the canonical chest and the heart in it. Legend as in volume.py."""

import numpy as np

from medcodi.phantom.anatomy import Patient

CHEST_HALF_WIDTH, CHEST_HALF_DEPTH, CHEST_CENTRE_Y = 13.5, 9.2, 0.3
DOME = {"right": 24.4, "left": 25.4}
SIGN = {"right": -1.0, "left": 1.0}


def heart_shape(
    patient: Patient,
) -> tuple[tuple[float, float, float], tuple[float, float, float], float]:
    """Centre (z, y, x), radii (z, y, x) in cm and tilt of the heart, whose shadow is ctr times the
    chest width."""
    width = 2 * CHEST_HALF_WIDTH * patient.cardiothoracic_ratio
    tilt, flatness = 0.6, 0.78
    along = width / 2 / float(np.hypot(np.cos(tilt), flatness * np.sin(tilt)))
    across = flatness * along
    reach_z = float(np.hypot(along * np.sin(tilt), across * np.cos(tilt)))
    bottom = DOME["left"] + 1.2 + patient.inspiration
    return (
        (bottom - reach_z, -3.6 + 0.25 * width / 2, 0.16 * width),
        (across, 0.36 * width, along),
        tilt,
    )
