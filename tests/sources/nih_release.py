"""A made-up miniature of the release of ChestX-ray14. No patient stands behind it."""

from pathlib import Path

import numpy as np
from PIL import Image

RELEASE = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],"
)
ROWS = [
    "00000001_000.png,Cardiomegaly|Edema,0,1,58,M,PA,2682,2749,0.143,0.143,",
    "00000001_001.png,No Finding,1,1,059Y,M,AP,2500,2000,0.143,0.143,",
    "00000002_000.png,Hernia,0,2,412,F,PA,2000,2500,0.171,0.171,",
    "00000003_000.png,No Finding,0,3,7,X,PA,2048,2048,0.168,0.168,",
    "00000004_000.png,Lung Cancer,0,4,70,F,PA,2048,2048,0.168,0.168,",
    "00000005_000.png,No Finding,0,5,70,F,LL,2048,2048,0.168,0.168,",
    "00000006_000.png,No Finding,0,6,70,F,PA,2048,2048,0.168,0.168,",  # without its image
]


def write_release(root: Path) -> Path:
    for number, row in enumerate(ROWS[:-1]):
        folder = root / f"images_{number % 2:03d}" / "images"
        folder.mkdir(parents=True, exist_ok=True)
        grey = np.random.default_rng(number).integers(100, 256, (40, 40)).astype(np.uint8)
        Image.fromarray(grey).save(folder / row.split(",")[0])
    Image.fromarray(grey).save(folder / "stray.png")
    (folder / "README.txt").write_text("of the release")
    (root / "Data_Entry_2017.csv").write_text("\n".join([RELEASE, *ROWS]) + "\n")
    return root
