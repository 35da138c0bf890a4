"""`medcodi generate`: prompts from files or text, outputs as files, one manifest.json."""

import datetime
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

import medcodi
from medcodi.pipeline import MedCoDiPipeline

MANIFEST = "manifest.json"


def parse_prompts(pipe: MedCoDiPipeline, texts: Sequence[str]) -> dict[str, list[Any]]:
    """`NAME=VALUE` texts -> prompts. A name given several times makes several rows."""
    prompts: dict[str, list[Any]] = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator or not value:
            raise ValueError(f"a prompt must read NAME=VALUE, got {text!r}; names: {', '.join(pipe.modalities)}")
        if name not in pipe.modalities:
            raise ValueError(f"unknown modality {name!r} in prompt; names: {', '.join(pipe.modalities)}")
        prompts.setdefault(name, []).extend(pipe.family.modality(name).parse(value))
    return prompts


def generate_to_folder(
    pipeline: Path, output: Path, prompt_texts: Sequence[str], outputs: Sequence[str] | None, num_samples: int,
    num_inference_steps: int, guidance_scale: float | None, seed: int, batch_size: int, device: str,
) -> dict[str, Any]:  # fmt: skip
    """Generate and write; returns the manifest. ValueError when `output` holds a manifest already."""
    if (output / MANIFEST).exists():
        raise ValueError(f"{output} already holds a {MANIFEST}: choose another folder")
    pipe = MedCoDiPipeline.from_pretrained(pipeline).to(device)
    prompts = parse_prompts(pipe, prompt_texts)
    generator = torch.Generator().manual_seed(seed)
    out = pipe(
        prompts, outputs, num_inference_steps, guidance_scale, generator, num_images_per_prompt=num_samples,
        batch_size=batch_size,
    )  # fmt: skip
    output.mkdir(parents=True, exist_ok=True)
    stems = [f"sample_{i:05d}" for i in range(len(out))]
    files = {name: pipe.family.modality(name).write(values, output, stems) for name, values in out.values.items()}
    samples = [
        {"id": stem, "seed": out.seeds[i], "prompt_row": out.prompt_index[i],
         "files": {name: {"path": names[i], "sha256": file_hash(output / names[i])} for name, names in files.items()}}
        for i, stem in enumerate(stems)
    ]  # fmt: skip
    manifest = {
        "synthetic": True, "clinical_use": False, "medcodi_version": medcodi.__version__,
        "model": {"path": pipeline.name, "hash": pipe.model_hash}, "created": datetime.date.today().isoformat(),
        "seed": seed, "prompts": list(prompt_texts), "outputs": list(out.values),
        "settings": {"num_inference_steps": num_inference_steps, "guidance_scale": guidance_scale,
                     "num_samples": num_samples},
        "samples": samples,
    }  # fmt: skip
    (output / MANIFEST).write_text(json.dumps(manifest, indent=1))
    return manifest


def file_hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
