"""Images and rows together, as Kikuchi et al. (2024): a coder's numbers beside the columns.

Legend: N pairs, S image side, Z numbers of a code.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch

from medcodi.baselines.codes import CodeModel

CODE = "code {:03d}"
TableSampler = Callable[[int], pd.DataFrame]  # how many -> as many rows
TableFit = Callable[[pd.DataFrame, list[str]], TableSampler]  # rows, names of the code's columns


def coded_pairs(
    coder: CodeModel, images: np.ndarray, rows: pd.DataFrame, fit: TableFit, count: int
) -> tuple[np.ndarray, pd.DataFrame]:
    """`count` images (count, S, S) in [0, 1] with their rows: `fit` learns the rows with the codes
    of the images (N, S, S), the coder makes images of the codes that are drawn. ValueError for
    other numbers of rows."""
    if len(images) != len(rows):
        raise ValueError(f"expected a row an image, got {len(images)} images, {len(rows)} rows")
    codes = codes_of(coder, images)
    names = [CODE.format(i) for i in range(codes.shape[1])]
    beside = pd.DataFrame(codes.astype(float), columns=names, index=rows.index)
    made = fit(pd.concat([rows, beside], axis=1), names)(count)
    return images_of(coder, made[names].to_numpy(dtype=float)), made.drop(columns=names)


@torch.no_grad()
def codes_of(coder: CodeModel, images: np.ndarray) -> np.ndarray:
    """(N, S, S) -> (N, Z)."""
    pixels = 2 * torch.from_numpy(images)[:, None] - 1
    return torch.cat([coder.encode(part) for part in pixels.split(256)]).numpy()


@torch.no_grad()
def images_of(coder: CodeModel, codes: np.ndarray) -> np.ndarray:
    """(N, Z) -> (N, S, S) in [0, 1]."""
    parts = torch.from_numpy(codes.astype(np.float32)).split(256)
    made = torch.cat([coder.decode(part) for part in parts]).mean(dim=1)
    return ((made + 1) / 2).clamp(0, 1).numpy()
