"""The call as users of diffusers know it: prompts, negative prompts, latents, output types,
callbacks, schedulers, and numbers that are not finite."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    FlowMatchHeunDiscreteScheduler,
    LCMScheduler,
    LTXEulerAncestralRFScheduler,
    UniPCMultistepScheduler,
)
from PIL import Image

from medcodi.nn.seeding import derive_generator
from medcodi.pipeline import MedCoDiPipeline
from tests.tiny import SIZE


@pytest.fixture(scope="module")
def pipe(tiny_run):
    loaded = MedCoDiPipeline.from_pretrained(tiny_run.run_dir / "pipeline")
    loaded.set_progress_bar_config(disable=True)
    return loaded


def latents(pipe, prompts=None, output="frontal", **settings):
    settings = {"num_inference_steps": 2, "seeds": [7]} | settings
    return pipe(prompts, [output], **settings).latents[output]


def test_a_text_alone_is_the_prompt_of_the_modality_of_texts(pipe):
    named = latents(pipe, {"report": "Large left effusion."})
    assert torch.equal(latents(pipe, "Large left effusion."), named)
    two = latents(pipe, ["Large left effusion.", "Clear."], seeds=[7, 8])
    torch.testing.assert_close(two[:1], named, rtol=1e-4, atol=1e-4)


def test_guidance_leads_away_from_a_negative_prompt(pipe):
    """p = p_negative + g (p_prompt - p_negative): equal prompts leave the prompt pass alone. (Given
    values condition through the coupling as well, which is not negated; it is off here.)"""
    prompt, other = {"report": "Edema."}, {"report": "A nodule."}

    def sample(prompts, scale, negative=None):
        guided = {"guidance_scale": scale, "negative_prompts": negative}
        return latents(pipe, prompts, condition_on_latents=False, **guided)

    plain = sample(prompt, 1.0)
    assert torch.equal(sample(prompt, 1.0, other), plain)
    torch.testing.assert_close(sample(prompt, 3.0, prompt), plain, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(sample(prompt, 3.0, other), sample(prompt, 3.0), atol=1e-3)
    alone = sample(None, 0.0, other)
    torch.testing.assert_close(alone, sample(other, 1.0), rtol=1e-4, atol=1e-4)


def test_a_negative_prompt_of_another_modality(pipe):
    picture = np.full((SIZE, SIZE), 0.3, np.float32)
    prompts, negative = ["Edema.", "A nodule."], {"lateral": picture}
    out = latents(pipe, prompts, seeds=[7, 8], guidance_scale=2.0, negative_prompts=negative)
    one = latents(pipe, prompts[:1], guidance_scale=2.0, negative_prompts=negative)
    torch.testing.assert_close(out[:1], one, rtol=1e-4, atol=1e-4)
    with pytest.raises(
        ValueError, match="negative_prompts must be one or 1, as the prompts; got 2"
    ):
        latents(pipe, "Edema.", negative_prompts=["a", "b"])
    with pytest.raises(ValueError, match=r"\['frontal'\] cannot be negative prompt and output"):
        latents(pipe, "Edema.", negative_prompts={"frontal": picture})


def test_given_latents_are_the_noise_that_seeds_would_draw(pipe):
    shape = pipe.family.latent_shape(pipe.family.modality("frontal").group)
    noise = torch.randn(shape, generator=derive_generator(7, "frontal"))[None]
    drawn = latents(pipe, "Edema.")
    assert torch.equal(latents(pipe, "Edema.", latents=noise), drawn)
    assert torch.equal(latents(pipe, "Edema.", latents={"frontal": noise}), drawn)
    with pytest.raises(ValueError, match=r"latents of 'frontal' must be a tensor \(1, 2, 8, 8\)"):
        latents(pipe, "Edema.", latents=noise[0])
    with pytest.raises(ValueError, match="latents of several outputs are a mapping"):
        pipe("Edema.", ["frontal", "lateral"], latents=noise)
    with pytest.raises(ValueError, match=r"latents of 'frontal': .* are not finite"):
        latents(pipe, "Edema.", latents=noise * torch.nan)


def test_output_types(pipe):
    call = {"outputs": ["frontal", "tabular"], "num_inference_steps": 2, "seeds": [1, 2]}
    call |= {"num_images_per_prompt": 2}
    pil, array, tensor, raw = (pipe(output_type=t, **call) for t in ("pil", "np", "pt", "latent"))
    assert array.frontal.shape == (2, SIZE, SIZE, 1) and array.frontal.dtype == np.float32
    assert tensor.frontal.shape == (2, 1, SIZE, SIZE)
    assert np.array_equal(tensor.frontal[:, 0].numpy(), array.frontal[..., 0])
    for picture, values in zip(pil.frontal, array.frontal, strict=True):
        assert np.array_equal(np.asarray(picture), (values[..., 0] * 255).round().astype(np.uint8))
    pd.testing.assert_frame_equal(pil.tabular, array.tabular)
    assert torch.equal(raw.frontal, pil.latents["frontal"]) and not raw.stored
    with pytest.raises(ValueError, match="unknown key 'jpeg' in the values of output_type"):
        pipe(output_type="jpeg", **call)
    frontal, table = pipe(return_dict=False, **call)
    assert frontal[0].tobytes() == pil.frontal[0].tobytes() and table.equals(pil.tabular)


PICTURE = (np.arange(SIZE * SIZE).reshape(SIZE, SIZE) % 256).astype(np.uint8)
UNIT = PICTURE.astype(np.float32) / 255


@pytest.mark.parametrize(
    "picture",
    [
        PICTURE,
        PICTURE.astype(np.uint16) * 257,
        UNIT,
        UNIT.astype(np.float64)[None],
        np.repeat(UNIT[None], 3, 0),
        np.repeat(PICTURE[..., None], 3, -1),
        torch.from_numpy(PICTURE),
        torch.from_numpy(UNIT)[None],
        torch.from_numpy(UNIT).expand(3, SIZE, SIZE),
        torch.from_numpy(UNIT)[None, None],
        Image.fromarray(PICTURE),
        Image.fromarray(PICTURE).convert("RGB"),
        Image.fromarray(PICTURE.astype(np.uint16) * 257),
        Image.fromarray(UNIT),
    ],
    ids=lambda p: f"{type(p).__name__}-{getattr(p, 'dtype', '')}-{getattr(p, 'shape', '')}",
)
def test_a_picture_is_the_same_in_every_form(pipe, picture):
    (stored,) = pipe.check_prompts({"frontal": picture})["frontal"]
    np.testing.assert_allclose(stored, UNIT, atol=1e-6)


def test_a_picture_by_its_path(pipe, tmp_path):
    Image.fromarray(PICTURE).save(tmp_path / "a.png")
    for path in (tmp_path / "a.png", str(tmp_path / "a.png")):
        (stored,) = pipe.check_prompts({"frontal": path})["frontal"]
        np.testing.assert_allclose(stored, UNIT, atol=1e-6)


def test_callback_gets_the_timestep_and_changes_latents(pipe):
    seen = []

    def zero_at_the_end(pipeline, step, timestep, tensors):
        seen.append((pipeline is pipe, step, float(timestep), sorted(tensors)))
        if step == 2:
            return {"latents": {n: torch.zeros_like(x) for n, x in tensors["latents"].items()}}
        return tensors

    call = {"num_inference_steps": 3, "seeds": [1], "callback_on_step_end": zero_at_the_end}
    out = pipe(
        {},
        ["frontal", "tabular"],
        callback_on_step_end_tensor_inputs=["latents", "timesteps"],
        **call,
    )
    steps = [(s, t) for _, s, t, _ in seen]
    assert [s for s, _ in steps] == [0, 1, 2] and steps[0][1] == 1000 and pipe.num_timesteps == 3
    assert all(same and names == ["latents", "timesteps"] for same, _, _, names in seen)
    assert not any(x.any() for x in out.latents.values())
    single = {"callback_on_step_end": lambda p, i, t, k: {"latents": k["latents"]["report"] * 0}}
    assert not latents(pipe, None, "report", **single).any()


@pytest.mark.parametrize(
    ("answer", "match"),
    [
        (3, "must return None or {'latents': ...}, got int"),
        ({"latents": 3}, "must return latents of frontal, name -> tensor"),
        ({"latents": {"frontal": torch.zeros(1)}}, r"shape \(1,\), expected \(1, 2, 8, 8\)"),
        ({"timesteps": 0}, "returned 'timesteps': only 'latents' can be changed"),
        ({"latents": torch.full((1, 2, 8, 8), math.nan)}, "100.0% of the numbers are not finite"),
    ],
)
def test_a_callback_that_returns_something_else(pipe, answer, match):
    with pytest.raises(ValueError, match=match):
        latents(pipe, callback_on_step_end=lambda *_: answer)


def test_callback_arguments_are_checked(pipe):
    with pytest.raises(ValueError, match="callback_on_step_end must be callable, got 5"):
        latents(pipe, callback_on_step_end=5)
    with pytest.raises(ValueError, match="unknown key 'prompt_embeds'"):
        latents(pipe, callback_on_step_end_tensor_inputs=["prompt_embeds"])


def test_interrupt_ends_the_call(pipe):
    seen = []

    def stop(pipeline, step, timestep, tensors):
        seen.append(step)
        pipeline._interrupt = len(seen) == 5

    out = pipe(
        outputs=["tabular"],
        num_inference_steps=3,
        num_images_per_prompt=5,
        batch_size=2,
        seeds=[1, 2, 3, 4, 5],
        callback_on_step_end=stop,
    )
    assert seen == [0, 1, 2, 0, 1] and out.interrupted
    assert len(out) == 4 == len(out.tabular) and out.seeds == [1, 2, 3, 4]
    assert not pipe(outputs=["tabular"], num_inference_steps=1).interrupted and not pipe.interrupt


def test_one_scheduler_for_all_outputs(tiny_pipeline):
    pipe = tiny_pipeline
    before = latents(pipe, num_inference_steps=40)
    pipe.scheduler = UniPCMultistepScheduler.from_config(pipe.scheduler.config)
    assert {type(s) for s in pipe.schedulers.values()} == {UniPCMultistepScheduler}
    assert len({id(s) for s in pipe.schedulers.values()}) == 4
    after = latents(pipe, num_inference_steps=40)
    assert (after - before).square().mean().sqrt() < 0.1 * before.std()  # the same way, other steps
    pipe.schedulers["frontal"] = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)
    third = latents(pipe, num_inference_steps=40)
    assert (third - before).square().mean().sqrt() < 0.1 * before.std()


def test_schedulers_that_cannot_follow_are_refused_at_the_call(tiny_pipeline):
    for bad in (LCMScheduler, DDIMScheduler):
        with pytest.raises(ValueError, match=f"{bad.__name__} cannot sample from this model"):
            tiny_pipeline.scheduler = bad.from_config(tiny_pipeline.scheduler.config)
        tiny_pipeline.schedulers["frontal"] = bad()
        with pytest.raises(ValueError, match=f"{bad.__name__} cannot sample from this model"):
            latents(tiny_pipeline)
    tiny_pipeline.schedulers["frontal"] = FlowMatchHeunDiscreteScheduler()
    with pytest.raises(ValueError, match=r"must step together.*'frontal': 3, 'lateral': 2"):
        tiny_pipeline({}, ["frontal", "lateral"], 2)
    with pytest.raises(ValueError, match="eta is an option of DDIM schedulers"):
        latents(tiny_pipeline, None, "report", eta=0.5)


def test_a_stochastic_sample_regenerates_from_its_seed(tiny_pipeline):
    """To the bit at the same batch size; in another one, networks round otherwise."""
    tiny_pipeline.scheduler = LTXEulerAncestralRFScheduler()
    call = {"num_inference_steps": 4, "outputs": ["frontal", "tabular"]}
    one_by_one = tiny_pipeline(["a", "b", "c"], seeds=[5, 6, 7], batch_size=1, **call)
    together = tiny_pipeline(["a", "b", "c"], seeds=[5, 6, 7], batch_size=3, **call)
    alone = tiny_pipeline("b", seeds=[6], **call)
    for name, expected in alone.latents.items():
        assert torch.equal(one_by_one.latents[name][1:2], expected)
        torch.testing.assert_close(together.latents[name][1:2], expected, rtol=1e-3, atol=1e-3)
    assert alone.tabular.iloc[0].equals(one_by_one.tabular.iloc[1])


def test_weights_that_are_not_finite_give_an_error_and_no_picture(tiny_pipeline):
    with torch.no_grad():
        next(tiny_pipeline.autoencoders["radiograph"].vae.decoder.parameters()).fill_(torch.nan)
    with pytest.raises(
        ValueError, match="modality 'frontal': the decoder gave pixels that are not"
    ):
        latents(tiny_pipeline)
    with torch.no_grad():
        next(tiny_pipeline.diffusions["frontal"].denoiser.parameters()).fill_(torch.nan)
    with pytest.raises(ValueError, match=r"latents of 'frontal': .* are not finite"):
        latents(tiny_pipeline)


ODD_CALLS = [
    ({"num_inference_steps": 1.5}, "num_inference_steps must be a whole number, got 1.5"),
    ({"num_inference_steps": "5"}, "num_inference_steps must be a whole number, got '5'"),
    ({"num_inference_steps": None}, "num_inference_steps must be a whole number, got None"),
    ({"num_inference_steps": math.nan}, "num_inference_steps must be a whole number, got nan"),
    ({"num_inference_steps": True}, "num_inference_steps must be a whole number, got True"),
    ({"num_inference_steps": 1001}, "num_inference_steps must be at most 1,000, got 1001"),
    ({"batch_size": 2.5}, "batch_size must be a whole number"),
    ({"num_images_per_prompt": 10**7}, "num_images_per_prompt must be at most 1,000,000"),
    ({"guidance_scale": math.nan}, "guidance_scale must be a finite number, got nan"),
    ({"coupling_scale": math.nan}, "coupling_scale must be a finite number, got nan"),
    ({"coupling_scale": {"frontl": 2}}, "frontl.*coupling_scale"),
    ({"guidance_scale": math.inf}, "guidance_scale must be a finite number, got inf"),
    ({"guidance_scale": 1e30}, r"guidance_scale must lie in \[-100, 100\]"),
    ({"guidance_scale": [2.0]}, r"guidance_scale must be a finite number, got \[2.0\]"),
    ({"guidance_scale": {"frontal": "a"}}, "guidance_scale must be a finite number, got 'a'"),
    ({"guidance_interval": "ab"}, "guidance_interval must be {name: .*got str 'ab'"),
    ({"guidance_interval": {"frontal": "ab"}}, "guidance_interval of 'frontal' must be"),
    ({"guidance_interval": {"frontal": (0.5, math.nan)}}, "guidance_interval of 'frontal' must"),
    ({"outputs": 5}, "outputs must be a list of names, got int 5"),
    ({"outputs": [5]}, "unknown key '5' in the modalities"),
    ({"generator": 5}, "generator must be a torch.Generator or a list of them, got 5"),
    ({"generator": [None]}, "expected 1 generators"),
    ({"seeds": 5}, "expected 1 seeds and no generator, got 5"),
    ({"seeds": ["a"]}, "a seed must be a whole number, got 'a'"),
    ({"eta": 2}, r"eta must lie in \[0, 1\], got 2"),
    ({"prompts": 5}, "prompts must be {name: value or list of values} or a text, got int"),
    ({"prompts": [5]}, "prompts must be {name: value or list of values} or a text, got list"),
    ({"prompts": {"report": "a\ud800b"}}, "lone surrogate"),
    ({"prompts": {"lateral": np.zeros((0, 5))}}, "an image must have pixels, got 5 x 0"),
    ({"prompts": {"lateral": Image.new("L", (0, 0))}}, "an image must have pixels, got 0 x 0"),
    ({"prompts": {"lateral": Image.new("L", (60000, 1))}}, "9459 pixels wide.*got 60000 x 1"),
    ({"prompts": {"lateral": np.zeros((1, 60000), np.uint8)}}, "9459 pixels .* got 60000 x 1"),
    ({"prompts": {"lateral": Image.new("I", (4, 4), 70000)}}, r"must lie in \[0, 65535\], got"),
    ({"prompts": {"lateral": Image.new("F", (4, 4), math.nan)}}, "NaN or infinite pixels"),
    ({"prompts": {"lateral": torch.zeros(4, 4, dtype=torch.int64)}}, "uint8, uint16, bool or fl"),
    ({"prompts": {"lateral": torch.zeros(2, 4, 4)}}, r"must have the shape .*got \(2, 4, 4\)"),
    ({"prompts": {"lateral": "no such.png"}}, "no image file at 'no such.png'"),
    ({"prompts": {"lateral": 3.5}}, "expected a PIL image, an array or a tensor.*got float"),
]


@pytest.mark.parametrize(("arguments", "match"), ODD_CALLS)
def test_odd_arguments_are_one_value_error(pipe, arguments, match):
    with pytest.raises(ValueError, match=match):
        pipe(**{"prompts": None, "outputs": ["frontal"], "num_inference_steps": 1} | arguments)
