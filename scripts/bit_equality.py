"""What a checkout computes, to the bit: losses, weights, samples of tiny families at a fixed seed.

A change that only moves code proves itself with it. Run it on both commits, then compare:

    PYTHONPATH=BEFORE python scripts/bit_equality.py run before.json
    PYTHONPATH=AFTER python scripts/bit_equality.py run after.json
    python scripts/bit_equality.py compare before.json after.json

Each family trains 20 steps of every stage on phantoms of 16 x 16 pixels; its pipeline then goes
every route from a subset of the modalities to a disjoint one. The families differ in the objective,
the fusion, the denoisers and the options of joint training. Floats are compared by their exact
value.
"""

import argparse
import hashlib
import itertools
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

STEPS, ROWS, SAMPLING_STEPS = 20, 2, 4
STAGE = {"num_steps": STEPS, "validate_every": 10, "optim": {"warmup_steps": 3}}
FC_UNET = {
    "model_channels": 8,
    "channel_mult": [1, 2],
    "attention": [True, False],
    "num_blocks": 1,
    "num_heads": 2,
    "norm_num_groups": 4,
}
FAMILIES: dict[str, dict[str, Any]] = {
    "flow, tokens, means": {
        "diffusion": {"prompt_latents": True, "timestep_sampling": "logit_normal"},
        "stage2": {"ema_decay": 0.9},
    },
    "flow, tokens, shift 3": {
        "diffusion": {
            "prompt_mean": False,
            "partner_mean": False,
            "shift": 3.0,
            "environment_contrast_weight": 0.1,
        },
        "stage3": {"ema_decay": 0.9, "gradient_accumulation_steps": 2},
    },
    "epsilon, mean, min-SNR, fully connected U-Net": {
        "diffusion": {
            "prediction_type": "epsilon",
            "fusion": "mean",
            "prompt_mean": False,
            "partner_mean": False,
            "loss_weighting": "min_snr",
        },
        "modalities": {"report": {"denoiser": {"fc_unet": FC_UNET}}},
    },
    "v, tokens, one prompt": {
        "diffusion": {
            "prediction_type": "v_prediction",
            "multi_prompt": False,
            "loss_weighting": "min_snr",
        },
        "modalities": {"tabular": {"null_prompt_probability": 0.5}},
    },
}


def digest(value: Any) -> str:
    """Short SHA-256 of a tensor with its type and shape, or of anything printable."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().contiguous()
        head = f"{value.dtype} {tuple(value.shape)}".encode()
        return hashlib.sha256(
            head + value.flatten().view(torch.uint8).numpy().tobytes()
        ).hexdigest()[:16]
    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]


def weights(path: Path) -> str:
    """Of the tensors of a file, whatever their names."""
    return digest(sorted(digest(tensor) for tensor in load_file(path).values()))


def losses(run: Path) -> dict[str, list[dict[str, Any]]]:
    """Rows of every metrics.jsonl, without the time that a step took."""
    found = {}
    for path in sorted(run.rglob("metrics.jsonl")):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        found[path.parent.relative_to(run).as_posix()] = [
            {k: v for k, v in row.items() if k != "sec_per_step"} for row in rows
        ]
    return found


def routes(names: list[str]) -> list[tuple[list[str], list[str]]]:
    """(prompts, outputs): every subset to every disjoint subset that is not empty."""
    found = []
    for roles in itertools.product(range(3), repeat=len(names)):
        outputs = [n for n, role in zip(names, roles, strict=True) if role == 2]
        if outputs:
            found.append(([n for n, r in zip(names, roles, strict=True) if r == 1], outputs))
    return found


def samples(pipe: Any, values: dict[str, list[Any]], steps: int) -> dict[str, dict[str, str]]:
    """Digests of the latents and of the decoded values of every route."""
    found = {}
    for prompts, outputs in routes(list(pipe.modalities)):
        out = pipe(
            prompts={n: values[n] for n in prompts},
            outputs=outputs,
            num_inference_steps=steps,
            seeds=list(range(ROWS if prompts else 1)),
            guidance_scale=1.7,
        )
        found[f"{'+'.join(prompts) or 'nothing'} > {'+'.join(outputs)}"] = {
            name: f"{digest(out.latents[name])} {digest(_plain(out.stored[name]))}"
            for name in outputs
        }
    return found


def _plain(stored: list[Any]) -> Any:
    arrays = isinstance(stored[0], np.ndarray)
    return torch.from_numpy(np.stack(stored)) if arrays else stored


def run_family(name: str, folder: Path, prepared: Path) -> dict[str, Any]:
    from medcodi.export import assemble
    from medcodi.pipeline import MedCoDiPipeline
    from tests.tiny import tiny_recipe, train_all

    stages = {stage: dict(STAGE) for stage in ("autoencoder", "stage1", "stage2", "stage3")}
    overrides = FAMILIES[name]
    for stage, settings in stages.items():
        settings |= overrides.get(stage, {})
    recipe = tiny_recipe(
        folder,
        data={"prepared": str(prepared)},
        diffusion=overrides.get("diffusion", {}),
        modalities=overrides.get("modalities", {}),
        **stages,
    )
    if FC_UNET in [m.get("denoiser", {}).get("fc_unet") for m in recipe.modalities.values()]:
        recipe.modalities["report"]["denoiser"] = {"fc_unet": FC_UNET}
    train_all(recipe)
    assemble(recipe)
    pipe = MedCoDiPipeline.from_pretrained(recipe.run_dir / "pipeline")
    pipe.set_progress_bar_config(disable=True)
    exports = sorted(recipe.run_dir.rglob("export/model.safetensors"))
    return {
        "losses": losses(recipe.run_dir),
        "weights": {
            p.parents[1].relative_to(recipe.run_dir).as_posix(): weights(p) for p in exports
        },
        "samples": samples(pipe, held_out(recipe, pipe), SAMPLING_STEPS),
    }


def held_out(recipe: Any, pipe: Any) -> dict[str, list[Any]]:
    """Values of the first validation studies, by modality."""
    from medcodi.data.prepared import PreparedDataset

    data = PreparedDataset.load(recipe.data.prepared, "validation", list(pipe.modalities))
    return {n: [study.values[n] for study in data.batch(range(ROWS))] for n in pipe.modalities}


def differences(before: Any, after: Any, where: str = "") -> list[str]:
    """Where two results differ, with both values."""
    if isinstance(before, dict) and isinstance(after, dict):
        keys = sorted(before.keys() | after.keys())
        pairs = [(k, before.get(k), after.get(k)) for k in keys]
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = [(i, a, b) for i, (a, b) in enumerate(zip(before, after, strict=True))]
    else:
        return [] if before == after else [f"{where}: {before} before, {after} after"]
    return [x for k, a, b in pairs for x in differences(a, b, f"{where}/{k}")]


def leaves(value: Any) -> int:
    if isinstance(value, (dict, list)):
        return sum(leaves(x) for x in (value.values() if isinstance(value, dict) else value))
    return 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run")
    run.add_argument("output", type=Path)
    run.add_argument("--family", action="append", help="part of a family's name; default: all")
    compare = commands.add_parser("compare")
    compare.add_argument("before", type=Path)
    compare.add_argument("after", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "run":
        import medcodi.modalities  # noqa: F401  registers the kinds
        from tests.tiny import prepare_tiny

        torch.set_num_threads(1)
        wanted = arguments.family or [""]
        names = [n for n in FAMILIES if any(part in n for part in wanted)]
        with tempfile.TemporaryDirectory() as folder:
            prepared = prepare_tiny(Path(folder) / "prepared")
            found = {
                name: run_family(name, Path(folder) / str(i), prepared)
                for i, name in enumerate(names)
            }
        arguments.output.write_text(json.dumps(found, indent=1))
        return
    before, after = (json.loads(p.read_text()) for p in (arguments.before, arguments.after))
    different = differences(before, after)
    for family in before.keys() | after.keys():
        for part in before.get(family, {}):
            count = leaves(before[family][part])
            changed = len(differences(before[family][part], after.get(family, {}).get(part)))
            print(f"{family}: {part}: {count} numbers, {changed} differ")
    for line in different[:40]:
        print(line)
    print("equal to the bit" if not different else f"{len(different)} differences")
    sys.exit(bool(different))


if __name__ == "__main__":
    main()
