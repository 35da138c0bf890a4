"""Prompts from a prepared folder, solvers, and `scripts/generate_dataset.py` in one and in two real
processes."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from medcodi.cli import main
from medcodi.config import DiffusionConfig
from medcodi.data.prepared import PreparedDataset
from medcodi.diffusion.objective import build_objective
from medcodi.generation.formats.base import hash_prompts
from medcodi.generation.keeping import GivenParts
from medcodi.generation.prompts import GivenPrompts, StudyPrompts
from medcodi.generation.request import Request, parse_interval
from medcodi.generation.run import generate_to_folder
from medcodi.pipeline.solvers import build_solver
from medcodi.training.parallel.topology import SIZES

ROOT = Path(__file__).parents[2]


def request(tiny_run, output, **changes):
    settings = {
        "num_inference_steps": 2,
        "batch_size": 2,
        "outputs": ["lateral", "tabular"],
        "split": "train",
        "studies": Path(tiny_run.data.prepared),
        "given": ["report", "frontal"],
        "limit": 5,
    }
    return Request(tiny_run.run_dir / "pipeline", output, **(settings | changes))


def files(folder):
    return {
        p.relative_to(folder): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in folder.rglob("*.*")
        if p.is_file()
    }


def test_studies_are_the_prompts(tiny_run, tiny_pipeline, tmp_path):
    """Row i of the manifest is study i of the split by its hash; no identifier of a study is
    written."""
    manifest = generate_to_folder(request(tiny_run, tmp_path / "out"))
    data = PreparedDataset.load(tiny_run.data.prepared, "train").having("report", "frontal")
    assert len(manifest["samples"]) == 5
    for row, told in enumerate(manifest["prompt_hashes"]):
        values = data[row].values
        assert told == hash_prompts({"report": values["report"], "frontal": values["frontal"]})
    assert manifest["studies"] == {"split": "train", "given": ["report", "frontal"], "limit": 5}
    assert not any(study_id in json.dumps(manifest) for study_id in data.study_ids)
    taken = StudyPrompts(tiny_pipeline, Path(tiny_run.data.prepared), "train", ["report"]).take(
        [3, 1]
    )
    given = GivenPrompts(tiny_pipeline, {"report": taken["report"]})
    assert given.take([0, 1]) == taken and len(list(given.hashes(GivenParts(tiny_pipeline)))) == 2


@pytest.mark.parametrize("num_shards", [2, 3, 4])
def test_any_number_of_shards_makes_the_same_files(tiny_run, tmp_path, num_shards):
    """Five studies in batches of two: three batches; one of four shards has nothing to do."""
    generate_to_folder(request(tiny_run, tmp_path / "one"))
    made = [
        generate_to_folder(request(tiny_run, tmp_path / "many", shard=(k, num_shards)))
        for k in reversed(range(num_shards))
    ]
    assert made[0] is None and len(made[-1]["samples"]) == 5
    assert files(tmp_path / "one") == files(tmp_path / "many")


def test_shards_go_on_with_another_batch_size(tiny_run, tmp_path):
    """What one shard finished stays, although it now lies in the part of another."""
    assert (
        generate_to_folder(request(tiny_run, tmp_path / "out", shard=(0, 2), batch_size=4)) is None
    )
    assert (
        generate_to_folder(request(tiny_run, tmp_path / "out", shard=(0, 2), batch_size=1)) is None
    )
    before = files(tmp_path / "out")
    manifest = generate_to_folder(request(tiny_run, tmp_path / "out", shard=(1, 2), batch_size=1))
    assert len(manifest["samples"]) == 5
    after = files(tmp_path / "out")
    assert all(after[path] == told for path, told in before.items() if path.suffix != ".jsonl")
    for sample in manifest["samples"]:
        for file in sample["files"].values():
            assert after[Path(file["path"])] == file["sha256"]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (
            {"given": []},
            "say which values of the studies are the prompts; names: frontal, lateral, report, "
            "tabular",
        ),
        (
            {"given": ["repot"]},
            "unknown key 'repot' in the modalities of this pipeline; did you mean 'report'",
        ),
        ({"split": "tset"}, "unknown key 'tset' in splits of"),
        ({"limit": 0}, "limit must be at least 1, got 0"),
        ({"studies": None}, "name their prepared folder too"),
        (
            {"prompts": ["report=Normal."]},
            "either given one by one or taken from studies, not both",
        ),
        ({"outputs": ["report"]}, "cannot be prompt and output at once"),
        ({"solver": "dpm"}, r"unknown key 'dpm' in the solvers; did you mean 'dpm\+\+'"),
        ({"dtype": "bf16"}, "unknown key 'bf16' in the dtypes; did you mean 'bfloat16'"),
        (
            {"guidance_interval": (0.5, 0.2)},
            r"must read LOW,HIGH with 0 <= LOW < HIGH <= 1, got \(0.5, 0.2\)",
        ),
        ({"solver": "ddim"}, "solver 'ddim' does not suit this model's prediction; take 'euler'"),
    ],
)
def test_errors(tiny_run, tmp_path, change, match):
    with pytest.raises(ValueError, match=match):
        generate_to_folder(request(tiny_run, tmp_path / "out", **change))
    assert not (tmp_path / "out").exists()


def test_a_solver_is_used_and_written_down(tiny_run, tmp_path):
    made = {
        s: generate_to_folder(request(tiny_run, tmp_path / str(s), solver=s))
        for s in (None, "euler", "unipc")
    }
    assert [m["settings"].get("solver") for m in made.values()] == [None, "euler", "unipc"]
    name = Path("sample_00000_lateral.png")
    assert (
        files(tmp_path / "None")[name]
        == files(tmp_path / "euler")[name]
        != files(tmp_path / "unipc")[name]
    )


def test_precision_and_interval_are_used_and_written_down(tiny_run, tmp_path):
    """Settings of a manifest only where they were asked for; an interval of every noise level
    changes nothing here."""
    ways = {
        "plain": {},
        "half": {"dtype": "bfloat16"},
        "all": {"guidance_interval": (0.0, 1.0)},
        "middle": {"guidance_interval": (0.4, 0.6)},
    }
    made = {
        key: generate_to_folder(request(tiny_run, tmp_path / key, **way))
        for key, way in ways.items()
    }
    plain = made["plain"]["settings"]
    assert made["half"]["settings"] == plain | {"dtype": "bfloat16"}
    assert made["middle"]["settings"] == plain | {"guidance_interval": [0.4, 0.6]}
    image = {key: files(tmp_path / key)[Path("sample_00000_lateral.png")] for key in ways}
    assert (
        image["all"] == image["plain"]
        and len({image[key] for key in ("plain", "half", "middle")}) == 3
    )
    again = generate_to_folder(request(tiny_run, tmp_path / "middle", **ways["middle"]))
    assert again == made["middle"]
    assert parse_interval("0.1,0.9") == (0.1, 0.9)
    with pytest.raises(ValueError, match=r"must read LOW,HIGH .* got '0.1'"):
        parse_interval("0.1")


@pytest.mark.slow
def test_compiled_generation_says_so(tiny_run, tmp_path):
    made = generate_to_folder(
        request(tiny_run, tmp_path / "out", compile=True, outputs=["tabular"], limit=2)
    )
    assert made["settings"]["compile"] is True and len(made["samples"]) == 2


def sample_gaussian(objective, solver, num_steps, mean=1.5, sd=0.5):
    """Samples (4000,) of N(mean, sd^2) through `solver`, with the exact prediction of a model that
    knows it."""
    scheduler = build_solver(solver, objective.scheduler())
    scheduler.set_timesteps(num_steps)
    x = torch.randn(4000, 1, generator=torch.Generator().manual_seed(0))
    for timestep in scheduler.timesteps:
        a, s = objective.alpha_sigma(timestep.reshape(1))
        clean = mean + a * sd**2 / ((a * sd) ** 2 + s**2) * (x - a * mean)
        noise = (x - a * clean) / s
        told = {"epsilon": noise, "flow": noise - clean, "v_prediction": a * noise - s * clean}
        x = scheduler.step(told[objective.config.prediction_type], timestep, x).prev_sample
    return x


@pytest.mark.parametrize("solver", ["dpm++", "unipc"])
@pytest.mark.parametrize("prediction_type", ["flow", "v_prediction", "epsilon"])
def test_solvers_sample_the_right_distribution(prediction_type, solver):
    """Ten steps of second order leave no larger error than the first-order default; for flow a much
    smaller one."""
    objective = build_objective(DiffusionConfig(prediction_type=prediction_type))
    default = "euler" if prediction_type == "flow" else "ddim"
    errors = {
        name: abs(float(sample_gaussian(objective, name, 10).std()) - 0.5)
        for name in (default, solver)
    }
    assert errors[solver] < errors[default] * (0.2 if prediction_type == "flow" else 1)
    assert float(sample_gaussian(objective, solver, 50).mean()) == pytest.approx(1.5, abs=0.06)


def launch(tiny_run, output, num_processes, *arguments):
    call = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node",
        str(num_processes),
        str(ROOT / "scripts" / "generate_dataset.py"),
        "--pipeline",
        tiny_run.run_dir / "pipeline",
        "--output",
        output,
        "--studies",
        tiny_run.data.prepared,
        "--split",
        "train",
        "--given",
        "report,frontal",
        "--outputs",
        "lateral,tabular",
        "--num-inference-steps",
        "2",
        "--batch-size",
        "2",
        *arguments,
    ]
    environment = {
        **os.environ,
        "ACCELERATE_USE_CPU": "true",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
    }
    return subprocess.run(call, env=environment, capture_output=True, text=True, timeout=280)


@pytest.mark.slow
def test_two_processes_equal_one(tiny_run, tmp_path):
    """Real processes over gloo, bit for bit; the second run finds everything done; the wrong number
    is refused."""
    one, two = tmp_path / "one", tmp_path / "two"
    generate_to_folder(request(tiny_run, one))
    done = launch(tiny_run, two, 2, "--limit", "5", "--num-processes", "2")
    assert done.returncode == 0, done.stderr
    assert files(one) == files(two)
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert sorted(line["shard"] for line in told) == [[0, 2], [1, 2]] and 5 in [
        line["finished"] for line in told
    ]
    again = launch(tiny_run, two, 1, "--limit", "5")
    assert again.returncode == 0 and files(one) == files(two)
    refused = launch(tiny_run, tmp_path / "out", 1, "--num-processes", "2")
    assert refused.returncode != 0 and "expected 2 processes, 1 run" in refused.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "environment",
    [
        {"MASTER_ADDR": "127.0.0.1", "ACCELERATE_MIXED_PRECISION": "no"},
        {"SLURM_STEP_NUM_TASKS": "2"},
    ],
)
def test_fewer_processes_than_were_asked_for_are_refused(
    tmp_path, monkeypatch, capsys, environment
):
    """What accelerate launch sets on a CPU, and srun without a launcher."""
    for name in (*SIZES, "MASTER_ADDR", "ACCELERATE_MIXED_PRECISION", "RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match="1"):
        main(["generate", "--pipeline", "none", "--output", str(tmp_path / "out")])
    told = capsys.readouterr().err
    assert "asked for" in told and "--nproc_per_node N scripts/generate_dataset.py" in told


@pytest.mark.slow
def test_accelerate_launch_that_starts_one_process_is_refused(tiny_run, tmp_path):
    """On a CPU `accelerate launch --num_processes 2` starts one, with rank 0 of 1: it would do all
    the work, unasked."""
    call = [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        "--cpu",
        "--num_processes",
        "2",
        "--num_machines",
        "1",
        "--mixed_precision",
        "no",
        "--dynamo_backend",
        "no",
        ROOT / "scripts" / "generate_dataset.py",
        "--pipeline",
        tiny_run.run_dir / "pipeline",
        "--output",
        tmp_path / "out",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(call, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode != 0 and "asked for several processes" in done.stderr
    assert "torchrun --standalone --nproc_per_node N scripts/generate_dataset.py" in done.stderr
    assert not (tmp_path / "out").exists()
