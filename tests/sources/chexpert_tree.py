"""A made-up miniature of CheXpert's folder. No patient stands behind it."""

from pathlib import Path

import numpy as np
from PIL import Image

HEAD = "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Edema,Pleural Effusion"
ROWS = [
    "CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg,Female,68,Frontal,AP,,1,-1",
    "CheXpert-v1.0-small/train/patient00001/study1/view2_lateral.jpg,Female,68,Lateral,,,1,",
    "CheXpert-v1.0-small/train/patient00002/study1/view1_frontal.jpg,Male,41,Frontal,PA,1,,",
]


def write_chexpert(root: Path) -> Path:
    for number, row in enumerate(ROWS):
        path = root / row.split(",")[0].removeprefix("CheXpert-v1.0-small/")
        path.parent.mkdir(parents=True, exist_ok=True)
        grey = np.random.default_rng(number).integers(0, 256, (32, 32)).astype(np.uint8)
        Image.fromarray(grey).save(path)
    (root / "train.csv").write_text("\n".join([HEAD, *ROWS]) + "\n")
    return root
