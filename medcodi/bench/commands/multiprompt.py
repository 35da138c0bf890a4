"""Ablation: multi-prompt against single-prompt training of stage 2, at equal length (the paper's
MedCoDi against MedCoDi-M).

    medcodi bench multiprompt [--config RECIPE] [key=value ...]

Both variants share autoencoders, shared space and cache; they differ in `diffusion.multi_prompt`
alone and are measured without coupling on the routes with one and with two prompts. Last line of
stdout: one JSON document.
"""

import shutil
from collections.abc import Sequence

import medcodi.modalities  # noqa: F401  registers the kinds
from medcodi.bench.command import add_recipe, bench_parser, read_recipe, show
from medcodi.config import Recipe
from medcodi.config_io import load_recipe
from medcodi.evaluation import EvaluationContext
from medcodi.evaluation.table import choose_tables
from medcodi.export import assemble
from medcodi.recipes import find_recipe
from medcodi.report.markdown import markdown_table
from medcodi.training.side_by_side import train_side_by_side

SHARED = ("autoencoder", "stage1", "cache", "assets.json")


def share(source: Recipe, target: Recipe) -> None:
    """Copy what both variants have in common from one run folder to the other."""
    for name in SHARED:
        origin, copy = source.run_dir / name, target.run_dir / name
        if not origin.exists():
            raise FileNotFoundError(
                f"{origin} is missing: run `medcodi quickstart` (or the stages before stage 2) "
                "first"
            )
        if copy.exists():
            continue
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(origin, copy) if origin.is_dir() else shutil.copy(origin, copy)


def measure(recipe: Recipe, num_studies: int) -> list[dict]:
    """Rows of the table `follow`."""
    recipe.evaluation.num_studies = num_studies
    context = EvaluationContext(
        recipe, recipe.run_dir / "evaluation", assemble(recipe, coupled=False)
    )
    table = choose_tables(["follow"])["follow"]()
    return table.run(context).to_json()["rows"]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = bench_parser("multiprompt", __doc__)
    add_recipe(parser)
    parser.add_argument("--num-studies", type=int, default=192)
    arguments = parser.parse_intermixed_args(arguments)
    multi = read_recipe(arguments)
    single = load_recipe(
        find_recipe(arguments.config),
        [*arguments.overrides, "diffusion.multi_prompt=false", f"name={multi.name}_single_prompt"],
    )
    share(multi, single)
    figures = {}
    for label, recipe in (("single", single), ("multi", multi)):
        train_side_by_side(recipe, ("stage2",))
        figures[label] = measure(recipe, arguments.num_studies)

    rows = [
        {
            "route": m["system"],
            "metric": m["cells"]["figure"],
            "n": m["n"],
            "single": s["cells"]["generated"],
            "multi": m["cells"]["generated"],
        }
        for s, m in zip(figures["single"], figures["multi"], strict=True)
    ]
    document = {"ablation": "multi_prompt", "recipe": multi.name, "seed": multi.seed, "rows": rows}
    show(document, markdown(document), arguments.output, "multiprompt_ablation")


def markdown(document: dict) -> str:
    rows = []
    for row in document["rows"]:
        cells = [row["route"], row["metric"], str(row["n"])]
        for variant in ("single", "multi"):
            value, low, high = (row[variant][key] for key in ("value", "low", "high"))
            cells.append(f"{value:.3f} [{low:.3f}, {high:.3f}]")
        rows.append(cells)
    title = "Multi-prompt against single-prompt training, same length, coupling off\n\n"
    head = ("route", "metric", "n", "single-prompt", "multi-prompt")
    return title + markdown_table(head, rows) + "\n"


if __name__ == "__main__":
    main()
