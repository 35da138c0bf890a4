"""The commands of every page of the guide run, in their order, on small data that stand under the
names that the page gives them. What cannot run here says why."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from medcodi.cli.app import app
from medcodi.config_io import save_yaml
from medcodi.data.prepared import PreparedDataset
from medcodi.data.study import SPLITS, Study
from medcodi.evaluation.per_sample import SampleValues, write_samples
from medcodi.turing.store import RatingStore
from tests.foreign.stable_diffusion import write_vae
from tests.pages import PAGES, ROOT, commands, medcodi_words, with_replaced
from tests.sources.chexpert_tree import write_chexpert
from tests.sources.dicom_files import ramp
from tests.sources.mimic_tree import write_tree
from tests.sources.nih_release import write_release
from tests.sources.sbu_tree import write_tree as write_sbu_tree
from tests.tiny import STAGE, TABULAR, copy_run, tiny_recipe, write_recipe
from tests.turing.folders import write_study

NOT_RUN = {
    "pip install": "the tests run where it is installed",
    "make": "CI runs it",
    "python -m pytest": "it is a part of this suite",
    "accelerate launch": "it asks for GPUs; test_accelerate_configs.py reads its file",
    "medcodi evaluate --config phantom --pipeline phantom --tables privacy": (
        "it asks for more patients than the tiny run has"
    ),
    "medcodi bench memory": "minutes; tests/bench/test_memory.py runs it on a small recipe",
}
LESS = {  # options that make a long measurement short
    "medcodi prepare phantom": ["--num-studies", "40", "--size", "16", "--num-processes", "1"],
    "medcodi privacy fit": ["--false-match-rate", "0.1"],
    "medcodi bench prepare_speed": ["--num-files", "2", "--num-compressed", "0", "--rounds", "1"],
    "medcodi bench prepare_memory": ["--num-files", "4", "--num-workers", "1"],
    "medcodi bench speed": ["--repeats", "1", "--num-studies", "16"],
    "medcodi bench sampling": ["--num-studies", "4"],
    "medcodi bench keep": ["--what", "region", "--num-studies", "2"],
    "medcodi serve turing": ["--port", "0"],
    "medcodi serve demo": ["--port", "0"],
}


def run_page(name: str, replaced: dict[str, str]) -> None:
    """Run the commands of a page in the working directory, with some of its words replaced."""
    for words in commands(ROOT / "docs" / "guide" / f"{name}.md"):
        command = " ".join(words)
        if command.startswith(tuple(NOT_RUN)):
            continue
        words = with_replaced(words, replaced)
        words += [w for start, more in LESS.items() if command.startswith(start) for w in more]
        if words[0] == "torchrun":
            launch(words)
        elif command.startswith("medcodi serve"):
            serve(words)
        elif "--help" not in words:
            result = CliRunner().invoke(app, medcodi_words(words))
            assert result.exit_code == 0, (command, result.output, result.exception)


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "ACCELERATE_USE_CPU": "true"}


def launch(words: list[str]) -> None:
    script = next(i for i, word in enumerate(words) if word.endswith(".py"))
    call = [*words[:script], str(ROOT / words[script]), *words[script + 1 :]]
    torchrun = [sys.executable, "-m", "torch.distributed.run", *call[1:]]
    done = subprocess.run(torchrun, env=environment(), capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr


def serve(words: list[str]) -> None:
    """The page answers until Ctrl-C."""
    call = [sys.executable, "-m", "medcodi.cli.app", *words[1:]]
    options = {"env": environment(), "stdout": subprocess.PIPE, "text": True}
    # whoever starts the tests in the background has Ctrl-C ignored, also by what they start
    options["preexec_fn"] = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(call, **options) as process:
        told = process.stdout.readline()
        process.send_signal(signal.SIGINT)
    assert "http://127.0.0.1" in told


def write_folder(folder: Path, prepared: Path, mapping: Path) -> None:
    """A csv file with images beside it, and its mapping, from the studies of a prepared folder."""
    rows = []
    for study in (study for split in SPLITS for study in PreparedDataset.load(prepared, split)):
        row = {"study": study.study_id, "patient": study.patient_id}
        row["text"] = study.values.get("report")
        row["heart_rate"] = study.values.get("tabular", {}).get("heart_rate")
        for name in {"frontal", "lateral"} & set(study.values):
            row[name] = f"{study.study_id}_{name}.png"
            folder.mkdir(parents=True, exist_ok=True)
            grey = np.round(study.values[name] * 255).astype(np.uint8)
            Image.fromarray(grey).save(folder / row[name])
        rows.append(row)
    pd.DataFrame(rows).astype({"heart_rate": "Int64"}).to_csv(folder / "studies.csv", index=False)
    column = {"column": "heart_rate", "type": "integer", "unit": "1/min"}
    images = {name: {"path_column": name} for name in ("frontal", "lateral")}
    values = {"csv": "studies.csv", "patient_id": "patient", "study_id": ["study"], "size": 16}
    values |= {"images": images, "reports": {"report": {"column": "text"}}}
    save_yaml(values | {"tables": {"tabular": {"columns": [column]}}}, mapping)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def finished(tiny_run, here):
    """The words by which pages name a trained recipe."""
    recipe = copy_run(tiny_run, here / "run")
    config, pipeline = write_recipe(recipe, here / "tiny.yaml"), recipe.run_dir / "pipeline"
    return {
        "phantom_tiny": str(config),
        "--config phantom": str(config),
        "--pipeline phantom": str(pipeline),
        "runs/NAME/pipeline": str(pipeline),
        "runs/mine/pipeline": str(pipeline),
        "data/NAME": recipe.data.prepared,
        "data/mine": recipe.data.prepared,
    }


@pytest.mark.slow
def test_train(finished, tiny_prepared, here):
    write_folder(here / "DATA", tiny_prepared, here / "my_mapping.yaml")
    recipe = tiny_recipe(Path("runs"), name="NAME", data={"prepared": "data/mine"})
    write_recipe(recipe, here / "my.yaml")
    del finished["runs/NAME/pipeline"], finished["data/mine"]
    run_page("train", finished)
    assert (here / "samples" / "manifest.json").is_file()


@pytest.mark.slow
def test_generate(finished, here):
    run_page("generate", finished)


@pytest.mark.slow
def test_parts(finished, here):
    run_page("parts", finished)
    assert (here / "data" / "phantoms_full" / "imputed.csv").is_file()


@pytest.mark.slow
def test_evaluate(finished, here):
    folder, readers = write_study(here / "turing")
    store = RatingStore(folder / "ratings.sqlite")
    for reader in readers:
        for item in json.loads((folder / "truth.json").read_text())["items"]:
            store.rate(reader, item, 3)
    store.close()
    study = Study("s", "p", {})
    for name in "AB":
        values = [SampleValues("F>T", "BLEU-1", [study], [0.5])]
        write_samples(here / "results" / name / "samples" / "T4.csv", values)
    run_page("evaluate", finished | {"STUDY": str(here / "turing" / "study")})


@pytest.mark.slow
def test_adapt(finished, here):
    recipe = {"name": "my_site", "data": {"prepared": finished["data/mine"]}}
    recipe["adapters"] = {"base": finished["--pipeline phantom"], "rank": 2}
    save_yaml(recipe | {"stage2": {"num_steps": 2, "batch_size": 8}}, here / "my_site.yaml")
    run_page("adapt", finished)
    assert (here / "adapted" / "manifest.json").is_file()


@pytest.mark.slow
def test_demo(finished, here):
    (here / "password.txt").write_text("correct horse battery\n")
    local = finished | {"0.0.0.0": "127.0.0.1"}
    run_page("demo", local)


@pytest.mark.slow
def test_privacy(finished, here):
    run_page("privacy", finished)


@pytest.mark.slow
def test_clusters(finished, here):
    run_page("clusters", finished)


@pytest.mark.slow
def test_foreign_weights(tiny_prepared, here):
    recipe = tiny_recipe(Path("runs"), data={"prepared": str(tiny_prepared)})
    write_recipe(recipe, here / "my.yaml")
    write_vae(here / "sd15")
    run_page("foreign-weights", {})
    assert (here / "runs" / "tiny" / "autoencoder").is_dir()


@pytest.mark.slow
def test_dicom(here):
    reports = write_tree(here / "MIMIC")
    write_release(here / "NIH")
    write_chexpert(here / "CHEXPERT")
    write_sbu_tree(here / "COVID-19-NY-SBU")
    (here / "NLMCXR_png").mkdir()
    Image.fromarray(ramp(16, 16).astype(np.int32)).save(
        here / "NLMCXR_png" / "CXR1_1_IM-0001-3001.png"
    )
    run_page("dicom", {"REPORTS": str(reports)})
    for name in ("mine", "mimic", "openi", "nih", "chexpert", "sbu", "public"):
        assert (here / "data" / name / "prepared.json").is_file()


def test_tables(here):
    rows = [f"OAS1_{n:04d}_MR1,{'FM'[n % 2]},{20 + n},{n % 5 + 1}" for n in range(40)]
    (here / "oasis_cross-sectional.csv").write_text("\n".join(["ID,M/F,Age,Educ", *rows]) + "\n")
    save_yaml(
        {
            "patient_id": "ID",
            "patient_pattern": r"(OAS1_\d+)_MR\d",
            "columns": {"M/F": {"name": "sex"}, "Age": {"min": 0, "max": 120}},
        },
        here / "oasis.yaml",
    )
    ages = [">89" if n % 9 == 0 else 20 + n % 70 for n in range(200)]
    table = pd.DataFrame({"sex": ["F", "M"] * 100, "age": ages, "visits": range(0, 1000, 5)})
    table.to_csv(here / "rows.csv", index=False)
    table.assign(sex=table["sex"].where(table.index > 20)).to_csv(
        here / "rows_with_gaps.csv", index=False
    )
    save_yaml({"constraints": [{"positive": ["age"]}]}, here / "table.yaml")
    recipe = {
        "name": "rows",
        "data": {"prepared": "data/oasis"},
        "modalities": {"tabular": TABULAR},
    }
    save_yaml(recipe | dict.fromkeys(("autoencoder", "stage2"), STAGE), here / "rows.yaml")
    run_page("tables", {"configs/tables/oasis.yaml": str(here / "oasis.yaml")})
    assert (here / "data" / "oasis" / "prepared.json").is_file()
    made = pd.read_csv(here / "synthetic.csv")
    assert set(made["sex"]) == {"F"} and set(made["age"]) == {">89"}
    assert pd.read_csv(here / "full.csv")["sex"].notna().all()


def test_label_reports(here):
    (here / "reports.csv").write_text("id,text\n1,No pneumothorax.\n")
    run_page("label-reports", {})


def test_every_page_with_commands_has_its_test():
    pages = {p.stem for p in PAGES if p.parent.name == "guide" and commands(p)}
    tested = {name.removeprefix("test_").replace("_", "-") for name in globals()}
    assert pages - tested == {"add-a-modality"}  # its one command is the contract tests
