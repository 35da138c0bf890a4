"""`medcodi turing make`: which items there are, and that nothing but their content tells real from
synthetic."""

import io
import json
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from medcodi.data.prepared import PreparedDataset
from medcodi.generation.formats.base import hash_prompts
from medcodi.turing.study import clean_text, encode, make_study
from medcodi.turing.tasks import TASKS
from tests.turing.folders import NAMES, NUM_ITEMS, SIZE, write_files, write_study


def read(folder):
    described = json.loads((folder / "study.json").read_text())
    return described["items"], json.loads((folder / "truth.json").read_text())["items"]


def test_five_tasks_half_of_each_synthetic(study):
    items, truth = read(study[0])
    assert len(TASKS) == 5
    assert Counter((t["task"], t["synthetic"]) for t in truth.values()) == {
        (task.key, synthetic): NUM_ITEMS // 2 for task in TASKS for synthetic in (True, False)
    }
    shown = {"xray": 1, "report": 1, "report_of_pair": 3, "pair_of_report": 3, "pair": 2}
    assert {t["task"]: len(items[key]["parts"]) for key, t in truth.items()} == shown


def test_nothing_is_shown_twice(study):
    """A real study stands in one item only, and so does a generated value."""
    _, truth = read(study[0])
    real = Counter(t["study"] for t in truth.values() if t["study"])
    made = Counter(
        (t["source"], role) for t in truth.values() if t["source"] for role in t["judged"]
    )
    assert max(real.values()) == max(made.values()) == 1


def test_the_judged_part_is_made_from_the_given_ones(study, tmp_path):
    """Pixels and texts of every item, compared with the files that it should come from."""
    items, truth = read(study[0])
    for key, told in truth.items():
        for part in items[key]["parts"]:
            role = {"Frontal X-ray": "front", "Lateral X-ray": "side", "Report": "text"}[
                part["label"]
            ]
            made = told["synthetic"] and role in told["judged"]
            stem = told["source"].split("/")[1] if made else told["study"]
            source = tmp_path / ("made" if made else "real") / f"{stem}_{NAMES[role]}"
            if role == "text":
                assert part["text"] == " ".join(source.with_suffix(".txt").read_text().split())
            else:
                expected = encode(Image.open(source.with_suffix(".png")), SIZE)
                assert (study[0] / "items" / part["image"]).read_bytes() == expected
        if told["synthetic"] and told["given"]:
            assert told["source"] == f"made/{told['study']}"


def test_files_differ_in_nothing_but_pixels(study):
    """Length, header, metadata, time stamps: the real images were 64 pixels and 16 bits, the others
    32 and 8."""
    files = sorted((study[0] / "items").iterdir())
    assert len({path.stat().st_size for path in files}) == 1
    assert {path.stat().st_mtime for path in files} == {0}
    headers = set()
    for path in files:
        image = Image.open(path)
        assert image.size == (SIZE, SIZE) and image.mode == "L" and image.info == {}
        headers.add(path.read_bytes()[:43])  # signature, IHDR, start of IDAT
    assert len(headers) == 1


def test_the_shown_part_says_nothing_of_the_truth(study):
    items, truth = read(study[0])
    text = (study[0] / "study.json").read_text()
    for word in ("synthetic", "real/", "made/", "study0", "seed", "source"):
        assert word not in text
    assert all(set(item) == {"task", "parts"} for item in items.values())
    assert list(items) == sorted(items)
    ordered = [truth[key]["synthetic"] for key in items]
    assert ordered != sorted(ordered) and ordered != sorted(ordered, reverse=True)
    assert (study[0] / "truth.json").stat().st_mode & 0o077 == 0


def test_without_a_seed_every_study_is_another(tmp_path):
    real, made = write_files(tmp_path / "real", 9, 0), write_files(tmp_path / "made", 9, 1)
    for name in ("a", "b"):
        make_study(real, [made], tmp_path / name, NAMES, num_items=2)
    assert not set(read(tmp_path / "a")[0]) & set(read(tmp_path / "b")[0])


def test_equal_pixels_become_equal_files_whatever_they_were():
    grey = (np.arange(SIZE * SIZE).reshape(SIZE, SIZE) % 256).astype(np.uint8)
    deep = Image.fromarray(grey.astype(np.uint16) * 257)
    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, "JPEG", quality=100, comment=b"synthetic", subsampling=0)
    assert (
        encode(Image.fromarray(grey), SIZE)
        == encode(deep, SIZE)
        == encode(Image.fromarray(grey).convert("RGB"), SIZE)
    )
    assert b"synthetic" not in encode(Image.open(buffer), SIZE)


def test_texts():
    assert clean_text(" Clear\r\nlungs.\t\n") == "Clear lungs."
    assert clean_text("re\u0301sume\u0301") == "r\u00e9sum\u00e9"
    assert clean_text(" \n") == "(no text)"


def write_generated(folder, data, given, outputs, names):
    """What `medcodi generate --studies ... --given ...` leaves: files and a manifest with hashes of
    the prompts."""
    folder.mkdir()
    samples, hashes = [], []
    for row in range(len(data)):
        values = data[row].values
        hashes.append(hash_prompts({name: values[name] for name in given}))
        files = {}
        for name in outputs:
            path = f"sample_{row:05d}_{name}." + ("txt" if name == "report" else "png")
            if name == "report":
                (folder / path).write_text(f"Made {row}.")
            else:
                Image.fromarray(np.full((SIZE, SIZE), row, np.uint8)).save(folder / path)
            files[name] = {"path": path}
        samples.append({"id": f"sample_{row:05d}", "prompt_row": row, "files": files})
    manifest = {"format": "png", "prompt_hashes": hashes, "samples": samples}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def test_prepared_studies_find_what_was_made_from_them(tiny_prepared, tmp_path):
    """By the hash of the prompts in the manifest: no identifier of a real study leaves with the
    generated ones."""
    data = PreparedDataset.load(tiny_prepared, "train").having("frontal", "lateral", "report")
    routes = {
        "a": (["frontal", "lateral"], ["report"]),
        "b": (["report"], ["frontal", "lateral"]),
        "c": (["frontal"], ["lateral"]),
        "d": (["lateral"], ["frontal"]),
    }
    made = [write_generated(tmp_path / name, data, *route, NAMES) for name, route in routes.items()]
    make_study(tiny_prepared, made, tmp_path / "study", NAMES, split="train", num_items=2, seed=1)
    items, truth = read(tmp_path / "study")
    for key, told in truth.items():
        if told["synthetic"] and told["given"]:
            row = int(told["source"].rpartition("_")[2])
            if told["given"] == ["text"]:  # reports repeat: any study with the same one
                shown = next(part["text"] for part in items[key]["parts"] if "text" in part)
                assert shown == clean_text(data[row].values["report"])
            else:
                assert data.study_ids[row] == told["study"]


@pytest.mark.slow
def test_from_a_pipeline_to_the_report(tiny_run, tmp_path):
    """Real commands: four routes are generated from the studies of a prepared folder, a study is
    made of them, rated and reported; a second study from the same seed is the same."""
    from typer.testing import CliRunner

    from medcodi.cli.app import app
    from medcodi.turing.server import Study

    def medcodi(*arguments):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exit_code == 0, (result.output, result.exception)

    made, pipeline, real = [], tiny_run.run_dir / "pipeline", tiny_run.data.prepared
    routes = {
        "frontal,lateral": "report",
        "report": "frontal,lateral",
        "frontal": "lateral",
        "lateral": "frontal",
    }
    for given, outputs in routes.items():
        made += ["--generated", tmp_path / given]
        medcodi(
            "generate",
            "--pipeline",
            pipeline,
            "--studies",
            real,
            "--split",
            "train",
            "--given",
            given,
            "--outputs",
            outputs,
            "--limit",
            12,
            "--num-inference-steps",
            2,
            "--output",
            made[-1],
        )
    for name in ("study", "again"):
        medcodi(
            "turing",
            "make",
            real,
            "--split",
            "train",
            "--num-items",
            4,
            "--seed",
            3,
            *made,
            "--output",
            tmp_path / name,
        )
    assert (tmp_path / "study" / "study.json").read_bytes() == (
        tmp_path / "again" / "study.json"
    ).read_bytes()
    items, truth = read(tmp_path / "study")
    assert sum(told["synthetic"] for told in truth.values()) == 10 and len(items) == 20
    assert len({path.stat().st_size for path in (tmp_path / "study" / "items").iterdir()}) == 1
    study = Study(tmp_path / "study")
    for number, code in enumerate(study.store.readers()):
        for key in items:
            study.rate(code, {"item": key, "score": 1 + (number + int(key, 16)) % 5})
    medcodi("turing", "report", tmp_path / "study", "--num-resamples", 20)
    told = json.loads((tmp_path / "study" / "turing.json").read_text())
    assert [task["num_ratings"] for task in told["tasks"].values()] == [12] * 5


def test_too_few_studies_say_what_is_missing(tmp_path):
    real, made = write_files(tmp_path / "real", 12, 0), write_files(tmp_path / "made", 12, 1)
    with pytest.raises(ValueError, match="needs 2 more real studies, 0 are left; lower the number"):
        make_study(real, [made], tmp_path / "out", NAMES, num_items=4)
    for path in (*made.glob("*_lateral.png"), *made.glob("*_frontal.png")):
        path.unlink()
    with pytest.raises(
        ValueError, match=r"needs 2 generated items \(front \+ side from text\), found 0"
    ):
        make_study(real, [made], tmp_path / "out", NAMES, num_items=4)
    assert not (tmp_path / "out").exists()


def test_bad_input(study, tmp_path):
    folder, _ = study
    real, made = tmp_path / "real", tmp_path / "made"
    with pytest.raises(ValueError, match="must be even and at least 2, got 3"):
        make_study(real, [made], tmp_path / "out", NAMES, num_items=3)
    with pytest.raises(ValueError, match="study exists already"):
        make_study(real, [made], folder, NAMES, num_items=2)
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        make_study(real, [tmp_path / "nowhere"], tmp_path / "out", NAMES)
    with pytest.raises(ValueError, match="no study has all of a, b, c"):
        make_study(real, [made], tmp_path / "out", dict(zip(NAMES, "abc", strict=True)))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty holds no generated frontal, lateral, report"):
        make_study(real, [tmp_path / "empty"], tmp_path / "out", NAMES)
    for path in made.glob("*_frontal.png"):
        path.write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"_frontal.png cannot be read"):
        make_study(real, [made], tmp_path / "out", NAMES, num_items=2)
    assert not (tmp_path / "out").exists()


def test_a_tampered_study_serves_no_other_file(study):
    from medcodi.turing.server import Study

    folder, _ = study
    text = (folder / "study.json").read_text()
    items, _ = read(folder)
    name = next(p["image"] for item in items.values() for p in item["parts"] if "image" in p)
    (folder / "study.json").write_text(text.replace(name, "../truth.json"))
    with pytest.raises(ValueError, match=r"names the image '../truth.json', which no study has"):
        Study(folder)


def test_a_study_has_room_for_twenty_items_a_task(tmp_path):
    folder, codes = write_study(tmp_path, num_items=20)
    assert len(read(folder)[0]) == 100 and len(set(codes)) == 3
