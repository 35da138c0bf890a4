"""The attenuation volume of one patient: normal anatomy, findings and devices as solids on a voxel
grid.

Legend: volumes (Z, Y, X): downwards, backwards, to the patient's left. Lengths in cm of the
canonical body, whose inner chest reaches from z = 5 (apex) to about z = 30 and is 27 cm wide.
Attenuation is relative to soft tissue = 1. Air is kept in its own volume, a fraction of the tissue
that is missing; findings of the lung take that air away.
"""

import numpy as np

from medcodi.phantom.anatomy import NONE, SIDES, Patient
from medcodi.phantom.heart import (
    CHEST_CENTRE_Y,
    CHEST_HALF_DEPTH,
    CHEST_HALF_WIDTH,
    DOME,
    SIGN,
    heart_shape,
)
from medcodi.phantom.primitives import (
    Grid,
    above,
    capsule,
    column,
    ellipsoid,
)
from medcodi.phantom.skeleton import add_airways, add_devices, add_ribs, add_skeleton

LUNG_AIR = 0.83
CONSOLIDATION_CENTRES = {  # (z, y, x)
    "right_upper": (11.5, -0.5, -6.3),
    "right_middle": (21.0, -4.5, -6.3),
    "right_lower": (23.5, 4.5, -8.8),
    "left_upper": (12.0, -1.0, 6.6),
    "left_lower": (23.0, 4.0, 10.0),
    "retrocardiac": (22.0, 5.4, 2.8),
}
NODULE_CENTRES = {
    "right_upper": (11.0, 2.0, -7.5),
    "right_lower": (20.5, 3.0, -9.5),
    "left_upper": (11.0, 2.0, 7.5),
    "left_lower": (19.5, 3.0, 11.0),
}


def attenuation(patient: Patient, grid: Grid) -> np.ndarray:
    """Volume (Z, Y, X) float32 of relative attenuation, soft tissue 1, air 0, bone about 1.5, metal
    up to 6."""
    rng = np.random.default_rng(patient.texture_seed)
    volume = _body(patient, grid)
    width, depth = _chest_profile(grid)
    lung = _lungs(patient, grid, width, depth)
    air = lung * LUNG_AIR
    _vessels(patient, grid, air, rng)
    _lung_findings(patient, grid, air, rng)
    _pneumothorax(patient, grid, air, lung)
    _effusions(patient, grid, air)
    volume -= air
    add_airways(grid, volume)
    add_ribs(grid, volume, width, depth)
    add_skeleton(grid, volume)
    add_devices(patient, grid, volume)
    np.maximum(volume, 0.0, out=volume)
    return volume


def dome_level(patient: Patient, side: str) -> float:
    """The z of the top of a hemidiaphragm; atelectasis lifts it."""
    return DOME[side] + patient.inspiration - 1.8 * (patient.atelectasis == side)


def _body(patient: Patient, grid: Grid) -> np.ndarray:
    fat = 2.2 * patient.habitus
    half_width = np.interp(
        grid.z, [0, 2.5, 5, 8, 12, 16, 24, 40], [5.5, 6.0, 12, 17.5, 17.5, 16.4, 16, 16.5]
    )
    half_depth = np.interp(grid.z, [0, 3, 8, 14, 24, 40], [5.5, 6.0, 9.0, 11, 11.6, 11.6])
    swell = np.interp(grid.z, [0, 4, 12, 30, 40], [0.2, 0.3, 0.7, 1, 1.2]) * fat
    centre = np.interp(grid.z, [0, 10], [2.0, 0.6])
    half_width, half_depth, centre = (
        v.astype(np.float32) for v in (half_width + swell, half_depth + swell, centre)
    )
    volume = column(grid, half_width, half_depth, centre)
    if patient.sex == "female":
        for sign in SIGN.values():
            # a lower, full part and a slope up to the chest wall
            for rise, thick in ((0.0, 1.0), (-2.6, 0.75)):
                centre_breast = (21.5 + rise, -9.4 - 0.3 * fat, sign * 7.0)
                box, breast = ellipsoid(
                    grid, centre_breast, (4.8, (3.2 + 0.7 * fat) * thick, 5.6), softness=1.5
                )
                np.maximum(volume[box], 0.75 * breast, out=volume[box])
    return volume


def _chest_profile(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Inner half width and half depth (Z,) of the rib cage; about zero above the apex."""
    rise = np.clip((22.0 - grid.z) / 17.0, 0.0, 1.0)
    round_top = np.sqrt(np.maximum(1.0 - rise**2, 0.0))
    width = CHEST_HALF_WIDTH * round_top
    depth = CHEST_HALF_DEPTH * round_top**0.7
    return width.astype(np.float32), depth.astype(np.float32)


def _half(grid: Grid, side: str) -> slice:
    """The x voxels of one side."""
    middle = int(np.searchsorted(grid.x, 0.0))
    return slice(0, middle) if side == "right" else slice(middle, len(grid.x))


def _lungs(patient: Patient, grid: Grid, width: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Both lungs: the rib cage above the diaphragm, less heart, mediastinum, great vessels and
    spine."""
    lung = column(grid, width, depth, CHEST_CENTRE_Y)
    back = np.maximum(grid.y, -1.0) + 1.0
    fall_y = np.where(grid.y > -1.0, 6.5 * (back / 10) ** 2, 1.5 * ((grid.y + 1.0) / 8) ** 2)  # Y
    out = np.abs(grid.x) - 6.0
    fall_x = np.where(out > 0, 4.2 * (out / 7.5) ** 2, 0.5 * (out / 6.0) ** 2)  # X
    leftness = np.clip(0.5 + grid.x / 6.0, 0.0, 1.0)
    fall_x += leftness * dome_level(patient, "left") + (1 - leftness) * dome_level(patient, "right")
    level = fall_y[:, None] + fall_x[None, :]  # Y, X
    lung *= above(grid, level.astype(np.float32))
    knob = 1.5 + 0.012 * (patient.age - 20)
    solids = [
        ellipsoid(grid, *heart_shape(patient)),
        ellipsoid(grid, (9.0, 0.5, 0.0), (14.0, 3.6, 2.7)),  # mediastinum
        ellipsoid(grid, (12.6, 1.5, 1.9), (knob, 3.6, knob + 0.2)),  # aortic arch
        ellipsoid(grid, (26.0, 5.6, 1.6), (14.0, 1.4, 1.4)),  # descending aorta
        ellipsoid(grid, (24.0, 3.5, 0.4), (20.0, 7.5, 1.7)),  # between the lungs
        ellipsoid(grid, (26.0, 8.6, 0.0), (24.0, 2.6, 2.4)),  # spine and its muscles
    ]
    for box, solid in solids:
        lung[box] *= 1.0 - solid
    return lung


def _vessels(patient: Patient, grid: Grid, air: np.ndarray, rng: np.random.Generator) -> None:
    """Hila and branching vessels, fuller in edema."""
    full = 1.0 + 0.5 * patient.edema
    for side in SIDES:
        sign = SIGN[side]
        hilum = np.array([17.0 if side == "right" else 16.0, 1.0, sign * 4.2])
        box, solid = ellipsoid(grid, tuple(hilum), (2.0 * full, 1.8, 1.4 * full), softness=2.0)
        air[box] *= 1.0 - 0.7 * solid
        angles = np.linspace(-1.15, 1.25, 6) + rng.normal(0, 0.08, 6)
        depths, lengths = rng.uniform(-0.7, 0.7, 6), rng.uniform(0.85, 1.1, 6)
        for angle, tip, length in zip(angles, depths, lengths, strict=True):
            reach = length * (5.0 + 2.0 * np.sin(max(angle, 0.0)))
            direction = np.array([np.sin(angle), tip, sign * np.cos(angle)])
            joint = hilum + 0.55 * reach * direction
            _vessel(grid, air, hilum, joint, 0.42 * full)
            for turn in (-0.35, 0.35):
                bent = np.array(
                    [np.sin(angle + turn), 1.3 * tip + turn, sign * np.cos(angle + turn)]
                )
                _vessel(grid, air, joint, joint + 0.7 * reach * bent, 0.27 * full)


def _vessel(grid: Grid, air: np.ndarray, start: np.ndarray, end: np.ndarray, radius: float) -> None:
    box, solid = capsule(grid, tuple(start), tuple(end), radius)
    air[box] *= 1.0 - np.minimum(solid, 0.95)


def _lung_findings(patient: Patient, grid: Grid, air: np.ndarray, rng: np.random.Generator) -> None:
    """Edema, consolidation, atelectasis and nodule: each takes air away where it lies."""
    if patient.edema > 0:
        for sign in SIGN.values():
            box, haze = ellipsoid(grid, (18.0, 1.0, sign * 5.0), (8.5, 8.0, 6.5), softness=9.0)
            air[box] *= 1.0 - (0.12 + 0.6 * patient.edema) * haze
    if patient.consolidation != NONE:
        centre = np.array(CONSOLIDATION_CENTRES[patient.consolidation])
        radius = 2.6 + 1.9 * patient.consolidation_size
        # Behind the heart it is flat, and little seen from the front.
        thin = 0.45 if patient.consolidation == "retrocardiac" else 1.0
        lumps = [(centre, radius)]
        lumps += [
            (centre + rng.normal(0, 0.45, 3) * radius, radius * rng.uniform(0.5, 0.75))
            for _ in range(3)
        ]
        for middle, extent in lumps:
            box, solid = ellipsoid(
                grid, tuple(middle), (extent, thin * extent, extent), softness=2.5
            )
            air[box] *= 1.0 - 0.92 * solid
    if patient.atelectasis != NONE:
        sign, top = SIGN[patient.atelectasis], dome_level(patient, patient.atelectasis)
        for rise, out in ((1.6, 8.5), (3.4, 7.5)):
            box, plate = ellipsoid(
                grid, (top - rise, 1.0, sign * out), (0.75, 5.5, 4.0), tilt=sign * 0.22
            )
            air[box] *= 1.0 - 0.85 * plate
    if patient.nodule != NONE:
        centre = np.array(NODULE_CENTRES[patient.nodule]) + rng.normal(0, 0.8, 3)
        radius = 1.4 + 0.8 * patient.nodule_size
        box, solid = ellipsoid(grid, tuple(centre), (radius, radius, radius))
        air[box] -= (air[box] + 1.2) * solid  # denser than soft tissue: partly calcified


def _pneumothorax(patient: Patient, grid: Grid, air: np.ndarray, lung: np.ndarray) -> None:
    """Free air around a lung that has shrunk towards its hilum and base; the pleura is a thin
    bright edge."""
    if patient.pneumothorax == NONE:
        return
    size, sign = patient.pneumothorax_size, SIGN[patient.pneumothorax]
    half = _half(grid, patient.pneumothorax)
    shrunk = 1.0 - 0.3 * size
    centre = (25.0, 0.3, sign * 3.2)
    radii = (19.0 * shrunk, 9.5, 10.0 * (1.03 - 0.3 * size))
    remains, pleura = np.zeros((2, *grid.shape), np.float32)
    box, solid = ellipsoid(grid, centre, radii)
    remains[box] = solid
    thick = 0.35 + 0.5 * grid.step
    box, solid = ellipsoid(grid, centre, tuple(r + thick for r in radii))
    pleura[box] = solid
    part = (slice(None), slice(None), half)
    free = lung[part] * (1.0 - pleura[part])
    edge = pleura[part] - remains[part]
    air[part] *= remains[part] * (1.0 - 0.25 * size)
    air[part] += free + 0.35 * edge * lung[part]


def _effusions(patient: Patient, grid: Grid, air: np.ndarray) -> None:
    """Fluid fills the lung space from the bottom; its surface climbs at the wall (meniscus)."""
    for side in SIDES:
        volume = patient.effusion(side)
        if volume <= 0:
            continue
        half = _half(grid, side)
        out = np.clip((SIGN[side] * grid.x[half] - 6.0) / 7.0, 0.0, 1.2) ** 2  # X of one side
        back = np.clip((grid.y - 1.0) / 8.0, 0.0, 1.2) ** 2  # Y
        middle = np.clip((4.5 - SIGN[side] * grid.x[half]) / 4.5, 0.0, 1.0) ** 2
        surface = 31.3 + patient.inspiration - (1.2 + 14.0 * volume)
        level = surface - 4.2 * out[None, :] - 1.0 * middle[None, :] - 2.0 * back[:, None]  # Y, X
        side_grid = Grid(grid.z, grid.y, grid.x[half], grid.spacing, grid.voxel)
        air[:, :, half] *= above(side_grid, level.astype(np.float32), softness=1.5)
