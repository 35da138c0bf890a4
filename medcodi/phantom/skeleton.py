"""What is added to the body of a phantom: airways, ribs, skeleton and devices, as solids on its
voxel grid. Legend as in volume.py.
"""

from itertools import pairwise

import numpy as np

from medcodi.phantom.anatomy import Patient
from medcodi.phantom.heart import CHEST_CENTRE_Y, SIGN, heart_shape
from medcodi.phantom.primitives import Grid, capsule, column, column_distance, ellipsoid, unit_clip


def add_airways(grid: Grid, volume: np.ndarray) -> None:
    rods = [((0.0, 1.0, 0.0), (14.0, 2.2, 0.0), 0.9)]
    rods += [((14.0, 2.2, 0.0), (17.0, 2.0, sign * 3.2), 0.65) for sign in SIGN.values()]
    for start, end, radius in rods:
        box, tube = capsule(grid, start, end, radius)
        volume[box] -= 0.95 * np.minimum(tube, 1.0)
    box, bubble = ellipsoid(grid, (29.3, -1.0, 6.5), (1.6, 3.2, 3.0))  # stomach
    volume[box] -= 0.9 * bubble


def add_ribs(grid: Grid, volume: np.ndarray, width: np.ndarray, depth: np.ndarray) -> None:
    """Ribs as bands of the chest wall: they fall from the spine to the front, and end in cartilage
    there."""
    wall, sharpness = column_distance(grid, width + 0.45, depth + 0.45, CHEST_CENTRE_Y)
    wall -= sharpness[:, None, None]
    np.abs(wall, out=wall)
    np.subtract(0.5 + 0.45 / grid.step, wall, out=wall)
    unit_clip(wall)
    period = 2.75
    outward = np.abs(grid.x)[None, :]
    fall = 4.2 * (1.0 - (grid.y / 9.0)[:, None]) - 1.2 * np.exp(
        -((outward - 4.0) ** 2) / 18.0
    )  # Y, X
    fall += np.where(grid.x > 0, 0.45, 0.0)[None, :]
    phase_z = (2 * np.pi / period * grid.z).astype(np.float32)
    phase = (2 * np.pi / period * fall).astype(np.float32)
    bands = (
        np.cos(phase_z)[:, None, None] * np.cos(phase)[None]
        + np.sin(phase_z)[:, None, None] * np.sin(phase)[None]
    )
    bands *= 1.8
    bands += 0.15
    unit_clip(bands)
    bands *= wall
    ends = np.where((grid.y < 0)[:, None], np.clip((outward - 5.0) / 2.5, 0, 1), 1.0)  # Y, X
    lowest = np.clip(
        (33.0 - grid.z[:, None, None] + 0.35 * grid.y[None, :, None]) / 2.0, 0, 1
    )  # Z, Y, 1
    bands *= (0.95 * lowest * np.clip((grid.z[:, None, None] - 5.2) / 1.0, 0, 1)).astype(np.float32)
    bands *= ends.astype(np.float32)[None]
    volume += bands


def add_skeleton(grid: Grid, volume: np.ndarray) -> None:
    """Spine with discs and processes, sternum, clavicles, shoulder blades, humeral heads."""
    columns = slice(*np.searchsorted(grid.x, [-3.5, 3.5]))
    rows = slice(*np.searchsorted(grid.y, [2.0, 14.0]))
    core = Grid(grid.z, grid.y[rows], grid.x[columns], grid.spacing, grid.voxel)
    centre = (8.3 - 0.007 * (grid.z - 19.0) ** 2).astype(np.float32)
    beat = np.cos(2 * np.pi / 2.6 * grid.z).astype(np.float32)
    vertebrae = np.clip(0.5 + 1.6 * (beat + 0.55), 0.15, 1.0)
    bone = column(core, 1.9, 1.6, centre) * (0.65 * vertebrae)[:, None, None]
    processes = np.clip(0.5 + 1.5 * beat, 0.1, 1.0)
    bone += column(core, 0.75, 1.5, centre + 3.1) * (0.5 * processes)[:, None, None]
    volume[:, rows, columns] += bone
    for part in np.linspace(0.0, 1.0, 5):
        box, solid = ellipsoid(
            grid, (8.5 + 12.0 * part, -8.1 - 1.6 * part**0.7, 0.0), (1.7, 0.6, 1.7)
        )
        volume[box] += 0.35 * solid
    for sign in SIGN.values():
        box, solid = capsule(grid, (7.8, -6.3, sign * 2.2), (5.6, -2.5, sign * 13.5), 0.62)
        volume[box] += 0.8 * np.minimum(solid, 1.0)
        box, solid = ellipsoid(grid, (11.5, 7.6, sign * 13.2), (5.0, 0.6, 2.4), tilt=sign * 0.25)
        volume[box] += 0.45 * solid
        box, solid = ellipsoid(grid, (8.0, 2.0, sign * 16.3), (2.2, 2.0, 2.0))
        volume[box] += 0.3 * solid


def add_devices(patient: Patient, grid: Grid, volume: np.ndarray) -> None:
    rods: list[
        tuple[tuple, tuple, float, float]
    ] = []  # start, end (z, y, x), radius in cm, attenuation
    if patient.pacemaker:
        box, case = ellipsoid(grid, (9.8, -7.6, 8.8), (1.9, 0.6, 2.1))
        volume[box] += 7.0 * case
        (cz, cy, cx), (rz, _, rx), _ = heart_shape(patient)
        tip = (cz + 0.55 * rz, cy, cx + 0.45 * rx)
        path = [(9.0, -7.5, 8.0), (7.6, -4.5, 3.0), (12.0, -1.0, -2.0), (18.0, -2.0, -2.4), tip]
        rods += [(a, b, 0.22, 10.0) for a, b in pairwise(path)]
    if patient.central_line:
        path = [(0.0, -2.0, -4.5), (6.0, -2.5, -3.6), (10.0, -1.5, -2.3), (16.0, -1.0, -2.2)]
        rods += [(a, b, 0.22, 8.0) for a, b in pairwise(path)]
    if patient.endotracheal_tube:
        rods += [((0.0, 1.0, x), (10.5, 1.9, x), 0.25, 7.0) for x in (-0.45, 0.45)]
    for start, end, radius, density in rods:
        box, solid = capsule(grid, start, end, radius)
        volume[box] += density * solid
