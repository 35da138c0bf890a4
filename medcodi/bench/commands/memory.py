"""How much memory does a recipe need? A training step of stage 2 and a step of joint sampling,
worked out without any.

    medcodi bench memory [--config mimic_cxr_paper,mimic_cxr] [--rows 1,4,16]

The networks have the recipe's sizes and no values (torch's fake tensors): each operation says which
tensors it makes, and they are counted while they live. Weights, gradients and moments are float32,
as in the training loop; bf16 is autocast; the average of the weights counts where the recipe's
stage has one. What the estimate leaves out: workspaces of kernels, fragmentation, the CUDA context,
and with several processes DDP's buckets, a copy of the gradients that stands in a column of its
own. Last line of stdout: one JSON document.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

import medcodi.modalities  # noqa: F401  registers the kinds
from medcodi.bench.command import bench_parser, listed, show
from medcodi.bench.memory import joint_sampling, stand_in_assets, training_step
from medcodi.config_io import for_modality, load_recipe
from medcodi.modalities.family import ModelFamily
from medcodi.recipes import find_recipe
from medcodi.report.markdown import markdown_table

OPTIONS = {
    "fp32": {"mixed_precision": "no", "gradient_checkpointing": False},
    "bf16": {"mixed_precision": "bf16", "gradient_checkpointing": False},
    "bf16, gradient checkpointing": {"mixed_precision": "bf16", "gradient_checkpointing": True},
}


def measure(config: str, batches: list[int]) -> dict[str, Any]:
    recipe = load_recipe(find_recipe(config))
    family = ModelFamily(recipe, stand_in_assets(recipe))
    first = {
        family.modality(name).group: name for name in reversed(family.names)
    }  # a view, the report
    training = [
        {
            "output": name,
            "rows": rows,
            "options": key,
            **training_step(
                family, name, rows, replace(for_modality(recipe.stage2, name), **options)
            ),
        }
        for name in reversed(first.values())
        for rows in batches
        for key, options in OPTIONS.items()
    ]
    *outputs, _ = family.names
    sampling = [
        {"outputs": names, "rows": rows, **joint_sampling(family, names, rows, torch.bfloat16)}
        for names in (outputs, family.names)
        for rows in batches
    ]
    return {"recipe": recipe.name, "training": training, "sampling": sampling}


def markdown(told: dict[str, Any]) -> str:
    lines = [
        f"## {told['recipe']}",
        "",
        "Training, stage 2, GiB on one process:",
        "",
        markdown_table(TRAINING, [training_cells(row) for row in told["training"]]),
        "",
        "Joint sampling in bf16, one guided step, GiB (encoders and autoencoders left out):",
        "",
        markdown_table(
            ["outputs", "rows", "weights", "peak"],
            [
                (
                    ", ".join(row["outputs"]),
                    row["rows"],
                    f"{row['weights']:.2f}",
                    f"{row['peak']:.2f}",
                )
                for row in told["sampling"]
            ],
        ),
    ]
    return "\n".join(lines) + "\n"


TRAINING = (
    "output",
    "million parameters",
    "rows",
    "options",
    "weights, gradients, moments, average",
    "kept for backward",
    "peak",
    "DDP adds",
)


def training_cells(row: dict[str, Any]) -> list[str]:
    numbers = {"parameters_million": 0, "state": 1, "activations": 2, "peak": 1, "buckets": 1}
    million, *gib = (f"{row[key]:.{digits}f}" for key, digits in numbers.items())
    return [row["output"], million, row["rows"], row["options"], *gib]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = bench_parser("memory", __doc__)
    default = ["mimic_cxr_paper", "mimic_cxr"]
    parser.add_argument("--config", type=listed(), default=default)
    parser.add_argument("--rows", type=listed(int), default=[1, 4, 16])
    arguments = parser.parse_intermixed_args(arguments)
    told = [measure(config, arguments.rows) for config in arguments.config]
    show(told, "\n".join(markdown(one) for one in told))


if __name__ == "__main__":
    main()
