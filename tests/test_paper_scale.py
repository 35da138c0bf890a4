"""The recipes at the paper's scale, on the meta device: parameters beside the paper's section 3.3
and the published code.

`pytest tests/test_paper_scale.py -s` prints the table.
"""

import math
from pathlib import Path

import pytest
import torch

from medcodi.bench.memory import stand_in_assets
from medcodi.config_io import load_recipe
from medcodi.modalities import ModelFamily
from tests.paper import NEVER_RUNS, PUBLISHED_VIEW

CONFIGS = Path(__file__).parents[1] / "configs"


# millions, section 3.3, which counts two instances of AutoKL and of a view's U-Net
PAPER = {
    "CLIP": 737,
    "AutoKL": 101,
    "Optimus": 241,
    "U-Net of a view": 1770,
    "U-Net of the report": 2040,
}


TWICE = ("AutoKL", "U-Net of a view")


PAPER_TOTAL = 6770  # as it says; its parts add to 10 million less


PUBLISHED, RUNS = (
    {"U-Net of a view": PUBLISHED_VIEW},
    {"U-Net of a view": PUBLISHED_VIEW - NEVER_RUNS},
)


def millions(*networks: torch.nn.Module) -> float:
    return sum(p.numel() for network in networks for p in network.parameters()) / 1e6


def counts(name: str) -> dict[str, float]:
    recipe = load_recipe(CONFIGS / f"{name}.yaml")
    family = ModelFamily(recipe, stand_in_assets(recipe))
    with torch.device("meta"):
        space = family.build_shared_space()
        vae, optimus = family.build_autoencoder("radiograph"), family.build_autoencoder("report")
        diffusion = {n: family.build_diffusion(n, coupled=True) for n in family.names}
        environments = family.build_environments()
    assert all(
        p.is_meta
        for m in (space, vae, optimus, *diffusion.values(), environments)
        for p in m.parameters()
    )
    coupling = {n: millions_of(d.denoiser.coupling_parameters()) for n, d in diffusion.items()}
    return {
        "CLIP": millions(space),
        "AutoKL": millions(vae),
        "Optimus": millions(optimus),
        "U-Net of a view": millions(diffusion["frontal"].denoiser) - coupling["frontal"],
        "U-Net of the report": millions(diffusion["report"].denoiser) - coupling["report"],
        "fusion of prompts": millions(*(d.fusion for d in diffusion.values())),
        "coupling of stage 3": millions(environments) + sum(coupling.values()),
    }


def millions_of(parameters) -> float:
    return sum(p.numel() for p in parameters) / 1e6


def paper_total() -> int:
    return sum(millions * (1 + (part in TWICE)) for part, millions in PAPER.items())


def total(parts: dict[str, float]) -> float:
    return sum(parts.values()) + parts["U-Net of a view"]  # two views


@pytest.fixture(scope="module")
def ours():
    found = {name: counts(name) for name in ("mimic_cxr_paper", "mimic_cxr")}
    print("\n" + table(found))
    return found


def table(found: dict[str, dict[str, float]]) -> str:
    """A line a part, a column each for the paper, the published code ("-": no source tells) and the
    recipes."""
    columns = {"paper 3.3": PAPER, "published code": PUBLISHED, "of it runs": RUNS, **found}
    lines = [f"{'million parameters':22}" + "".join(f"{title:>18}" for title in columns)]
    for part in found["mimic_cxr"]:
        cells = [f"{values[part]:,.1f}" if part in values else "-" for values in columns.values()]
        lines.append(f"{part:22}" + "".join(f"{cell:>18}" for cell in cells))
    totals = [
        f"{paper_total():,.1f}",
        "-",
        "-",
        *(f"{total(values):,.1f}" for values in found.values()),
    ]
    lines.append(f"{'total':22}" + "".join(f"{cell:>18}" for cell in totals))
    lines.append(f"The paper says {PAPER_TOTAL:,} in total; its parts add to {paper_total():,}.")
    return "\n".join(lines)


def test_the_paper_recipe_has_the_published_networks(ours):
    """CLIP ViT-L/14, the Stable Diffusion 1.5 VAE and UNet: their known sizes, in parameters;
    Optimus and the report's U-Net beside the paper's figure. The paper's larger figures count video
    layers and connectors too (tests/foreign)."""
    paper = ours["mimic_cxr_paper"]
    assert (
        round(paper["CLIP"] * 1e6) == 427_616_513
    )  # openai/clip-vit-large-patch14, its logit scale included
    assert round(paper["AutoKL"] * 1e6) == 83_653_863
    assert round(paper["U-Net of a view"] * 1e6) == 859_520_964
    assert abs(paper["Optimus"] - PAPER["Optimus"]) < 12
    assert paper["U-Net of a view"] < PUBLISHED_VIEW - NEVER_RUNS
    assert paper["U-Net of the report"] < PAPER["U-Net of the report"]


def test_the_table_has_a_column_for_each_source(ours):
    head, *rows, note = table(ours).splitlines()
    assert (
        " ".join(head.split())
        == "million parameters paper 3.3 published code of it runs mimic_cxr_paper mimic_cxr"
    )
    view = next(row for row in rows if row.startswith("U-Net of a view"))
    assert view.split()[4:7] == ["1,770.0", "1,773.0", "1,156.0"]
    assert "6,770 in total; its parts add to 6,760" in note and rows[-1].split()[1] == "6,760.0"


def test_what_we_would_train_has_at_most_half_the_parameters(ours):
    assert total(ours["mimic_cxr"]) <= 0.5 * total(ours["mimic_cxr_paper"])


def test_the_paper_recipe_says_what_the_paper_says():
    recipe = load_recipe(CONFIGS / "mimic_cxr_paper.yaml")
    diffusion, stage2 = recipe.diffusion, recipe.stage2
    assert (diffusion.prediction_type, diffusion.fusion, diffusion.loss_weighting) == (
        "epsilon",
        "mean",
        "none",
    )
    assert (stage2.batch_size, stage2.per_modality["report"]["batch_size"]) == (512, 1024)
    studies = math.ceil((154_721 - 33_588) / 2)
    assert stage2.num_steps == math.ceil(100 * studies / 512)
    assert stage2.per_modality["report"]["num_steps"] == math.ceil(100 * studies / 1024)
    family = ModelFamily(recipe, stand_in_assets(recipe))
    assert type(family.objective.scheduler()).__name__ == "DDIMScheduler"
    assert recipe.evaluation.num_inference_steps == 50
    assert family.latent_shape("report") == (1, 768) and family.latent_shape("radiograph") == (
        4,
        64,
        64,
    )


def test_the_cross_attention_of_both_recipes_sees_one_and_many_tokens():
    """Fusion mean is one token; fusion tokens keeps the prompts' own (published fault 10)."""
    for name, tokens in (("mimic_cxr_paper", 1), ("mimic_cxr", 25)):
        recipe = load_recipe(CONFIGS / f"{name}.yaml")
        with torch.device("meta"):
            space = ModelFamily(recipe, stand_in_assets(recipe)).build_shared_space()
        assert space.encoder("frontal").num_tokens == tokens
