"""Anti-aliased solids on a voxel grid: ellipsoids, capsules and elliptic cylinders of varying
width.

Legend: Z, Y, X voxels downwards, backwards, to the patient's left. Volumes have axes (Z, Y, X).
Lengths in cm. Every solid is evaluated inside its bounding box only and has an edge one voxel wide,
so that projections are smooth.
"""

from dataclasses import dataclass

import numpy as np

Box = tuple[slice, slice, slice]

# Field of view in cm: a frontal image shows WIDTH x HEIGHT, a lateral image DEPTH x HEIGHT.
HEIGHT, DEPTH, WIDTH = 36.0, 29.0, 37.0


@dataclass(frozen=True)
class Grid:
    """Voxel centres `z` (Z,), `y` (Y,), `x` (X,) in the canonical frame of one patient; `spacing`
    (z, y, x) there; `voxel` (z, y, x) is the true voxel size in cm."""

    z: np.ndarray
    y: np.ndarray
    x: np.ndarray
    spacing: tuple[float, float, float]
    voxel: tuple[float, float, float]

    @classmethod
    def of(cls, size: int, scale: float, depth: float, offset_x: float, offset_z: float) -> "Grid":
        """`size` voxels along each axis; the patient is `scale` times the canonical body and moved
        by the offsets."""
        steps = ((np.arange(size) + 0.5) / size).astype(np.float32)
        z = (steps * HEIGHT - HEIGHT / 2 - offset_z) / scale + HEIGHT / 2
        y = (steps * DEPTH - DEPTH / 2) / (scale * depth)
        x = (steps * WIDTH - WIDTH / 2 - offset_x) / scale
        voxel = (HEIGHT / size, DEPTH / size, WIDTH / size)
        spacing = (voxel[0] / scale, voxel[1] / (scale * depth), voxel[2] / scale)
        return cls(z.astype(np.float32), y.astype(np.float32), x.astype(np.float32), spacing, voxel)

    @property
    def shape(self) -> tuple[int, int, int]:
        return len(self.z), len(self.y), len(self.x)

    @property
    def step(self) -> float:
        """Edge width in cm."""
        return max(self.spacing)

    def box(self, low: tuple[float, float, float], high: tuple[float, float, float]) -> Box:
        """Slices (z, y, x) of the voxels between two corners in cm, one voxel wider on each
        side."""
        slices = []
        for axis, spacing, start, stop in zip(
            (self.z, self.y, self.x), self.spacing, low, high, strict=True
        ):
            first = int((start - axis[0]) / spacing) - 1
            last = int((stop - axis[0]) / spacing) + 3
            slices.append(slice(min(max(first, 0), len(axis)), min(max(last, 0), len(axis))))
        return tuple(slices)


def unit_clip(values: np.ndarray) -> np.ndarray:
    """Clip to [0, 1] in place."""
    np.maximum(values, 0.0, out=values)
    return np.minimum(values, 1.0, out=values)


def ellipsoid(
    grid: Grid,
    centre: tuple[float, float, float],
    radii: tuple[float, float, float],
    tilt: float = 0.0,
    softness: float = 1.0,
) -> tuple[Box, np.ndarray]:
    """Occupancy [0, 1] of an ellipsoid on its box.

    `centre` and `radii` are (z, y, x) in cm; `tilt` turns it in the frontal plane (radians, x axis
    towards z); `softness` is the width of the edge in voxels.
    """
    (cz, cy, cx), (rz, ry, rx) = centre, radii
    cos, sin = float(np.cos(tilt)), float(np.sin(tilt))
    reach_z = float(np.hypot(rx * sin, rz * cos))
    reach_x = float(np.hypot(rx * cos, rz * sin))
    margin = 0.5 * softness * grid.step
    low = (cz - reach_z - margin, cy - ry - margin, cx - reach_x - margin)
    high = (cz + reach_z + margin, cy + ry + margin, cx + reach_x + margin)
    box = grid.box(low, high)
    z, y, x = grid.z[box[0]] - cz, grid.y[box[1]] - cy, grid.x[box[2]] - cx
    sharpness = min(radii) / (2 * softness * grid.step)
    if tilt:
        along = x[None, :] * cos + z[:, None] * sin
        across = -x[None, :] * sin + z[:, None] * cos
        plane = (along / rx) ** 2 + (across / rz) ** 2  # Z, X
    else:
        plane = ((x / rx) ** 2)[None, :] + ((z / rz) ** 2)[:, None]  # Z, X
    plane = 0.5 + sharpness - sharpness * plane
    depth = sharpness * (y / ry) ** 2  # Y
    return box, unit_clip(plane[:, None, :] - depth[None, :, None])  # Z, Y, X


def capsule(
    grid: Grid, start: tuple[float, float, float], end: tuple[float, float, float], radius: float
) -> tuple[Box, np.ndarray]:
    """Density of a round rod from `start` to `end` (z, y, x) in cm.

    A rod thinner than a voxel is drawn wider and fainter, so that its mass, and its shadow, keep
    their size.
    """
    reach = max(1.6 * radius, 1.3 * grid.step)
    low = tuple(min(a, b) - reach for a, b in zip(start, end, strict=True))
    high = tuple(max(a, b) + reach for a, b in zip(start, end, strict=True))
    box = grid.box(low, high)
    direction = np.subtract(end, start).astype(np.float32)
    length2 = float(direction @ direction)
    z, y, x = (
        axis[part] - s for axis, part, s in zip((grid.z, grid.y, grid.x), box, start, strict=True)
    )
    z, y, x = z[:, None, None], y[None, :, None], x[None, None, :]
    along = z * direction[0] + y * direction[1] + x * direction[2]
    along *= 1.0 / length2
    unit_clip(along)
    distance2 = (z - along * direction[0]) ** 2
    distance2 += (y - along * direction[1]) ** 2
    distance2 += (x - along * direction[2]) ** 2
    profile = np.maximum(1.0 - distance2 / reach**2, 0.0)
    # The profile (1 - d^2 / w^2)^2 has the cross-section pi w^2 / 3, the rod pi r^2.
    return box, profile * profile * (3.0 * radius**2 / reach**2)


def column(
    grid: Grid,
    half_width: np.ndarray,
    half_depth: np.ndarray,
    centre_y: np.ndarray | float = 0.0,
    centre_x: np.ndarray | float = 0.0,
) -> np.ndarray:
    """Elliptic column along z: occupancy [0, 1] of shape (Z, Y, X); widths and centres are (Z,) or
    scalars, in cm."""
    inner, sharpness = column_distance(grid, half_width, half_depth, centre_y, centre_x)
    inner *= -1.0
    inner += (0.5 + sharpness)[:, None, None]
    return unit_clip(inner)


def column_distance(
    grid: Grid,
    half_width: np.ndarray,
    half_depth: np.ndarray,
    centre_y: np.ndarray | float,
    centre_x: np.ndarray | float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """s (x^2 / a^2 + y^2 / b^2) on (Z, Y, X), and s (Z,): s (q - 1) is about the distance to the
    wall in voxels."""
    ones = np.ones_like(grid.z)
    half_width, half_depth = (
        np.maximum(half_width * ones, 0.05),
        np.maximum(half_depth * ones, 0.05),
    )
    sharpness = np.minimum(half_width, half_depth) / (2 * grid.step)
    y = (grid.y[None, :] - (centre_y * ones)[:, None]) / half_depth[:, None]  # Z, Y
    x = (grid.x[None, :] - (centre_x * ones)[:, None]) / half_width[:, None]  # Z, X
    zy, zx = sharpness[:, None] * y * y, sharpness[:, None] * x * x
    return zy[:, :, None] + zx[:, None, :], sharpness  # Z, Y, X


def above(grid: Grid, level: np.ndarray, softness: float = 1.0) -> np.ndarray:
    """Occupancy (Z, Y, X) of the half space above a surface `level` (Y, X), the z in cm of its
    height."""
    rate = 1.0 / (softness * grid.step)
    surface = 0.5 + level * rate  # Y, X
    return unit_clip(surface[None, :, :] - (grid.z * rate)[:, None, None])  # Z, Y, X
