"""From the finished stages of a run to a pipeline folder."""

from pathlib import Path

import torch
from torch import nn

from medcodi.config import Recipe
from medcodi.diffusion.joint import JointModel
from medcodi.files import staged
from medcodi.nn.weights import WEIGHTS, load_module
from medcodi.pipeline import MedCoDiPipeline
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
    pipe = MedCoDiPipeline.from_components(family, components, schedulers)
    if Path(recipe.data.prepared).is_dir():  # a run may outlive its data
        pipe.facts.data_hash = run.data_hash
    return pipe


def assemble(recipe: Recipe, coupled: bool = True, dtype: torch.dtype | None = None) -> Path:
    """Write runs/NAME/pipeline, in place of an older one; `dtype` rounds its weights."""
    folder = recipe.run_dir / "pipeline"
    pipe = build_pipeline(recipe, coupled)
    with staged(folder, overwrite=True) as temporary:
        pipe.save_pretrained(temporary, dtype)
    return folder
