"""What do adapters gain on few studies of another site, and what does the model forget?

    medcodi bench adapters [--base phantom] [--modality frontal] [--num-studies 200]
    [--num-held-out 200] [--steps 300] [--output DIR] [stage2.batch_size=16 ...]

The new site is a phantom with darker images and more effusions. The base, the base with adapters
and a denoiser that was trained from scratch on the site's studies are judged by their denoising
loss on held-out studies of the site and of before, with the same noise. Writes adapters.json and
adapters.md to DIR. Last line of stdout: one JSON document.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

from medcodi.bench.adapters import adapters_gain, cells, render
from medcodi.bench.command import bench_parser, show
from medcodi.config_io import base_folder, load_recipe, save_yaml
from medcodi.pipeline.index import read_index
from medcodi.report.markdown import markdown_table


def main(arguments: Sequence[str] | None = None) -> None:
    parser = bench_parser("adapters", __doc__)
    parser.add_argument("--base", default="phantom", help="pipeline folder or name")
    parser.add_argument("--modality", default="frontal")
    parser.add_argument("--num-studies", type=int, default=200, help="to train on")
    parser.add_argument("--num-held-out", type=int, default=200, help="of each site")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--output", type=Path, default=Path("results/adapters"))
    parser.add_argument("overrides", nargs="*")
    arguments = parser.parse_intermixed_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    values = {
        "name": "adapted",
        "output_dir": str(arguments.output / "runs"),
        "adapters": {"base": arguments.base},
        "stage2": {"num_steps": arguments.steps, "optim": {"lr": 1e-3}},
    }
    arguments.output.mkdir(parents=True, exist_ok=True)
    path = arguments.output / "recipe.yaml"
    save_yaml(values, path)
    recipe = load_recipe(path, arguments.overrides)
    index = read_index(base_folder(arguments.base))
    size = max(m.get("size", 0) for m in index.recipe.modalities.values())
    folder = arguments.output / "data"
    data = render(folder, size, arguments.num_studies, arguments.num_held_out)
    rows = adapters_gain(recipe, arguments.modality, data)
    told = {
        "base": index.model_hash,
        "modality": arguments.modality,
        "steps": arguments.steps,
        "rows": rows,
    }
    head = ("data", "denoiser", "n", "loss", "minus base")
    show(told, markdown_table(head, map(cells, rows)) + "\n", arguments.output, "adapters")


if __name__ == "__main__":
    main()
