"""What the published MedCoDi-M / CoDi code gets wrong: one named test an item of
docs/architecture.md, "Published faults". Here the networks and the pipeline (1, 6 to 11, 13, 16,
17), in test_section6_training.py the stages (2 to 5, 12, 14, 15).

Other files look closer (tests/diffusion, tests/encoders, tests/training); here is the list, whole
and short.
"""

from importlib.metadata import entry_points

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from medcodi.autoencoders.optimus import OptimusConfig, OptimusVAE
from medcodi.cli.app import app
from medcodi.diffusion.joint import JointModel, Prompts
from medcodi.diffusion.ldm import Partners
from medcodi.encoders.contrastive import infonce
from medcodi.evaluation.table import all_tables
from medcodi.modalities.family import seeded
from medcodi.nn.weights import load_module, save_module
from medcodi.pipeline import MedCoDiPipeline
from medcodi.training.run import frozen
from tests.networks import REPORTS, cached_batch, normal, tiny_family, wake


@pytest.fixture(scope="module")
def family():
    return tiny_family()


def test_01_joint_generation_is_joint(family):
    """d(out_a)/d(x_b) is not zero with coupling on, zero with it off, for every pair of a real
    family."""
    with seeded(0):
        environments = family.build_environments()
        models = {name: wake(family.build_diffusion(name, coupled=True)) for name in family.names}
    latents = {n: x.requires_grad_(True) for n, x in cached_batch(family, 1).latents.items()}
    for coupled in (environments, None):
        joint = JointModel(models, coupled, family.objective)
        states = {n: joint.noisy_state(x, torch.tensor([500.0])) for n, x in latents.items()}
        out = joint(states, joint.contexts(Prompts(), 1, torch.device("cpu")))
        for name in models:
            others = [latents[n] for n in family.names if n != name]
            gradients = torch.autograd.grad(
                out[name].square().sum(), others, retain_graph=True, allow_unused=True
            )
            assert all(g is None if coupled is None else g.abs().sum() > 1e-6 for g in gradients)


def test_06_skip_connections_are_not_aliased(family):
    """What the down path hands over is what the up path reads, and a second coupled pass gives the
    same."""
    with seeded(0):
        model = wake(family.build_diffusion("frontal", coupled=True)).eval()
    written = []
    for block in model.denoiser.unet.down_blocks:
        block.register_forward_hook(
            lambda _m, _i, out: written.extend((skip, skip.clone()) for skip in out[1])
        )
    latents, codes = normal(2, 2, 8, 8), normal(2, 5, 16, seed=1)
    arguments = (
        latents,
        torch.full((2,), 300.0),
        model.context({}, torch.zeros(2, 3, dtype=torch.bool)),
        Partners(codes, torch.ones(2, 5, dtype=torch.bool), torch.zeros(2, 5, dtype=torch.bool)),
    )
    with torch.no_grad():
        first = model(*arguments)
        assert written and all(torch.equal(skip, copy) for skip, copy in written)
        assert torch.equal(model(*arguments), first)
    assert torch.equal(latents, normal(2, 2, 8, 8))


def test_07_dropout_is_off_in_encode_and_decode(family):
    tokenizer = family.modality("report").tokenizer(16)
    config = OptimusConfig(2, 4, 16, 1, 1, 2, max_length=16, dropout=0.5, word_dropout=0.5)
    torch.manual_seed(0)
    autoencoder = OptimusVAE(config, tokenizer).train()
    one, two = autoencoder.posterior(REPORTS)[0], autoencoder.posterior(REPORTS)[0]
    assert not torch.equal(one, two)  # the dropout is there
    latents = autoencoder.encode(REPORTS)
    assert torch.equal(latents, autoencoder.encode(REPORTS))
    assert autoencoder.decode(latents) == autoencoder.decode(latents)
    assert autoencoder.training and all(m.training for m in autoencoder.modules())  # left as it was


def test_08_the_image_range_is_the_same_in_training_and_inference(family):
    """[-1, 1] both: the pipeline's prompts go the way of the training batch, and decoding undoes
    it."""
    image = family.modality("frontal")
    stored = torch.linspace(0, 1, 256).view(16, 16).numpy()
    training, inference = image.collate([stored]), image.collate(image.from_user(stored))
    assert torch.equal(training, inference)
    assert training.min() == -1 and training.max() == 1 and training.shape == (1, 1, 16, 16)
    shown = image.to_user(training)[0]
    assert shown.getextrema() == (0, 255)
    assert torch.allclose(image.collate(image.from_user(shown)), training, atol=1 / 255)


@pytest.fixture(scope="module")
def pipe(family):
    with seeded(0):
        modules = {
            "encoder": dict(family.build_shared_space().encoders.items()),
            "autoencoder": {g: family.build_autoencoder(g) for g in family.groups},
            "diffusion": {n: wake(family.build_diffusion(n, coupled=True)) for n in family.names},
            "environment": dict(family.build_environments().items()),
        }
    built = {kind: {n: frozen(m) for n, m in named.items()} for kind, named in modules.items()}
    pipe = MedCoDiPipeline.from_components(
        family, built, {name: family.objective.scheduler() for name in family.names}
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.mark.parametrize("prompts", [{}, None, {"report": [REPORTS[0], None]}])
def test_09_guidance_one_and_empty_prompts_work(pipe, prompts):
    rows = 2 if prompts else 1
    results = [
        pipe(prompts, ["frontal", "tabular"], 2, guidance, seeds=range(rows)).latents
        for guidance in (1, 4.0)
    ]
    for name in ("frontal", "tabular"):
        one, four = (r[name] for r in results)
        assert len(one) == rows and torch.isfinite(one).all()
        assert torch.allclose(
            one[-1], four[-1], atol=1e-3
        )  # no prompt in the last row: guidance has nothing to guide
        assert not prompts or not torch.allclose(one[0], four[0], atol=1e-3)


def test_10_the_context_has_more_than_one_token(family):
    """fusion: tokens is the default, and the prompts of one output stand there with all their
    tokens."""
    model = family.build_diffusion("frontal")
    batch = cached_batch(family, 2)
    prompts = {n: batch.encodings[n] for n in model.fusion.names}
    context, mask = model.fusion(prompts, torch.ones(2, 3, dtype=torch.bool))
    assert (
        mask.sum(1).tolist() == [1 + 3 * 4] * 2 and context.shape[1] == 13
    )  # the summary and all tokens
    mean = tiny_family(fusion="mean").build_diffusion("frontal")
    assert mean.fusion(prompts, torch.ones(2, 3, dtype=torch.bool))[0].shape[1] == 1


def test_11_infonce_computes_both_directions():
    a, b = torch.eye(3)[[0, 1, 1]], torch.eye(3)[[0, 0, 0]]
    logits, target = 4.0 * a @ b.T, torch.arange(3)
    forward, backward = (
        nn.functional.cross_entropy(logits, target),
        nn.functional.cross_entropy(logits.T, target),
    )
    assert not torch.isclose(forward, backward, atol=0.1)
    assert torch.isclose(
        infonce(a, b, torch.tensor(4.0), torch.eye(3) > 0), (forward + backward) / 2
    )


def test_13_loads_are_strict(family, tmp_path):
    with seeded(0):
        model = family.build_diffusion("report")
    save_module(model, tmp_path / "report", {})
    with pytest.raises(
        ValueError, match=r"does not fit this recipe. Missing keys: \[.*cross_modal"
    ):
        load_module(family.build_diffusion("report", coupled=True), tmp_path / "report")
    with pytest.raises(ValueError, match="Unexpected keys"):
        load_module(family.build_diffusion("frontal"), tmp_path / "report")
    load_module(family.build_diffusion("report"), tmp_path / "report")


def test_16_reports_decode_as_one_batch_with_a_cache(family):
    """Greedy decoding of a batch, token by token with the KV cache, equals the whole prefix read
    again each time."""
    with seeded(0):
        autoencoder = family.build_autoencoder("report").eval()
    latents = normal(4, *autoencoder.latent_shape)
    steps = []
    autoencoder.decoder.register_forward_hook(
        lambda _m, args, kw, _o: steps.append(kw["inputs_embeds"].shape), with_kwargs=True
    )
    with torch.no_grad():
        generated = autoencoder.generate(latents)
        assert {shape[:2] for shape in steps} == {(4, 1)}  # all rows at once, one token a step
        logits = autoencoder.teacher_forced_logits(generated, latents)  # no token from the cache
        alone = [autoencoder.decode(latents[i : i + 1])[0] for i in range(4)]
    real = generated[:, 1:] != autoencoder.tokenizer.pad_id
    assert torch.equal(logits.argmax(-1)[real], generated[:, 1:][real]) and real.any()
    assert autoencoder.decode(latents) == alone


def test_17_it_is_a_package_with_commands_for_dicom_and_evaluation():
    commands = {e.name: e for e in entry_points(group="console_scripts")}
    assert callable(commands["medcodi"].load())
    said = CliRunner().invoke(app, ["prepare", "--help"])
    assert said.exit_code == 0 and "dicom" in said.output
    assert {"T2", "T4", "Fig7"} <= set(all_tables())
