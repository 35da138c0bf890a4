"""`medcodi data show`: what a prepared folder holds."""

import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from medcodi.cli.app import app
from medcodi.data.prepared import PreparedDataset
from medcodi.data.show import describe, write_page
from medcodi.data.storage import FieldSpec
from medcodi.data.study import SPLITS, Study
from medcodi.data.writer import PreparedWriter

RAMP = np.linspace(0.1, 0.9, 256).reshape(16, 16)
CHROMIUM = shutil.which("chromium")


def test_counts_are_those_of_the_dataset(tiny_prepared):
    tables = describe(tiny_prepared)
    train = PreparedDataset.load(tiny_prepared, "train")
    head, *rows = tables["studies by what is present"]
    assert head == ["present", *SPLITS] and rows[-1][1] == str(len(train))
    assert sum(int(row[1]) for row in rows[:-1]) == len(train)
    absent = {row[0]: row[1] for row in tables["missing"][1:]}
    for name in ("frontal", "lateral", "report", "tabular"):
        assert absent[name].startswith(f"{len(train) - len(train.having(name))} (")
    cells = {row[0]: row[1] for row in tables["missing in tabular"][1:]}
    for column in train.schema.names:
        given = [study.values["tabular"][column] for study in train.having("tabular")]
        assert cells[column].startswith(f"{given.count(None)} (")
    words = sorted(len(study.values["report"].split()) for study in train.having("report"))
    assert tables["words of report"][1][1:3] == [str(len(words)), str(words[0])]
    assert tables["words of report"][1][5] == str(words[-1])


def test_the_page_shows_images_and_escapes_texts(tmp_path):
    with PreparedWriter(
        tmp_path / "p", [FieldSpec("a", "image"), FieldSpec("b", "text")], validation=0, test=0
    ) as writer:
        writer.add(Study("s", "p", {"a": RAMP, "b": "<script>x</script>"}))
    page = write_page(tmp_path / "p", tmp_path / "page.html").read_text()
    assert page.count("data:image/png;base64,") == 1
    assert "<script>" not in page and "&lt;script&gt;" in page


def test_views_spacings_and_decisions_of_the_source(tmp_path):
    with PreparedWriter(tmp_path / "p", [FieldSpec("a", "image")], validation=0, test=1) as writer:
        writer.add(Study("s", "p", {"a": [[0.0, 1.0]]}))
        writer.notes = {
            "source": "dicom",
            "counts": {"files": 3, "view from ViewPosition": 1, "view unknown": 2},
            "spacings_mm": {"0.14 x 0.14": 1},
            "columns": {"age": "integer: 3 to 5"},
        }
    tables = describe(tmp_path / "p")
    assert tables["views"] == [
        ["views", "count"],
        ["view from ViewPosition", "1"],
        ["view unknown", "2"],
    ]
    assert tables["counts"] == [["counts", "count"], ["files", "3"]]
    assert tables["spacings mm"][1] == ["0.14 x 0.14", "1"] and tables["columns"][0] == [
        "columns",
        "value",
    ]
    page = write_page(tmp_path / "p", tmp_path / "page.html").read_text()
    assert (
        "test: first studies" in page and "data:image/png;base64," in page
    )  # the training split has none


def test_greys_and_suspects_are_shown(tmp_path):
    rng = np.random.default_rng(0)
    dark = np.zeros((16, 16))
    dark[4:12, 4:12] = 0.01 * rng.random((8, 8))
    with PreparedWriter(tmp_path / "p", [FieldSpec("a", "image")], validation=0, test=0) as writer:
        for number in range(3):
            writer.add(Study(f"s{number}", f"p{number}", {"a": rng.random((16, 16))}))
        writer.add(Study("dark", "p9", {"a": dark}))
    head, *rows = describe(tmp_path / "p")["greys of a"]
    assert head == ["4 images, 1 suspects", "least", "5 %", "median", "95 %", "most"]
    assert {row[0] for row in rows} == {"black", "white", "low", "high", "entropy"}
    page = write_page(tmp_path / "p", tmp_path / "page.html").read_text()
    assert page.count("<rect") == 32 and "dark a: " in page
    assert page.count("data:image/png;base64,") == 5  # four studies and the suspect again
    (line,) = (tmp_path / "p" / "suspects.csv").read_text().splitlines()[1:]
    assert line.startswith("dark,a,") and "98 % of the greys" in line


def test_the_command(tiny_prepared, tmp_path):
    result = CliRunner().invoke(
        app, ["data", "show", str(tiny_prepared), "--page", str(tmp_path / "page.html")]
    )
    assert result.exit_code == 0 and "studies by what is present" in result.stdout
    assert (tmp_path / "page.html").stat().st_size > 1000


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (apt-get install chromium)")
def test_a_browser_shows_tables_and_pictures(tmp_path):
    with PreparedWriter(tmp_path / "p", [FieldSpec("a", "image")], validation=0, test=0) as writer:
        writer.add(Study("s", "p", {"a": np.full((64, 64), 128 / 255)}))
    page, shot = write_page(tmp_path / "p", tmp_path / "page.html"), tmp_path / "page.png"
    call = [
        CHROMIUM,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--window-size=800,1200",
        f"--screenshot={shot}",
    ]
    subprocess.run([*call, page.as_uri()], check=True, capture_output=True, timeout=120)
    pixels = np.asarray(Image.open(shot).convert("RGB"))
    assert (pixels == 128).all(axis=2).sum() >= 64 * 64  # the picture
    assert (pixels.max(axis=2) < 100).sum() > 1000  # texts


def test_a_folder_that_is_none(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        describe(tmp_path / "none")
