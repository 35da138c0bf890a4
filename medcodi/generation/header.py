"""What a manifest says of a run beside its files: model, settings, prompts."""

import datetime
import os
from typing import Any

import medcodi
from medcodi.diffusion.sampler import SAMPLER_VERSION
from medcodi.generation.request import Request
from medcodi.pipeline import MedCoDiPipeline


def describe(
    request: Request, pipe: MedCoDiPipeline, outputs: list[str], hashes: list[str]
) -> dict[str, Any]:
    """Everything in the manifest but its files; `settings` are those that change what is generated.
    Of studies it says which values of them were given, not which studies they were."""
    settings = {
        "num_inference_steps": request.num_inference_steps,
        "guidance_scale": request.guidance_scale,
    }
    chosen = {
        "keep": list(request.keep),
        "mask": list(request.mask),
        "strength": list(request.strength),
        "order": list(request.order or []),
        "solver": request.solver,
        "dtype": request.dtype,
        "compile": request.compile,
        "guidance_interval": list(request.guidance_interval or []),
        "lora_strength": request.lora_strength if request.lora else None,
    }
    settings |= {key: value for key, value in chosen.items() if value}
    if request.coupling_scale is not None:
        settings["coupling_scale"] = request.coupling_scale
    header = {
        "synthetic": True,
        "clinical_use": False,
        "medcodi_version": medcodi.__version__,
        "model": {
            "name": pipe.family.recipe.name,
            "path": request.pipeline.name,
            "hash": pipe.model_hash,
        },
        "created": today(),
        "format": request.format,
        "seed": request.seed,
        "prompts": list(request.prompts),
        "prompt_hashes": hashes,
        "outputs": outputs,
        "settings": settings,
        # of the recipe, where the settings say nothing
        "sampling": {name: pipe.family.modality(name).args.sampling() for name in outputs},
        "sampler": SAMPLER_VERSION,
        "num_samples": request.num_samples,
        "pixel_spacing": request.pixel_spacing,
        "batch_size": request.batch_size,
    }
    if request.labels:
        header["labels"] = list(request.labels)
    if request.studies is not None:
        header["studies"] = {
            "split": request.split,
            "given": list(request.given),
            "limit": request.limit,
        }
    return header


def published(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings that may stand in every file: not what was kept, as it was typed. The hash of the
    prompts covers that."""
    return {key: value for key, value in settings.items() if key not in ("keep", "mask")}


def today() -> str:
    """YYYY-MM-DD; SOURCE_DATE_EPOCH (seconds since 1970, reproducible-builds.org) stands for today
    where it is set."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    if epoch is None:
        return datetime.date.today().isoformat()
    if not epoch.isdecimal():
        raise ValueError(f"SOURCE_DATE_EPOCH must be seconds since 1970, got {epoch!r}")
    return datetime.datetime.fromtimestamp(int(epoch), datetime.UTC).date().isoformat()
