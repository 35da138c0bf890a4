"""What a stage is keyed by. A finished export is reused, and a checkpoint resumed, only by a recipe
that has the same of these; everything else in the recipe may change.

| stage | its own parts |
| --- | --- |
| autoencoder of a group | arguments of the autoencoder, assets |
| stage 1 | arguments of all prompt encoders, `shared_space`, assets of all modalities |
| cache of a modality | weights and arguments of its autoencoder and encoder, the data |
| stage 2 of a modality | arguments of its denoiser, `diffusion` but for stage 3, all caches |
| stage 3 | arguments of the environment encoders, `diffusion`, weights of stage 2, all caches |

and of all stages: the settings of the stage, but for those that change no number, and `seed`.
"""

import dataclasses
from typing import TYPE_CHECKING, Any

from medcodi.config import StageConfig
from medcodi.data.cache import SHARD_ROWS
from medcodi.identity import fingerprint, plain

if TYPE_CHECKING:
    from medcodi.training.run import Run
    from medcodi.training.task import Task

CACHE_FORMAT = 3  # of what a row of a cache holds
# of StageConfig: they change no number, or which task it is
NO_INFLUENCE = (
    "modality",
    "log_every",
    "validate_every",
    "validation_batches",
    "paired_validation",
    "preview_every",
    "checkpoint_every",
    "checkpoints_kept",
    "per_modality",
    "channels_last",
    "compile",
    "gradient_checkpointing",
)
# of DiffusionConfig: stage 2 does not read them
JOINT_ONLY = (
    "partner_mean",
    "environment_dim",
    "independent_timestep_probability",
    "clean_probability",
    "environment_contrast_weight",
    "environment_contrast_temperature",
)


def stage_identity(task: "Task", config: StageConfig, seed: int) -> dict[str, Any]:
    """The `fingerprint` of a task, and what that is made from, to tell what differs."""
    settings = {k: v for k, v in dataclasses.asdict(config).items() if k not in NO_INFLUENCE}
    if config.dp is None:  # as if there was no such key
        settings.pop("dp")
    if not task.accumulation_changes:
        settings["gradient_accumulation_steps"] = 1
    made_from = {
        "seed": seed,
        task.label.split("/")[0]: settings,
        "built_on": task.dependencies(),
    }
    return {"fingerprint": fingerprint([task.label, made_from]), **plain(made_from)}


def of_autoencoder(run: "Run", group: str) -> dict[str, Any]:
    modality = run.family.representative(group)
    return {
        "autoencoder": modality.arguments("autoencoder"),
        "assets": fingerprint(run.family.assets.get(modality.name)),
    }


def of_stage1(run: "Run") -> dict[str, Any]:
    family = run.family
    return {
        "encoders": {name: m.arguments("encoder") for name, m in family.modalities.items()},
        "shared_space": dataclasses.asdict(run.recipe.shared_space),
        "assets": fingerprint(family.assets),
    }


def of_stage2(run: "Run", name: str) -> dict[str, Any]:
    diffusion = dataclasses.asdict(run.recipe.diffusion)
    prompts: dict[str, Any] = dict.fromkeys(run.family.prompt_names(name))
    if run.recipe.diffusion.prompt_latents:  # encoded as environments are
        prompts = {n: run.family.modality(n).arguments("environment") for n in prompts}
    return {
        "denoiser": run.family.modality(name).arguments("denoiser"),
        "diffusion": {k: v for k, v in diffusion.items() if k not in JOINT_ONLY},
        "prompts": prompts,
        "caches": {n: cache_key(run, n) for n in run.family.names},
    }


def of_stage3(run: "Run") -> dict[str, Any]:
    family = run.family
    return {
        "environments": {n: m.arguments("environment") for n, m in family.modalities.items()},
        "diffusion": dataclasses.asdict(run.recipe.diffusion),
        "stage2": {n: run.hash(f"stage2/{n}") for n in family.names},
        "caches": {n: cache_key(run, n) for n in family.names},
    }


def cache_key(run: "Run", name: str) -> str:
    """Hash of what makes the cache of a modality."""
    modality = run.family.modality(name)
    return fingerprint(
        [
            CACHE_FORMAT,
            SHARD_ROWS,
            run.hash(f"autoencoder/{modality.group}"),
            run.hash("stage1") if run.family.has_prompts else "",
            modality.arguments("encoder", "autoencoder"),
            [run.family.assets.get(n) for n in run.family.groups[modality.group]],
            run.data_hash,
        ]
    )
