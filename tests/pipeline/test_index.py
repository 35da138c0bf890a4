"""Pipeline folders that are not what they should be: one clear ValueError, and nothing that stands
in them is imported, followed out of the folder or waited for."""

import json
import os
import shutil
import sys

import pytest

from medcodi.pipeline import MedCoDiPipeline
from medcodi.pipeline.index import INDEX, check_plain, read_index
from tests.pipeline.damage import damage

FAST, ALL = 30, 500


@pytest.fixture(scope="module")
def whole(tiny_run, tmp_path_factory):
    """A copy of the pipeline's folder that stays as it is."""
    folder = tmp_path_factory.mktemp("whole") / "pipeline"
    return shutil.copytree(tiny_run.run_dir / "pipeline", folder)


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "pipeline")


def change(folder, **values):
    """Keys of the index, "recipe__diffusion__shift" for nested ones; None removes."""
    path = folder / INDEX
    document = json.loads(path.read_text())
    for keys, value in values.items():
        owner, *rest = document, *keys.split("__")
        for key in rest[:-1]:
            owner = owner[key]
        owner.pop(rest[-1], None)
        if value is not None:
            owner[rest[-1]] = value
    path.write_text(json.dumps(document))


def test_the_index_survives_writing(whole, tmp_path):
    index = read_index(whole)
    index.write(tmp_path)
    assert read_index(tmp_path) == index
    assert set(index.names) == set(index.recipe.modalities) and len(index.model_hash) == 16


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"recipe": []}, "recipe must be a mapping, got list"),
        ({"recipe": None}, "recipe must be a mapping, got nothing"),
        ({"weights": None}, "missing key 'weights'"),
        ({"weights": {}}, "weights and checksums must name the same files"),
        ({"weights": {}, "checksums": {}}, "weights has no file of encoder/"),
        ({"assets": [1]}, "assets must be a mapping"),
        ({"assets__report": {}}, "encoder/report cannot be built: KeyError"),
        ({"assets__report__tokenizer": "{"}, "report cannot be built"),
        ({"schedulers": {}}, "schedulers names no modality"),
        ({"schedulers__frontal": "UNet2DModel"}, "expected a scheduler class of diffusers, got"),
        ({"schedulers__frontal": "os"}, "expected a scheduler class of diffusers, got 'os'"),
        (
            {"schedulers__frontal": "DDIMScheduler"},
            "describes a 'FlowMatch.*', but model_index.json a 'DDIMSch",
        ),
        ({"recipe__diffusion__shift": None}, "is not whole: 'shift' is missing"),
        ({"recipe__diffusion__shift": "x"}, "shift must be a number, got 'x'"),
        ({"recipe__diffusion__context_dim": 10**9}, "context_dim must lie within"),
        ({"recipe__modalities__frontal": None}, "unknown key 'frontal'"),
        ({"recipe__modalities__frontal__group": "../x"}, r"'../x' is no plain name"),
        ({"recipe__modalities__report__kind": "sound"}, "unknown modality kind 'sound'"),
        ({"stray": 1}, "unknown key 'stray'"),
        ({"weights": "x" * 5000}, r"weights must be a mapping, got 'x{70,79}$"),
        ({"_class_name": "x" * 5000}, r"describes a 'x{70,79}, expected"),
        ({"recipe__seed": "x" * 5000}, r"seed must be of type int, got 'x{70,79}$"),
        ({"facts__hours": 3}, "hours must be a mapping"),
    ],
)
def test_a_damaged_index_is_one_value_error(folder, values, match):
    change(folder, **values)
    with pytest.raises(ValueError, match=match) as caught:
        MedCoDiPipeline.from_pretrained(folder)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize("part", ["shared_space", "diffusion"])
def test_a_part_of_the_recipe_that_is_null_is_not_whole(folder, part):
    document = json.loads((folder / INDEX).read_text())
    document["recipe"][part] = None
    (folder / INDEX).write_text(json.dumps(document))
    with pytest.raises(ValueError, match=r"model_index.json: recipe"):
        MedCoDiPipeline.from_pretrained(folder)


@pytest.mark.parametrize(
    "path", ["../x", "/etc/passwd", "diffusion/../x/model.safetensors", "x/y/z"]
)
def test_weight_paths_stay_in_the_folder(folder, path):
    document = json.loads((folder / INDEX).read_text())
    for key in ("weights", "checksums"):
        document[key][path] = "0" * 16
    (folder / INDEX).write_text(json.dumps(document))
    with pytest.raises(ValueError, match=r"must read KIND/NAME/FILE|is no plain name"):
        MedCoDiPipeline.from_pretrained(folder)


@pytest.mark.parametrize("name", ["", "..", ".", "a/b", "a\\b", "/a", "a b", "\x00", "é", 3, None])
def test_plain_names(name):
    with pytest.raises(ValueError, match=r"index: .* is no plain name"):
        check_plain(name, "index")


def test_no_code_of_a_folder_runs(folder):
    """huggingface/diffusers#13446: files and names that other loaders would execute."""
    (folder / "evil.py").write_text("raise SystemExit('run')")
    (folder / "pipeline.py").write_text("raise SystemExit('run')")
    document = json.loads((folder / INDEX).read_text())
    document |= {"_class_name": ["evil", "Evil"], "auto_map": {"AutoModel": "evil.Evil"}}
    (folder / INDEX).write_text(json.dumps(document))
    with pytest.raises(ValueError, match=r"describes a \['evil', 'Evil'\], expected"):
        MedCoDiPipeline.from_pretrained(folder)
    document |= {"_class_name": "MedCoDiPipeline"}
    (folder / INDEX).write_text(json.dumps(document))
    with pytest.raises(ValueError, match="unknown key 'auto_map'"):
        MedCoDiPipeline.from_pretrained(folder)
    assert "evil" not in sys.modules


@pytest.mark.parametrize("name", [INDEX, "diffusion/report/model.safetensors"])
def test_pipes_and_links_out_are_refused(folder, name, tmp_path):
    path, outside = folder / name, tmp_path / "outside"
    shutil.move(path, outside)
    os.mkfifo(path)
    with pytest.raises(ValueError, match="is no regular file"):
        MedCoDiPipeline.from_pretrained(folder)
    path.unlink()
    path.symlink_to(outside)
    with pytest.raises(ValueError, match="is a link that leads out of the pipeline folder"):
        MedCoDiPipeline.from_pretrained(folder)


def test_links_of_the_hubs_cache_are_followed(folder, tmp_path):
    """models--OWNER--MODEL/snapshots/REVISION/FILE -> ../../blobs/HASH"""
    snapshot, blobs = tmp_path / "hub" / "snapshots" / "rev", tmp_path / "hub" / "blobs"
    blobs.mkdir(parents=True)
    shutil.move(folder, snapshot)
    path = snapshot / "diffusion" / "report" / "model.safetensors"
    shutil.move(path, blobs / "abc")
    path.symlink_to(blobs / "abc")
    assert MedCoDiPipeline.from_pretrained(snapshot, modalities=["report"]).modalities == ["report"]


def survives(whole, tmp_path, seeds):
    """A damaged folder loads and generates, or raises one ValueError of one line."""
    unclear = []
    for seed in seeds:
        folder = shutil.copytree(whole, tmp_path / f"{seed}" / "pipeline")
        done = damage(folder, seed)
        try:
            pipe = MedCoDiPipeline.from_pretrained(folder)
            pipe.set_progress_bar_config(disable=True)
            pipe(outputs=["report", "tabular"], num_inference_steps=1, seeds=[1])
        except ValueError as error:
            if "\n" in str(error) or len(str(error)) > 2000:
                unclear.append((seed, done, str(error)[:300]))
        except BaseException as error:
            unclear.append((seed, done, repr(error)[:300]))
        shutil.rmtree(folder.parent)
    assert not unclear


def test_damaged_folders_end_in_one_value_error(whole, tmp_path):
    survives(whole, tmp_path, [*range(FAST), 137])


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_many_damaged_folders_end_in_one_value_error(whole, tmp_path):
    survives(whole, tmp_path, range(FAST, ALL))
