"""From the finished stages of a run to a pipeline folder."""

import json
from pathlib import Path

import torch
from torch import nn

from medcodi.config import Recipe
from medcodi.data.study import SPLITS
from medcodi.diffusion.joint import JointModel
from medcodi.files import staged
from medcodi.nn.weights import WEIGHTS, load_module
from medcodi.pipeline import MedCoDiPipeline
from medcodi.pipeline.facts import Facts
from medcodi.training.dp.statement import statement
from medcodi.training.exporting import data_hash
from medcodi.training.overview import hours
from medcodi.training.run import Run, frozen


def build_pipeline(recipe: Recipe, coupled: bool = True) -> MedCoDiPipeline:
    """Pipeline of a run. Without stage 3 (or with `coupled=False`) the outputs are generated
    independently."""
    run = Run(recipe)
    family = run.family
    space = run.shared_space()
    components: dict[str, dict[str, nn.Module]] = {
        "encoder": dict(space.encoders.items()),
        "autoencoder": {group: run.autoencoder(group) for group in family.groups},
        "environment": {},
    }
    if coupled and (run.folder / "stage3" / "export" / WEIGHTS).is_file():
        diffusions = {n: family.build_diffusion(n, coupled=True) for n in family.names}
        joint = JointModel(diffusions, family.build_environments(), family.objective)
        frozen(load_module(joint, run.export("stage3")))
        components["diffusion"] = dict(joint.diffusions.items())
        components["environment"] = dict(joint.environments.items())
    else:
        components["diffusion"] = {name: frozen(run.diffusion(name)) for name in family.names}
    schedulers = {name: family.objective.scheduler() for name in family.names}
    return MedCoDiPipeline.from_components(family, components, schedulers)


def facts_of(recipe: Recipe, joint: bool = False) -> Facts:
    """What the model card tells of a run: its data, the commits of medcodi that trained it, the
    hours of its stages, its privacy; `joint`: the pipeline has stage 3."""
    run = Run(recipe)
    stages = [path.parent for path in sorted(run.folder.rglob("metrics.jsonl"))]
    commits = {
        json.loads((stage / "environment.json").read_text())["git_commit"]
        for stage in stages
        if (stage / "environment.json").is_file()
    }
    return Facts(
        data=_about_data(run),
        data_hash=data_hash(recipe),
        privacy=statement(run, joint),
        commit=", ".join(sorted(commit for commit in commits if commit)),
        hours={stage.relative_to(run.folder).as_posix(): hours(stage) for stage in stages},
    )


def _about_data(run: Run) -> str:
    """Source, studies by split and identity of the prepared data; no path."""
    if not data_hash(run.recipe):  # it may be gone when a pipeline is assembled
        return ""
    index = run.data("train", []).index
    notes, splits = index["notes"], index["splits"]
    studies = ", ".join(f"{splits[split]['studies']:,} {split}" for split in SPLITS)
    told = f"{notes.get('source', 'folder')}: {studies} studies; identity `{run.data_hash}`"
    return told if notes.get("clinical", True) else f"{told}; drawn, not clinical data"


def assemble(recipe: Recipe, coupled: bool = True, dtype: torch.dtype | None = None) -> Path:
    """Write runs/NAME/pipeline, in place of an older one; `dtype` rounds its weights. The model
    card tells of the data, the commits and the hours."""
    folder = recipe.run_dir / "pipeline"
    pipe = build_pipeline(recipe, coupled)
    pipe.facts = facts_of(recipe, joint=pipe.environments is not None)
    with staged(folder, overwrite=True) as temporary:
        pipe.save_pretrained(temporary, dtype)
    return folder
