"""Frontal and lateral radiographs of a patient: two projections of one attenuation volume.

Legend: Z, Y, X voxels of the volume; H, W image. Radiological convention: the patient's right is on
the left of the frontal image; on the lateral image the patient faces left.
"""

import numpy as np

from medcodi.phantom.anatomy import Patient
from medcodi.phantom.primitives import Grid
from medcodi.phantom.volume import attenuation

# Display windows in cm of soft tissue, fixed: the same tissue has the same brightness in every
# image.
FRONTAL_WINDOW = (4.0, 22.5)
LATERAL_WINDOW = (6.0, 31.5)


def render(patient: Patient, size: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Frontal and lateral image of a patient, each float32 (size, size) in [0, 1]."""
    frontal, lateral = project(patient, size)
    return display(frontal, FRONTAL_WINDOW), display(lateral, LATERAL_WINDOW)


def project(patient: Patient, size: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Line integrals of attenuation, in cm of soft tissue: along y (H, W = Z, X) and along x (H, W
    = Z, Y)."""
    grid = Grid.of(size, patient.body_size, patient.depth, patient.offset_x, patient.offset_z)
    volume = attenuation(patient, grid)  # Z, Y, X
    return volume.sum(axis=1) * grid.voxel[1], volume.sum(axis=2) * grid.voxel[2]


def display(path: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    """Line integrals -> brightness in [0, 1].

    By Beer-Lambert a film is exposed by exp(-path); its brightness is about linear in log exposure,
    hence in `path`, with a toe and a shoulder (a logistic curve over the window).
    """
    low, high = window
    position = (path - low) / (high - low)
    toe, shoulder = 1 / (1 + np.exp(2.4)), 1 / (1 + np.exp(-2.4))
    curve = 1 / (1 + np.exp(-4.8 * (position - 0.5)))
    return np.clip((curve - toe) / (shoulder - toe), 0.0, 1.0).astype(np.float32)
