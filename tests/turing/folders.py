"""Small studies of a visual Turing test: folders of files, real ones and ones that pass for
generated."""

import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from medcodi.turing.study import make_study
from medcodi.turing.tasks import FRONT, SIDE, TEXT

NAMES = {FRONT: "frontal", SIDE: "lateral", TEXT: "report"}
NUM_ITEMS, SIZE = 4, 32


def write_files(folder: Path, num_studies: int, seed: int, side: int = SIZE, bits: int = 8) -> Path:
    """ID_frontal.png, ID_lateral.png, ID_report.txt of `num_studies` studies with the same IDs for
    every seed."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for number in range(num_studies):
        for name in ("frontal", "lateral"):
            coarse = rng.integers(0, 2**bits, (4, 4)).astype(np.uint16 if bits > 8 else np.uint8)
            grey = np.kron(coarse, np.ones((side // 4, side // 4), coarse.dtype))
            Image.fromarray(grey).save(folder / f"study{number:03d}_{name}.png")
        text = f"Report {number} of {seed}.\r\n\n  The lungs are clear.  \n"
        (folder / f"study{number:03d}_report.txt").write_text(text, encoding="utf-8")
    return folder


def write_study(
    folder: Path, num_items: int = NUM_ITEMS, num_readers: int = 3, arm: str = "rating"
) -> tuple[Path, list[str]]:
    """Study folder and reader codes. The real files are larger, deeper and named alike."""
    real = write_files(folder / "real", 9 * num_items // 2, seed=0, side=2 * SIZE, bits=16)
    made = write_files(folder / "made", 9 * num_items // 2, seed=1)
    settings = {"num_items": num_items, "num_readers": num_readers, "arm": arm}
    codes = make_study(real, [made], folder / "study", NAMES, **settings, seed=5)
    return folder / "study", codes


SERVER = (
    "import sys; from pathlib import Path; from medcodi.turing.server import TuringServer\n"
    "server = TuringServer(Path(sys.argv[1]), port=int(sys.argv[2])); print(server.url, "
    "flush=True); server.serve_forever()"
)


def start_server(folder: Path, port: int = 0) -> tuple[subprocess.Popen, str]:
    """A server in a process of its own, and its address once it answers there."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, folder, str(port)], stdout=subprocess.PIPE, text=True
    )
    return process, process.stdout.readline().strip()
