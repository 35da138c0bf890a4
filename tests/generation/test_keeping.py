"""`medcodi generate --keep`: parts from the command line."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from medcodi.cli.app import app
from medcodi.generation.keeping import GivenParts
from tests.tiny import SIZE

PICTURE = (np.arange(SIZE * SIZE).reshape(SIZE, SIZE) * 7 % 256).astype(np.uint8)
MASK = np.zeros((SIZE, SIZE), np.uint8)
MASK[4:12, 6:14] = 255
ROW = "heart_rate=131;last_status=deceased"


@pytest.fixture
def files(tmp_path):
    Image.fromarray(PICTURE).save(tmp_path / "image.png")
    Image.fromarray(MASK).save(tmp_path / "mask.png")
    return str(tmp_path / "image.png"), str(tmp_path / "mask.png")


def test_what_is_kept_is_in_the_files(tiny_run, tmp_path, files):
    image, mask = files
    call = ["generate", "--pipeline", str(tiny_run.run_dir / "pipeline"), "--output"]
    call += [str(tmp_path / "out"), "--num-inference-steps", "2", "--num-samples", "2"]
    call += ["--prompt", "report=Edema.", "--outputs", "frontal,tabular"]
    call += ["--keep", f"frontal={image}", "--mask", mask, "--keep", f"tabular={ROW}"]
    result = CliRunner().invoke(app, call)
    assert result.exit_code == 0, result.output
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["settings"]["keep"] == [f"frontal={image}", f"tabular={ROW}"]
    for i in range(2):
        shown = np.asarray(Image.open(tmp_path / "out" / f"sample_0000{i}_frontal.png"))
        assert np.array_equal(shown[MASK == 0], PICTURE[MASK == 0])
        row = pd.read_csv(tmp_path / "out" / f"sample_0000{i}_tabular.csv").iloc[0]
        assert row["heart_rate"] == 131 and row["last_status"] == "deceased"
    other = CliRunner().invoke(app, [*call, "--keep", "tabular=heart_rate=99"])
    assert other.exit_code != 0  # another run than the one in the folder


def test_rows_of_parts(tiny_pipeline, files):
    image, mask = files
    parts = GivenParts(tiny_pipeline, ["tabular=heart_rate=99", "tabular=heart_rate=98"])
    assert [part.value for part in parts.take([1, 0, 1])["tabular"]] == [
        {"heart_rate": 98.0},
        {"heart_rate": 99.0},
        {"heart_rate": 98.0},
    ]
    both = GivenParts(
        tiny_pipeline,
        [f"frontal={image}", f"lateral={image}"],
        [f"lateral={mask}", f"frontal={mask}"],
    )
    assert len(both) == 1 and all(part.gap.any() for (part,) in both.stored.values())
    varied = GivenParts(tiny_pipeline, [f"frontal={image}"], strength=["frontal=0.6"])
    assert varied.strength == {"frontal": 0.6} and varied.stored["frontal"][0].gap is None


@pytest.mark.parametrize(
    ("keep", "mask", "strength", "match"),
    [
        (["frontal"], [], [], "--keep must read NAME=PART, got 'frontal'; names: frontal, lateral"),
        (["frontl=x.png"], [], [], "unknown key 'frontl' .* did you mean 'frontal'"),
        (["frontal=x.png"], [], [], "nothing is left to generate"),
        (["frontal=x.png"], ["m.png"], [], "no image file at 'x.png'"),
        (["frontal=x.png"], ["m.png", "n.png"], [], "kept 1 times and has 2 masks"),
        ([], ["m.png"], [], "--mask must read NAME=FILE where several are kept, got 'm.png'"),
        (["tabular=heart_rate=9"], ["m.png"], [], "kept with a mask: nothing"),
        (["tabular=hart_rate=9"], [], [], "unknown key 'hart_rate' .* did you mean 'heart_rate'"),
        (["frontal=x.png"], [], ["frontal=much"], "--strength must read frontal=NUMBER"),
    ],
)
def test_parts_that_cannot_be_read(tiny_pipeline, keep, mask, strength, match):
    with pytest.raises(ValueError, match=match):
        GivenParts(tiny_pipeline, keep, mask, strength)
