"""Recipes: strict keys and types, overrides, names used across sections; every shipped recipe
builds."""

from pathlib import Path

import pytest
import torch

from medcodi.config import Recipe, StageConfig
from medcodi.config_io import (
    for_modality,
    load_recipe,
    load_yaml,
    recipe_from_dict,
    save_yaml,
    to_dict,
)
from medcodi.modalities import ModelFamily
from tests.networks import tiny_assets
from tests.tiny import tiny_recipe

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.yaml"))


TWO = {"a": {"kind": "image"}, "b": {"kind": "report"}}


TEXT = """
name: written
modalities: {a: {kind: image}, b: {kind: report}}
stage1: {optim: {lr: 2.0e-3}}
stage2: {num_steps: 7}
"""


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text(TEXT)
    return file


def recipe(**sections) -> Recipe:
    return recipe_from_dict({"modalities": TWO, **sections})


def test_dataclass_below_yaml_below_override(path):
    loaded = load_recipe(path, ["stage2.batch_size=4", "seed=3"])
    assert (loaded.name, loaded.stage2.num_steps, loaded.stage2.batch_size, loaded.seed) == (
        "written",
        7,
        4,
        3,
    )
    assert loaded.stage3.num_steps == StageConfig().num_steps
    assert load_recipe(path, ["stage2.num_steps=9"]).stage2.num_steps == 9


def test_an_override_on_a_stage_script_is_relative_to_its_stage(path):
    loaded = load_recipe(path, ["optim.lr=1e-4", "modality=a", "seed=5"], stage="stage2")
    assert (loaded.stage2.optim.lr, loaded.stage2.modality, loaded.seed) == (1e-4, "a", 5)
    assert loaded.stage1.optim.lr == 2e-3 and loaded.stage3.optim.lr == StageConfig().optim.lr
    with pytest.raises(ValueError, match="unknown key 'optim'"):
        load_recipe(path, ["optim.lr=1e-4"])


def test_the_command_line_wins_over_what_the_file_says_of_one_modality(path):
    path.write_text(
        TEXT + "autoencoder: {num_steps: 5, optim: {lr: 1.0e-3}, per_modality: {b: {num_steps: 9, "
        "optim: {lr: 2.0e-3, warmup_steps: 3}, log_every: 7}}}"
    )
    of_b = lambda *given: for_modality(load_recipe(path, given, "autoencoder").autoencoder, "b")
    assert (of_b().num_steps, of_b().optim.lr) == (9, 2e-3)
    found = of_b("modality=b", "num_steps=40", "optim.lr=1e-4")
    assert (found.num_steps, found.optim.lr) == (40, 1e-4)
    assert (found.optim.warmup_steps, found.log_every) == (3, 7)  # what was not overridden
    assert of_b("optim={lr: 1e-4}").optim.lr == 1e-4
    assert (
        of_b("num_steps=40", "per_modality.b.num_steps=41").num_steps == 41
    )  # as special as it gets
    with pytest.raises(ValueError, match="autoencoder must be a mapping"):
        load_recipe(path, ["autoencoder=3"])


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        (
            {"stage2": {"optim": {"lrr": 1}}},
            r"unknown key 'lrr' in recipe\.stage2\.optim; did you mean 'lr'\?.*betas",
        ),
        ({"stage22": {}}, "unknown key 'stage22' in recipe; did you mean 'stage2'"),
        ({"difusion": {}}, "did you mean 'diffusion'"),
        (
            {"stage1": {"num_steps": "many"}},
            r"recipe\.stage1\.num_steps must be of type int, got 'many'",
        ),
        ({"stage1": {"num_steps": 1.5}}, "must be of type int"),
        ({"stage1": {"num_steps": True}}, "must be of type int"),
        (
            {"stage1": {"optim": {"lr": "fast"}}},
            r"recipe\.stage1\.optim\.lr must be a number, got 'fast'",
        ),
        ({"stage1": {"optim": {"lr": None}}}, "must be a number, got None"),
        ({"stage1": {"optim": {"lr": [1e-3]}}}, "must be a number"),
        ({"stage1": {"optim": {"lr": True}}}, "must be a number"),
        ({"stage1": {"optim": {"betas": 0.9}}}, "must be a list"),
        ({"stage1": {"optim": 3}}, r"recipe\.stage1\.optim must be a mapping"),
        (
            {"shared_space": {"bridging_pairs": [["a", "bb"]]}},
            r"'bb' in recipe\.shared_space\.bridging_pairs",
        ),
        ({"shared_space": {"bridging_pairs": [["a", "b", "a"]]}}, "two different modalities"),
        ({"shared_space": {"bridging_pairs": [["a", "a"]]}}, "two different modalities"),
        ({"stage2": {"modality": "c"}}, r"unknown key 'c' in recipe\.stage2\.modality"),
        (
            {"stage2": {"per_modality": {"c": {"num_steps": 3}}}},
            r"unknown key 'c' in recipe\.stage2\.per_modality",
        ),
        ({"stage2": {"per_modality": {"a": {"num_step": 3}}}}, "did you mean 'num_steps'"),
        ({"modalities": {}}, "a recipe needs at least one modality, it names none"),
    ],
)
def test_user_errors_are_named(sections, message):
    with pytest.raises(ValueError, match=message):
        recipe(**sections)


def test_a_typo_in_a_bridging_pair_names_the_near_miss(path):
    with pytest.raises(ValueError, match="did you mean 'report'"):
        load_recipe(
            path,
            [
                "modalities={report: {kind: report}, frontal: {kind: image}}",
                "shared_space.bridging_pairs=[[frontal, reports]]",
            ],
        )


def test_malformed_overrides_and_missing_files(path, tmp_path):
    for text in ("seed", "=3"):
        with pytest.raises(ValueError, match="an override must read key=value"):
            load_recipe(path, [text])
    with pytest.raises(FileNotFoundError, match="does not exist"):
        load_recipe(tmp_path / "none.yaml")


def test_per_modality_is_merged_deeply_into_its_stage():
    stage = recipe(
        stage2={
            "num_steps": 10,
            "optim": {"lr": 1e-3, "warmup_steps": 7},
            "per_modality": {"b": {"num_steps": 20, "optim": {"lr": 5e-4}}},
        }
    ).stage2
    assert for_modality(stage, "a").num_steps == 10
    merged = for_modality(stage, "b")
    assert (merged.num_steps, merged.optim.lr, merged.optim.warmup_steps) == (20, 5e-4, 7)
    assert stage.num_steps == 10  # the section itself is unchanged


def test_a_recipe_survives_yaml(tmp_path):
    first = tiny_recipe(tmp_path)
    save_yaml(to_dict(first), tmp_path / "out.yaml")
    assert load_recipe(tmp_path / "out.yaml") == first
    assert load_yaml(tmp_path / "out.yaml") == to_dict(first)


def test_unknown_kinds_and_mixed_groups_are_named():
    with pytest.raises(ValueError, match="unknown modality kind 'imag'; did you mean 'image'"):
        ModelFamily(recipe(modalities={**TWO, "a": {"kind": "imag"}}), {})
    with pytest.raises(ValueError, match=r"modalities\.a has no key 'kind'"):
        ModelFamily(recipe(modalities={**TWO, "a": {}}), {})
    with pytest.raises(ValueError, match="group 'g' mixes kinds"):
        ModelFamily(
            recipe(modalities={name: {**args, "group": "g"} for name, args in TWO.items()}), {}
        )
    with pytest.raises(
        ValueError, match=r"unknown key 'siz' in modalities\.a; did you mean 'size'"
    ):
        ModelFamily(recipe(modalities={**TWO, "a": {"kind": "image", "siz": 32}}), {})


@pytest.mark.parametrize("file", CONFIGS, ids=lambda p: p.stem)
def test_every_shipped_recipe_builds_on_the_meta_device(file):
    """All networks of all stages, without memory for their weights."""
    loaded = load_recipe(file)
    family = ModelFamily(loaded, tiny_assets(loaded))
    with torch.device("meta"):
        space = family.build_shared_space()
        networks = [space, family.build_environments()]
        networks += [family.build_autoencoder(group) for group in family.groups]
        networks += [family.build_diffusion(name, coupled=True) for name in family.names]
    assert all(p.is_meta for network in networks for p in network.parameters())
    assert all(sum(p.numel() for p in network.parameters()) > 1000 for network in networks)
    assert all(1 <= space.encoder(name).num_tokens <= 32 for name in family.names)
    bridged = {name for pair in loaded.shared_space.bridging_pairs for name in pair}
    assert bridged == set(family.names)  # what no pair names would never train in stage 1


def test_some_recipe_is_shipped():
    assert CONFIGS
