"""The stages as tasks, and how a stage of a recipe is trained."""

import logging

from medcodi.config import STAGES, Recipe
from medcodi.config_io import for_modality
from medcodi.training.loop import fit
from medcodi.training.run import Run
from medcodi.training.task import Task
from medcodi.training.tasks.autoencoder import AutoencoderTask
from medcodi.training.tasks.stage1 import Stage1Task
from medcodi.training.tasks.stage2 import Stage2Task
from medcodi.training.tasks.stage3 import Stage3Task

logger = logging.getLogger(__name__)

SKIPPED = {  # why, of one modality alone
    "stage1": "there is no other to share a space with",
    "stage3": "there is no other to be generated with",
}


def tasks_of(run: Run, stage: str) -> list[tuple[str, type[Task], tuple]]:
    """(modality name or group representative, class, arguments) of each task of a stage, in order.

    `STAGE.modality` in the recipe restricts autoencoder and stage2 to one modality. ValueError for
    one, or for settings by modality, in a stage that trains all of them together. Such a stage has
    no task where there is one modality alone.
    """
    family, section = run.family, getattr(run.recipe, stage)
    chosen = section.modality
    if stage == "autoencoder":
        groups = [family.modality(chosen).group] if chosen else list(family.groups)
        return [(family.groups[g][0], AutoencoderTask, (run, g)) for g in groups]
    if stage == "stage2":
        return [(name, Stage2Task, (run, name)) for name in ([chosen] if chosen else family.names)]
    if chosen or section.per_modality:
        key = f"modality={chosen}" if chosen else "per_modality"
        raise ValueError(
            f"{stage} trains all modalities together, it has no part for a single one: leave out "
            f"{stage}.{key}"
        )
    if not family.has_prompts:
        return []
    return [("", {"stage1": Stage1Task, "stage3": Stage3Task}[stage], (run,))]


def train_stage(recipe: Recipe, stage: str) -> None:
    """Train every task of a stage of a recipe, one after the other. Finished ones are skipped."""
    if stage not in STAGES:
        raise ValueError(f"unknown stage {stage!r}. Stages: {', '.join(STAGES)}")
    if recipe.adapters.base:
        raise ValueError("a recipe with adapters.base trains by medcodi.adapters.train_adapters")
    run = Run(recipe)
    tasks = tasks_of(run, stage)
    if not tasks:
        (alone,) = run.family.names
        logger.info("%s is skipped: %s is the only modality, %s", stage, alone, SKIPPED[stage])
    for name, task_class, arguments in tasks:
        fit(task_class(*arguments), for_modality(getattr(recipe, stage), name), recipe)
