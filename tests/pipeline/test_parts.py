"""Parts that are models of diffusers or transformers, in the pipelines of every shipped recipe."""

import pytest
import torch

from medcodi.config_io import load_recipe
from medcodi.modalities.family import ModelFamily
from medcodi.pipeline import MedCoDiPipeline
from medcodi.pipeline.parts import library_parts, own_keys
from medcodi.recipes import shipped
from tests.networks import TINY_FC_UNET, tiny_assets
from tests.tiny import tiny_recipe


@pytest.mark.parametrize("name", shipped())
def test_every_part_is_rebuilt_from_its_config(name):
    """Sizes that a class does not find in its config would be lost when a pipeline is saved."""
    recipe = load_recipe(shipped()[name])
    with torch.device("meta"):
        family = ModelFamily(recipe, tiny_assets(recipe))
        modules = [family.build_diffusion(output, coupled=True) for output in family.names]
        modules += [family.build_autoencoder(group) for group in family.groups]
        parts = [part for module in modules for part in library_parts(module).values()]
        for part in parts:
            keys = own_keys(part)
            again = type(part).from_config(part.config) if hasattr(part, "from_config") else None
            shapes = part.state_dict()
            assert keys <= set(shapes)
            for key, weight in ({} if again is None else again.state_dict()).items():
                assert weight.shape == shapes[key].shape
    assert parts


def test_parts_with_the_same_last_name_have_folders_of_their_own(tmp_path):
    """The paper's U-Net of reports holds a transformer a block, each named `attention`."""
    recipe = tiny_recipe(tmp_path, diffusion=dict.fromkeys(("prompt_mean", "partner_mean"), False))
    recipe.modalities["report"]["denoiser"] = {"fc_unet": TINY_FC_UNET}
    family = ModelFamily(recipe, tiny_assets(recipe))
    components = {
        "encoder": {group: family.build_prompt_encoder(group) for group in family.groups},
        "autoencoder": {group: family.build_autoencoder(group) for group in family.groups},
        "diffusion": {name: family.build_diffusion(name, coupled=True) for name in family.names},
        "environment": {name: family.build_environment(name) for name in family.names},
    }
    torch.manual_seed(0)
    for parameter in components["diffusion"]["report"].parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    schedulers = {name: family.objective.scheduler() for name in family.names}
    made = MedCoDiPipeline.from_components(family, components, schedulers)
    made.save_pretrained(tmp_path / "pipeline")
    files = [path.parent.name for path in (tmp_path / "pipeline").glob("diffusion/report/*/*.json")]
    assert len(set(files)) == len(files) > 2
    loaded = MedCoDiPipeline.from_pretrained(tmp_path / "pipeline")
    before, after = (pipe.diffusions["report"].state_dict() for pipe in (made, loaded))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
