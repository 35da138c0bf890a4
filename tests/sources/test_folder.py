import copy
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw

from medcodi.config_io import load_yaml
from medcodi.data.prepared import PreparedDataset
from medcodi.data.study import SPLITS
from medcodi.sources import SOURCES, get_source
from medcodi.sources import images as images_module
from medcodi.sources.folder import prepare_folder
from medcodi.sources.mapping import parse_mapping

MAPPING = {
    "csv": "rows.csv",
    "row_id": "id",
    "patient_id": "patient",
    "study_id": ["patient", "day"],
    "size": 8,
    "invert_column": "inverted",
    "images": {
        "front": {"path_column": "file", "where": {"view": ["PA", "AP"]}},
        "side": {"path_column": "file", "where": {"view": ["L"]}},
    },
    "reports": {"notes": {"column": "text"}},
    "tables": {
        "row": {
            "missing": ["?"],
            "columns": [
                {"column": "age", "type": "integer", "min": 0, "max": 120},
                {"column": "O2", "name": "oxygen", "type": "continuous", "max": 100},
                {
                    "column": "dx",
                    "type": "categorical",
                    "categories": ["well", "ill"],
                    "map": {"todo": None, "flu": "ill"},
                },
            ],
        }
    },
}
HEADER = ["id", "patient", "day", "view", "file", "inverted", "text", "age", "O2", "dx"]
GREY = np.linspace(0, 255, 64).astype(np.uint8).reshape(8, 8)


def row(*cells: str) -> list[str]:
    return [*cells, *[""] * (len(HEADER) - len(cells))]


@pytest.fixture
def source(tmp_path) -> Path:
    (tmp_path / "source").mkdir()
    Image.fromarray(GREY).save(tmp_path / "source" / "a.png")
    Image.fromarray(GREY[::-1]).save(tmp_path / "source" / "b.png")
    return tmp_path / "source"


def prepare(source: Path, rows: list[list[str]], **changes):
    """Counts, studies by id, reject lines as item -> reasons; checks that every row is accounted
    for."""
    pd.DataFrame(rows, columns=HEADER).to_csv(source / "rows.csv", index=False)
    out = source.parent / "out"
    counts = prepare_folder(
        source, {**copy.deepcopy(MAPPING), **changes}, out, 0.0, 0.0, overwrite=True
    )
    studies = {
        study.study_id: study for split in SPLITS for study in PreparedDataset.load(out, split)
    }
    assert counts["rows"] == counts["images"] + counts["image_rejects"] + counts["blank_paths"]
    kept = sum(name in study.values for study in studies.values() for name in ("front", "side"))
    assert counts["images"] == kept and counts["studies"] == len(studies)
    frame = pd.read_csv(out / "rejects.csv", dtype=str)
    assert len(frame) == counts["rejects"]
    return (
        counts,
        studies,
        {item: " | ".join(group) for item, group in frame.groupby("item")["reason"]},
    )


GOOD = row("r1", "p1", "0", "PA", "a.png", "0", "All clear.", "54", "97.5", "flu")


def test_rows_become_studies(source):
    side = row("r2", "p1", "0", "L", "b.png", "", "All clear.", "54", "", "flu")
    later = row("r3", "p1", "7", "AP", "b.png", "1", "", "54", "?", "todo")
    counts, studies, rejects = prepare(source, [GOOD, side, later])
    assert set(studies) == {"p1_0", "p1_7"} and not rejects
    assert {study.patient_id for study in studies.values()} == {"p1"}
    np.testing.assert_allclose(studies["p1_0"].values["front"], GREY / 255, atol=1e-5)
    np.testing.assert_allclose(studies["p1_0"].values["side"], GREY[::-1] / 255, atol=1e-5)
    np.testing.assert_allclose(studies["p1_7"].values["front"], 1 - GREY[::-1] / 255, atol=1e-5)
    assert studies["p1_0"].values["notes"] == "All clear." and "notes" not in studies["p1_7"].values
    assert studies["p1_0"].values["row"] == {"age": 54, "oxygen": 97.5, "dx": "ill"}
    assert studies["p1_7"].values["row"] == {"age": 54, "oxygen": None, "dx": None}
    assert counts["blank_reports"] == 1


def test_values_that_cannot_be_read_are_listed_and_the_study_goes_on(source):
    rows = [
        GOOD,
        row("r2", "p2", "0", "PA", "a.png", "0", "Clear lungs.", "130", "340", "plague"),
        row("r3", "p3", "0", "PA", "a.png", "0", " ", "4.5", "1_0", "well"),
        row("r4", "p4", "0", "PA", "a.png", "0", "Clear lungs.", "ten", "nan", ""),
        row("r5", "p5", "0", "PA", "a.png", "maybe", "Clear lungs.", "7", "", ""),
    ]
    counts, studies, rejects = prepare(source, rows)
    assert "outside the plausible range [0, 120]" in rejects["p2_0/row.age"]
    assert "outside the plausible range [-inf, 100]" in rejects["p2_0/row.oxygen"]
    assert "'plague' is not one of ['well', 'ill']" in rejects["p2_0/row.dx"]
    assert "every column" in rejects["p2_0/row"] and "row" not in studies["p2_0"].values
    assert (
        "expected an integer" in rejects["p3_0/row.age"] and "'1_0'" in rejects["p3_0/row.oxygen"]
    )
    assert studies["p3_0"].values["row"] == {"age": None, "oxygen": None, "dx": "well"}
    assert (
        "expected a number, got 'ten'" in rejects["p4_0/row.age"]
        and "finite" in rejects["p4_0/row.oxygen"]
    )
    assert "'inverted' must be one of" in rejects["r5/front"] and set(studies["p5_0"].values) == {
        "notes",
        "row",
    }
    assert counts["studies"] == 5 and counts["value_rejects"] == 7 and counts["blank_reports"] == 1


def test_images_that_cannot_be_read_are_listed(source, monkeypatch):
    (source / "text.png").write_text("this is no image")
    (source / "empty.png").write_bytes(b"")
    (source / "cut.png").write_bytes((source / "a.png").read_bytes()[:70])
    (source / "folder.png").mkdir()
    (source.parent / "secret.png").write_bytes((source / "a.png").read_bytes())
    (source / "link.png").symlink_to(source.parent / "secret.png")
    (source / "loop.png").symlink_to(source / "loop.png")
    Image.fromarray(GREY.astype(np.float32)).save(source / "float.tiff")
    Image.fromarray(GREY).save(
        source / "two.tiff", save_all=True, append_images=[Image.fromarray(GREY)]
    )
    Image.new("L", (2, 60)).save(source / "ribbon.png")
    Image.new("L", (50, 50)).save(source / "bomb.png")
    monkeypatch.setattr(images_module.Image, "MAX_IMAGE_PIXELS", 1000)
    reasons = {
        "text.png": "cannot identify",
        "empty.png": "cannot identify",
        "cut.png": "cannot be read",
        "folder.png": "not a regular file",
        "missing.png": "does not exist",
        "../secret.png": "outside the source folder",
        str(source / "a.png"): "",  # absolute, but inside
        "/etc/hostname": "outside the source folder",
        "link.png": "outside the source folder",
        "loop.png": "cannot be followed",
        "n" * 300 + ".png": "cannot be followed",
        "float.tiff": "floating point",
        "two.tiff": "2 frames",
        "ribbon.png": "too large",
        "bomb.png": "too large",
    }
    rows = [
        row(f"r{i}", f"p{i}", "0", "PA", name, "0", "Clear lungs.")
        for i, name in enumerate(reasons)
    ]
    counts, studies, rejects = prepare(source, rows, tables={})
    for i, (name, reason) in enumerate(reasons.items()):
        assert reason in rejects.get(f"r{i}/front", ""), name
        assert set(studies[f"p{i}_0"].values) == ({"notes"} if reason else {"notes", "front"})
    assert counts["images"] == 1 and counts["image_rejects"] == len(reasons) - 1
    assert str(source) not in " ".join(rejects.values())


def test_16_bit_pixels_keep_their_bits(source):
    levels = np.arange(64, dtype=np.uint16).reshape(8, 8)
    Image.fromarray(levels + 40000).save(source / "deep.png")
    Image.fromarray(levels + 4000).save(source / "deep.tiff")
    rows = [row("r1", "p1", "0", "PA", "deep.png"), row("r2", "p2", "0", "PA", "deep.tiff")]
    _, studies, _ = prepare(source, rows, tables={}, suspects="accept")
    np.testing.assert_array_equal(np.round(studies["p1_0"].values["front"] * 65535), levels + 40000)
    _, studies, rejects = prepare(source, rows, tables={}, max_value_16bit=4095, suspects="accept")
    assert "must lie in [0, 4095]" in rejects["r1/front"]
    np.testing.assert_array_equal(np.round(studies["p2_0"].values["front"] * 4095), levels + 4000)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "LA", "1", "CMYK"])
def test_colour_becomes_luma(source, mode):
    Image.new("RGB", (8, 8), (255, 0, 0)).convert(mode).save(
        source / "c.tiff" if mode == "CMYK" else source / "c.png"
    )
    _, studies, _ = prepare(
        source,
        [row("r1", "p1", "0", "PA", "c.tiff" if mode == "CMYK" else "c.png")],
        tables={},
        suspects="accept",
    )
    expected = Image.open(source / ("c.tiff" if mode == "CMYK" else "c.png")).convert("L")
    np.testing.assert_allclose(
        studies["p1_0"].values["front"], np.asarray(expected) / 255, atol=1e-5
    )


def test_wrong_sizes_are_padded_and_resized_or_rejected(source):
    Image.new("L", (32, 16), 255).save(source / "wide.png")
    rows = [GOOD, row("r2", "p2", "0", "PA", "wide.png", "0", "Clear lungs.")]
    _, studies, _ = prepare(source, rows, suspects="accept")
    image = studies["p2_0"].values["front"]
    assert image.shape == (8, 8) and image.min() >= 0 and image.max() <= 1
    assert (
        image[3:5].min() > 0.9 and image[0].max() < 0.1 and image[-1].max() < 0.1
    )  # never cropped, black bars
    _, studies, rejects = prepare(source, rows, on_wrong_size="reject")
    assert (
        rejects["r2/front"] == "image is 32 x 16 pixels, expected 8 x 8"
        and "front" in studies["p1_0"].values
    )


def test_duplicates(source):
    second = row("r2", "p1", "0", "AP", "b.png", "0", "Second look.", "54", "90", "flu")
    side = row("r3", "p1", "0", "L", "b.png", "0", "", "54")
    _, studies, rejects = prepare(source, [GOOD, second, side])
    assert set(studies) == {"p1_0", "p1_0.2"} and not rejects
    assert set(studies["p1_0"].values) == {"front", "side", "notes", "row"}
    assert set(studies["p1_0.2"].values) == {"front", "notes", "row"}
    assert (
        studies["p1_0.2"].values["notes"] == "Second look."
        and studies["p1_0.2"].values["row"]["oxygen"] == 90
    )
    _, studies, rejects = prepare(source, [GOOD, second, side], duplicates="first")
    assert set(studies) == {"p1_0"} and "has its front already" in rejects["r2/front"]
    assert (
        "disagree; the first text is kept, this one is not: Second look." in rejects["p1_0/notes"]
    )
    assert "'97.5' is kept, '90' is not" in rejects["p1_0/row.oxygen"]
    (source / "a.png").write_bytes(b"")  # the first that can be read is taken
    _, studies, rejects = prepare(source, [GOOD, second, side], duplicates="first")
    assert "cannot" in rejects["r1/front"] and "front" in studies["p1_0"].values


def test_blank_study_columns_and_blank_patients(source):
    rows = [
        row("r1", "p1", "", "PA", "a.png"),
        row("r2", "p1", "", "L", "b.png"),
        row("r3", "", "0", "PA", "a.png"),
        row("r4", "p4", "0", "oblique", "a.png", "0", "Clear lungs."),
        row("r5", "p5", "0", "PA", "", "0", "Clear lungs."),
    ]
    counts, studies, rejects = prepare(source, rows, tables={})
    assert set(studies) == {"p1_r1", "p1_r2", "p4_0", "p5_0"}
    assert (
        "patient is unknown" in rejects["r3"]
        and "view='oblique'" in rejects["r4"]
        and len(rejects) == 2
    )
    assert counts["blank_paths"] == 1 and set(studies["p4_0"].values) == {"notes"}
    _, studies, _ = prepare(source, rows, tables={}, blank_study="together")
    assert set(studies["p1"].values) == {"front", "side"}


def test_same_study_id_for_two_patients_is_rejected(source):
    rows = [row("r1", "p1", "0", "PA", "a.png"), row("r2", "p2", "0", "PA", "b.png")]
    counts, studies, rejects = prepare(source, rows, tables={}, study_id=["day"])
    assert (
        studies["0"].patient_id == "p1"
        and "already added" in rejects["0"]
        and counts["image_rejects"] == 1
    )


def test_one_row_per_study(source):
    images = {"front": {"path_column": "file"}, "side": {"path_column": "text"}}
    frame = pd.DataFrame([row("r1", "p1", "0", "", "a.png", "", "b.png")], columns=HEADER)
    frame.to_csv(source / "rows.csv", index=False)
    prepare_folder(
        source,
        {**MAPPING, "images": images, "reports": {}, "tables": {}},
        source.parent / "out",
        0,
        0,
    )
    assert set(PreparedDataset.load(source.parent / "out", "train")[0].values) == {"front", "side"}


def test_csv_errors(source):
    with pytest.raises(ValueError, match=r"'rows.csv' does not exist"):
        prepare_folder(source, MAPPING, source.parent / "out")
    with pytest.raises(FileNotFoundError, match="source folder"):
        prepare_folder(source / "none", MAPPING, source.parent / "out")
    with pytest.raises(
        ValueError,
        match=r"'agee' in the columns of .*rows.csv; did you mean 'age'\? Valid keys: O2, age",
    ):
        prepare(
            source, [GOOD], tables={"row": {"columns": [{"column": "agee", "type": "integer"}]}}
        )
    (source / "rows.csv").write_bytes(b"id,patient\n\xff\xfe,1\n")
    with pytest.raises(ValueError, match="cannot be read as UTF-8 csv"):
        prepare_folder(source, MAPPING, source.parent / "out")
    assert not (source.parent / "out").exists()


def test_mapping_errors():
    for change, message in [
        ({"dupplicates": "first"}, "did you mean 'duplicates'"),
        ({"duplicates": "last"}, "duplicates must be one of"),
        ({"blank_study": "x"}, "blank_study must be one of"),
        ({"on_wrong_size": "crop"}, "on_wrong_size must be one of"),
        ({"size": 0}, "at least 1"),
        ({"study_id": []}, "at least one column"),
        (
            {"tables": {"row": {"columns": [{"column": "a", "type": "number"}]}}},
            "type must be one of",
        ),
        ({"images": {"front": {"path": "file"}}}, r"mapping\.images\.front"),
    ]:
        with pytest.raises(ValueError, match=message):
            parse_mapping({**MAPPING, **change})


def test_sources_are_found_by_name():
    assert get_source("folder") is prepare_folder
    assert all(callable(get_source(name)) for name in SOURCES)
    with pytest.raises(
        ValueError, match=r"unknown key 'foldr' in data\.source; did you mean 'folder'"
    ):
        get_source("foldr")


def test_shipped_mappings_parse():
    paths = list((Path(__file__).parents[2] / "configs" / "sources").glob("*.yaml"))
    assert paths
    for path in paths:
        mapping = parse_mapping(load_yaml(path), str(path))
        assert mapping.fields and all(schema.columns for schema in mapping.schemas.values())


def test_transparent_pixels_are_refused_and_strips_are_suspects(source):
    rng = np.random.default_rng(0)
    film = Image.fromarray(rng.integers(60, 200, (80, 80)).astype(np.uint8))
    alpha = Image.new("L", (80, 80), 255)
    Image.merge("LA", [film, alpha]).save(source / "opaque.png")
    alpha.paste(0, (0, 0, 80, 8))
    Image.merge("LA", [film, alpha]).save(source / "la.png")
    Image.merge("RGBA", [film, film, film, alpha]).save(source / "rgba.png")
    film.quantize(16).save(source / "palette.png", transparency=0)
    strip = rng.integers(60, 200, (20, 400)).astype(np.uint8)
    Image.fromarray(strip).save(source / "strip.png")
    Image.fromarray(strip[:1]).save(source / "line.png")
    names = ("opaque", "la", "rgba", "palette", "strip", "line")
    rows = [row(f"r{i}", f"p{i}", "0", "PA", f"{name}.png") for i, name in enumerate(names)]
    counts, studies, rejects = prepare(source, rows, tables={})
    assert sorted(studies) == ["p0_0", "p4_0", "p5_0"]
    assert "10.0% of the pixels are transparent" in rejects["r1/front"]
    assert "10.0% of the pixels are transparent" in rejects["r2/front"]
    assert "transparent, expected an opaque image" in rejects["r3/front"]
    assert counts["images"] + counts["image_rejects"] == counts["rows"] == 6
    listed = pd.read_csv(source.parent / "out" / "suspects.csv", dtype=str).set_index("study_id")
    assert "400 x 20 pixels, one side over 4 times the other" in listed["reasons"]["p4_0"]
    assert "400 x 1 pixels" in listed["reasons"]["p5_0"]


def test_pictures_in_colour_are_suspects(source):
    rng = np.random.default_rng(0)
    film = Image.fromarray(rng.integers(60, 200, (80, 80)).astype(np.uint8)).convert("RGB")
    film.save(source / "grey.png")
    film.save(source / "grey.jpg", quality=60)
    ImageDraw.Draw(film).rectangle((0, 0, 7, 7), (255, 0, 0))
    film.save(source / "marked.png")
    names = ("grey.png", "grey.jpg", "marked.png")
    rows = [row(f"r{i}", f"p{i}", "0", "PA", name) for i, name in enumerate(names)]
    counts, studies, _ = prepare(source, rows, tables={})
    assert len(studies) == 3 and (counts["suspects"], counts["colour made grey"]) == (1, 1)
    (listed,) = pd.read_csv(source.parent / "out" / "suspects.csv").to_dict("records")
    assert (listed["study_id"], listed["coloured"]) == ("p2_0", 0.01)
    assert "1.00% of the pixels had a colour and were made grey" in listed["reasons"]
    index = json.loads((source.parent / "out" / "prepared.json").read_text())
    assert index["greys"]["front"]["quantiles"]["coloured"]["most"] == 0.01
    counts, _, rejects = prepare(source, rows, tables={}, suspects="refuse")
    assert "had a colour" in rejects["r2/front"]
    counts, _, _ = prepare(source, rows, tables={}, suspects="accept")
    assert (counts["suspects"], counts["colour made grey"]) == (0, 1)


def test_suspects_are_listed_refused_or_accepted(source):
    """A black image shows nothing, a dark one is a suspect, letters near the border are listed."""
    rng = np.random.default_rng(0)
    film = rng.integers(60, 200, (200, 200)).astype(np.uint8)
    Image.fromarray(film).save(source / "good.png")
    Image.fromarray(np.where(film > 198, film, 0)).save(source / "dark.png")
    Image.new("L", (50, 50)).save(source / "black.png")
    plain = rng.integers(60, 140, (400, 400)).astype(np.uint8)
    named = Image.fromarray(plain)
    ImageDraw.Draw(named).text((10, 10), "NAME 1234", fill=255, font_size=16)
    named.save(source / "named.png")
    names = ("good", "dark", "black", "named")
    rows = [row(f"r{i}", f"p{i}", "0", "PA", f"{name}.png") for i, name in enumerate(names)]

    def suspects():
        frame = pd.read_csv(source.parent / "out" / "suspects.csv", dtype=str)
        return dict(zip(frame["study_id"], frame["reasons"], strict=True))

    counts, studies, rejects = prepare(source, rows, tables={})
    assert sorted(studies) == ["p0_0", "p1_0", "p3_0"] and counts["suspects"] == 2
    assert "show" in rejects["r2/front"]
    assert "are black" in suspects()["p1_0"] and "like letters" in suspects()["p3_0"]
    _, studies, rejects = prepare(source, rows, tables={}, suspects="refuse")
    assert sorted(studies) == ["p0_0", "p3_0"] and "are black" in rejects["r1/front"]
    counts, studies, _ = prepare(source, rows, tables={}, suspects="accept")
    assert len(studies) == 4 and not suspects() and counts["suspects"] == 0
    Image.fromarray(GREY // 4 + 100).save(source / "good.png")
    _, studies, _ = prepare(source, rows[:1], tables={}, look="min_max")
    assert studies["p0_0"].values["front"].min() == 0
    with pytest.raises(ValueError, match="suspects must be one of"):
        prepare(source, rows, suspects="ignore_window")
