"""The pipeline: every route, samples that do not depend on each other, strict loading, and its
errors."""

import itertools
import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch._dynamo.utils import counters

from medcodi.nn.memory import TooLittleMemoryError
from medcodi.pipeline import MedCoDiPipeline
from tests.tiny import SIZE

NAMES = ("frontal", "lateral", "report", "tabular")
VALUES = {
    "frontal": [Image.new("L", (20, 12), 90), np.full((SIZE, SIZE), 0.3, np.float32)],
    "lateral": [Image.new("L", (SIZE, SIZE), 200), Image.new("I;16", (SIZE, SIZE), 9000)],
    "report": ["Large left pleural effusion.", "The lungs are clear."],
    "tabular": pd.DataFrame({"heart_rate": [70, 120], "is_icu": ["true", None]}),
}
ROUTES = [
    (prompts, outputs)
    for roles in itertools.product("po-", repeat=4)
    for prompts, outputs in [
        tuple(tuple(n for n, r in zip(NAMES, roles, strict=True) if r == role) for role in "po")
    ]
    if outputs
]


@pytest.fixture(scope="module")
def pipe(tiny_run):
    loaded = MedCoDiPipeline.from_pretrained(tiny_run.run_dir / "pipeline")
    loaded.set_progress_bar_config(disable=True)
    return loaded


@pytest.fixture
def folder(tiny_run, tmp_path):
    """A copy of the pipeline's folder, to be damaged."""
    return shutil.copytree(tiny_run.run_dir / "pipeline", tmp_path / "pipeline")


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def assert_same(a, b):
    """Same samples: numbers up to rounding, words and table rows exactly."""
    assert list(a.values) == list(b.values) and a.seeds == b.seeds
    for name in a.values:
        torch.testing.assert_close(a.latents[name], b.latents[name], rtol=1e-4, atol=1e-4)


def pick(out, rows):
    return {name: latents[rows] for name, latents in out.latents.items()}


def test_there_are_65_routes():
    assert len(ROUTES) == 3**4 - 2**4 == 65
    assert sum(not prompts for prompts, _ in ROUTES) == 15


@pytest.mark.parametrize(
    "route", ROUTES, ids=lambda route: "-to-".join("+".join(part) or "nothing" for part in route)
)
def test_every_prompt_subset_to_every_output_subset(pipe, route):
    prompts, outputs = route
    out = pipe(
        {name: VALUES[name] for name in prompts},
        outputs,
        num_inference_steps=2,
        generator=seeded(),
        num_images_per_prompt=1 if prompts else 2,
    )
    assert list(out.values) == list(outputs) and len(out) == 2
    for name in outputs:
        assert len(out[name]) == 2 and torch.isfinite(out.latents[name]).all()
        assert not torch.equal(out.latents[name][0], out.latents[name][1])
    for name in {"frontal", "lateral"} & set(outputs):
        assert out[name][0].size == (SIZE, SIZE) and out[name][0].mode == "L"
    if "report" in outputs:
        assert all(isinstance(text, str) for text in out.report)
    if "tabular" in outputs:
        schema = pipe.family.modality("tabular").schema
        assert list(out.tabular.columns) == schema.names
        cells = out.tabular.astype(object).where(out.tabular.notna(), None)
        schema.encode(cells.to_dict("records"))  # every cell is one that the schema can hold


def test_same_generator_same_output_bit_for_bit(pipe):
    first, second = (
        pipe({"report": "Clear lungs."}, num_inference_steps=2, generator=seeded(3))
        for _ in range(2)
    )
    other = pipe({"report": "Clear lungs."}, num_inference_steps=2, generator=seeded(4))
    for name in first.values:
        assert torch.equal(first.latents[name], second.latents[name])
        assert not torch.equal(first.latents[name], other.latents[name])
    assert first.frontal[0].tobytes() == second.frontal[0].tobytes()
    pd.testing.assert_frame_equal(first.tabular, second.tabular)


def test_samples_do_not_depend_on_the_batch(pipe):
    prompts = {"report": ["Clear lungs.", "Edema.", "A nodule.", "Cardiomegaly."]}
    whole, one = (
        pipe(prompts, num_inference_steps=2, generator=seeded(), batch_size=size) for size in (4, 1)
    )
    assert_same(whole, one)
    pd.testing.assert_frame_equal(whole.tabular, one.tabular)


def test_a_sample_regenerates_alone_from_its_seed(pipe):
    prompts = ["Clear lungs.", "Edema.", "A nodule."]
    out = pipe(
        {"report": prompts}, num_inference_steps=2, generator=seeded(), num_images_per_prompt=2
    )
    assert out.prompt_index == [0, 0, 1, 1, 2, 2] and len(set(out.seeds)) == 6
    for i in (0, 3):
        alone = pipe(
            {"report": prompts[out.prompt_index[i]]}, num_inference_steps=2, seeds=[out.seeds[i]]
        )
        for name in out.values:
            torch.testing.assert_close(
                alone.latents[name][0], out.latents[name][i], rtol=1e-4, atol=1e-4
            )


def test_one_generator_a_sample(pipe):
    out = pipe({}, ["tabular"], 2, generator=[seeded(1), seeded(2)], num_images_per_prompt=2)
    swapped = pipe({}, ["tabular"], 2, generator=[seeded(2), seeded(1)], num_images_per_prompt=2)
    torch.testing.assert_close(out.latents["tabular"], swapped.latents["tabular"].flip(0))
    with pytest.raises(ValueError, match="expected 1 generators, one a sample, got 2"):
        pipe({}, ["tabular"], 2, generator=[seeded(1), seeded(2)])
    with pytest.raises(ValueError, match="expected 1 seeds and no generator, got 3"):
        pipe({}, ["tabular"], 2, seeds=[1, 2, 3])


def test_prompts_may_be_absent_in_some_rows(pipe):
    reports, frontals = ["Edema.", None, "A nodule."], [None, None, VALUES["frontal"][0]]
    out = pipe({"report": reports, "frontal": frontals}, ["tabular"], 2, seeds=[1, 2, 3])
    only_report = pipe({"report": "Edema."}, ["tabular"], 2, seeds=[1])
    nothing = pipe({}, ["tabular"], 2, seeds=[2])
    both = pipe({"report": "A nodule.", "frontal": frontals[2]}, ["tabular"], 2, seeds=[3])
    for row, alone in enumerate((only_report, nothing, both)):
        torch.testing.assert_close(
            out.latents["tabular"][row], alone.latents["tabular"][0], rtol=1e-4, atol=1e-4
        )


def test_one_prompt_value_serves_all_rows(pipe):
    frontal = VALUES["frontal"][0]
    once = pipe(
        {"report": ["Edema.", "A nodule."], "frontal": frontal}, ["tabular"], 2, seeds=[1, 2]
    )
    twice = pipe(
        {"report": ["Edema.", "A nodule."], "frontal": [frontal] * 2}, ["tabular"], 2, seeds=[1, 2]
    )
    assert torch.equal(once.latents["tabular"], twice.latents["tabular"])


def test_prompts_and_guidance_matter(pipe):
    def sample(text, **settings):
        return pipe({"report": text}, ["frontal"], 2, seeds=[7], **settings).latents["frontal"]

    assert not torch.equal(sample("Edema."), sample("A nodule."))
    one, three = (
        sample("Edema.", guidance_scale=1.0),
        sample("Edema.", guidance_scale={"frontal": 3.0}),
    )
    assert not torch.equal(one, three)
    assert torch.equal(sample("Edema."), sample("Edema.", guidance_scale=1.5))  # the recipe's


def test_coupling_scale_is_how_much_outputs_follow_each_other(pipe):
    def frontal(outputs, **settings):
        return pipe({"report": "Edema."}, outputs, 2, seeds=[7], **settings).latents["frontal"]

    both = ["frontal", "lateral"]
    together, stronger = frontal(both), frontal(both, coupling_scale={"frontal": 3.0})
    assert torch.equal(frontal(both, coupling_scale=1.0), together)
    assert not torch.equal(stronger, together)
    assert torch.equal(frontal(both, coupling_scale={"lateral": 1.0}), together)
    for outputs, settings, why in (
        (["frontal"], {}, "the call has one output"),
        (both, {"coupled": False}, "coupled is False"),
        (both, {"order": both}, "order makes them one after the other"),
    ):
        with pytest.raises(ValueError, match=f"does nothing here: {why}"):
            frontal(outputs, coupling_scale=3.0, **settings)


def test_negative_prompts_without_guidance_are_told(pipe, caplog):
    pipe("Edema.", ["frontal"], 2, guidance_scale=2.0, negative_prompts="A nodule.")
    assert "negative_prompts do nothing" not in caplog.text
    pipe("Edema.", ["frontal"], 2, guidance_scale=1.0, negative_prompts="A nodule.")
    assert "negative_prompts do nothing here" in caplog.text


def test_guidance_without_prompts_is_told(pipe, caplog):
    guided = {"guidance_scale": 3.0, "guidance_interval": {"frontal": (0.2, 0.8)}}
    pipe("Edema.", ["frontal"], 2, **guided)
    pipe(None, ["frontal"], 2, negative_prompts="A nodule.", **guided)
    pipe(None, ["frontal", "lateral"], 2, order=["lateral", "frontal"], **guided)
    pipe(None, ["frontal"], 2)
    assert "does nothing here" not in caplog.text
    pipe(None, ["frontal"], 2, **guided)
    assert "guidance_scale does nothing here" in caplog.text
    assert "guidance_interval does nothing here" in caplog.text


def test_order_prompts_each_output_with_those_before_it(pipe):
    both, texts = ["frontal", "lateral"], ["Edema.", "A nodule."]
    out = pipe({"report": texts}, both, 2, seeds=[7, 8], order=["lateral", "frontal"])
    assert list(out) == both and out.seeds == [7, 8]
    first = pipe({"report": texts}, ["lateral"], 2, seeds=[7, 8])
    second = pipe({"report": texts, "lateral": first.stored["lateral"]}, "frontal", 2, seeds=[7, 8])
    assert torch.equal(out.latents["lateral"], first.latents["lateral"])
    assert torch.equal(out.latents["frontal"], second.latents["frontal"])
    assert out.frontal[1].tobytes() == second.frontal[1].tobytes()
    # settings of every output are those of its turn
    guided = {"guidance_interval": {"frontal": (0.0, 0.6), "lateral": (0.2, 1.0)}}
    guided |= {"output_type": "latent", "guidance_scale": {"frontal": 1.5, "lateral": 2.0}}
    shown = pipe({"report": texts}, both, 2, seeds=[7, 8], order=both[::-1], **guided)
    guided["guidance_interval"] = {"lateral": (0.2, 1.0)}
    guided["guidance_scale"] = {"lateral": 2.0}
    alone = pipe({"report": texts}, ["lateral"], 2, seeds=[7, 8], **guided)
    assert torch.equal(shown["lateral"], alone["lateral"])
    assert not torch.equal(shown["lateral"], first.latents["lateral"])
    shown = pipe({"report": texts}, both, 2, seeds=[7, 8], order=both[::-1], output_type="latent")
    assert torch.equal(shown["frontal"], second.latents["frontal"])


def test_order_from_nothing_gives_every_sample_its_own_prompts(pipe):
    order = ["report", "frontal"]
    three = pipe(
        outputs=order, num_inference_steps=2, seeds=[1, 2, 3], num_images_per_prompt=3, order=order
    )
    one = pipe(outputs=order, num_inference_steps=2, seeds=[3], order=order)
    assert three.report[2] == one.report[0] and three.prompt_index == [0, 0, 0]
    assert torch.allclose(three.latents["frontal"][2], one.latents["frontal"][0], atol=1e-4)


@pytest.mark.parametrize("order", [["frontal"], ["frontal", "frontal"], "frontal,lateral", 3])
def test_an_order_names_every_output_once(pipe, order):
    with pytest.raises(ValueError, match="order must name every output once, frontal, lateral"):
        pipe("Edema.", ["frontal", "lateral"], 2, order=order)


def test_coupling_joins_the_outputs(pipe):
    """Coupled, an output depends on its partner; uncoupled, it is what it would be alone."""

    def frontal(outputs, coupled):
        return pipe({"report": "Edema."}, outputs, 2, seeds=[7], coupled=coupled).latents["frontal"]

    alone = frontal(["frontal"], False)
    assert torch.equal(frontal(["frontal", "lateral"], False), alone)
    assert not torch.equal(frontal(["frontal", "lateral"], True), alone)
    given = {"lateral": VALUES["lateral"][0]}
    pooled = pipe(given, ["frontal"], 2, seeds=[7], condition_on_latents=False).latents["frontal"]
    assert not torch.equal(pipe(given, ["frontal"], 2, seeds=[7]).latents["frontal"], pooled)


def test_bfloat16(tiny_run, tiny_pipeline):
    full = tiny_pipeline({"report": "Edema."}, num_inference_steps=2, seeds=[1])
    for half in (
        tiny_pipeline.to(dtype=torch.bfloat16),
        MedCoDiPipeline.from_pretrained(tiny_run.run_dir / "pipeline", torch_dtype=torch.bfloat16),
    ):
        half.set_progress_bar_config(disable=True)
        assert half.dtype == torch.bfloat16
        out = half({"report": "Edema."}, num_inference_steps=2, seeds=[1])
        for name in out.values:
            torch.testing.assert_close(out.latents[name], full.latents[name], rtol=0.1, atol=0.1)
        assert half({"frontal": VALUES["frontal"]}, ["lateral"], 2).lateral[1].size == (SIZE, SIZE)


def test_encode_prompt_is_the_shared_space(pipe):
    encoded = pipe.encode_prompt("report", ["Edema.", "A nodule."])
    torch.testing.assert_close(encoded.embeds.norm(dim=1), torch.ones(2))


@pytest.mark.parametrize(
    ("prompts", "settings", "match"),
    [
        (
            {"fontal": None},
            {},
            "unknown key 'fontal' in the modalities of this pipeline; did you mean 'frontal'",
        ),
        ({}, {"outputs": ["reports"]}, "unknown key 'reports'.*did you mean 'report'"),
        (
            {"report": "x"},
            {"outputs": ["report", "frontal"]},
            r"\['report'\] cannot be prompt and output at once",
        ),
        ({}, {"outputs": []}, r"outputs must name at least one modality, each once; got \[\]"),
        ({}, {"outputs": ["report", "report"]}, "each once"),
        (dict.fromkeys(NAMES), {}, "outputs must name at least one modality"),
        (
            {"report": ["a", "b"], "lateral": VALUES["lateral"] * 2},
            {},
            "prompts must have equal lengths.*'lateral': 4",
        ),
        ({"report": []}, {}, "prompts must have equal lengths"),
        (
            {"report": "x"},
            {"outputs": ["frontal"], "guidance_scale": {"lateral": 2.0}},
            "unknown key 'lateral' in gui",
        ),
        ({"report": "  "}, {}, "modality 'report': expected a non-empty text, got '  '"),
        ({"report": 7}, {}, "modality 'report': expected a non-empty text, got 7"),
        (
            {"frontal": np.full((SIZE, SIZE), 2.0)},
            {},
            r"modality 'frontal': a float image must lie in \[0, 1\]",
        ),
        ({"frontal": np.full((SIZE, SIZE), np.nan)}, {}, "NaN|finite|must lie"),
        ({"frontal": np.zeros((2, 8, 8))}, {}, "modality 'frontal': an image must have the shape"),
        ({"frontal": "a.png"}, {}, "modality 'frontal': no image file at 'a.png'"),
        (
            {"tabular": {"heart_rat": 80}},
            {},
            "unknown key 'heart_rat' in a row of 'tabular'; did you mean 'heart_rate",
        ),
        ({"tabular": {"is_icu": "maybe"}}, {}, r"column 'is_icu': 'maybe' is not one of"),
        ({"tabular": 3}, {}, "expected a DataFrame, a dict or a list of dicts, got int"),
        ({}, {"num_inference_steps": 0}, "num_inference_steps must be at least 1, got 0"),
        ({}, {"num_images_per_prompt": 0}, "num_images_per_prompt must be at least 1, got 0"),
        ({}, {"batch_size": 0}, "batch_size must be at least 1, got 0"),
    ],
)
def test_errors_name_what_is_wrong(pipe, prompts, settings, match):
    with pytest.raises(ValueError, match=match):
        pipe(prompts, **{"num_inference_steps": 1, **settings})


def test_output_is_read_by_name(pipe):
    out = pipe({}, ["report"], 1)
    assert out.report == out["report"]
    with pytest.raises(AttributeError, match="no output 'frontal'; outputs: report"):
        _ = out.frontal
    with pytest.raises(ValueError, match="'frontal' was not generated; outputs: report"):
        out["frontal"]


def test_save_and_load_gives_identical_outputs(pipe, tmp_path):
    pipe.save_pretrained(tmp_path / "saved")
    loaded = MedCoDiPipeline.from_pretrained(tmp_path / "saved")
    loaded.set_progress_bar_config(disable=True)
    assert loaded.model_hash == pipe.model_hash
    first, second = (
        p({"report": "Edema."}, num_inference_steps=2, generator=seeded()) for p in (pipe, loaded)
    )
    for name in first.values:
        assert torch.equal(first.latents[name], second.latents[name])
    pd.testing.assert_frame_equal(first.tabular, second.tabular)


def test_a_part_of_the_family(tiny_run):
    part = MedCoDiPipeline.from_pretrained(
        tiny_run.run_dir / "pipeline", modalities=["frontal", "report"]
    )
    part.set_progress_bar_config(disable=True)
    assert part.modalities == ["frontal", "report"] and set(part.autoencoders) == {
        "radiograph",
        "report",
    }
    out = part({"report": "Edema."}, num_inference_steps=2)
    assert list(out.values) == ["frontal"]
    with pytest.raises(ValueError, match=r"unknown key 'tabular'.*Valid keys: frontal, report"):
        part({"tabular": {"heart_rate": 80}})
    with pytest.raises(ValueError, match="unknown key 'lat'"):
        MedCoDiPipeline.from_pretrained(tiny_run.run_dir / "pipeline", modalities=["lat"])


def test_missing_files_are_named(folder, tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"is no medcodi pipeline: model_index.json is missing.*quickstart"
    ):
        MedCoDiPipeline.from_pretrained(tmp_path / "nowhere")
    (folder / "diffusion" / "lateral" / "model.safetensors").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"no weights at .*diffusion/lateral/model.safetensors"
    ):
        MedCoDiPipeline.from_pretrained(folder)


def test_other_weights_are_refused(folder):
    path = folder / "diffusion" / "report" / "model.safetensors"
    weights = load_file(path)
    key = sorted(weights)[0]
    save_file(weights | {key: weights[key] + 1e-3}, path)
    with pytest.raises(
        ValueError,
        match=r"diffusion/report is not what model_index.json describes: its weights hash",
    ):
        MedCoDiPipeline.from_pretrained(folder)
    save_file({k: v for k, v in weights.items() if k != key} | {"stray": torch.zeros(1)}, path)
    with pytest.raises(
        ValueError, match=rf"does not fit this recipe. Missing keys: \['{key}'\].*\['stray'\]"
    ):
        MedCoDiPipeline.from_pretrained(folder)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match="is not a readable safetensors file"):
        MedCoDiPipeline.from_pretrained(folder)


def test_another_class_is_refused(folder):
    path = folder / "model_index.json"
    index = json.loads(path.read_text())
    path.write_text(json.dumps(index | {"_class_name": "StableDiffusionPipeline"}))
    with pytest.raises(
        ValueError, match="describes a 'StableDiffusionPipeline', expected 'MedCoDiPipeline'"
    ):
        MedCoDiPipeline.from_pretrained(folder)


def test_without_stage_3_outputs_are_independent(tiny_run):
    from medcodi.export import build_pipeline

    alone = build_pipeline(tiny_run, coupled=False)
    alone.set_progress_bar_config(disable=True)
    assert alone.environments is None
    pair, single = (
        alone({}, outputs, 2, seeds=[1]) for outputs in (["frontal", "report"], ["frontal"])
    )
    torch.testing.assert_close(pair.latents["frontal"], single.latents["frontal"])


@pytest.mark.slow
def test_compiled_denoisers_change_rounding_only(tiny_pipeline):
    """Guided and not, and for a batch of another size."""
    torch.compiler.reset()
    counters.clear()
    call = {
        "prompts": {"report": ["Large left effusion."]},
        "outputs": ["frontal", "tabular"],
        "num_images_per_prompt": 3,
        "num_inference_steps": 3,
        "seeds": [1, 2, 3],
        "batch_size": 2,
        "guidance_interval": {"frontal": (0.5, 0.9), "tabular": (0.5, 0.9)},
    }
    plain = tiny_pipeline(**call).latents
    assert tiny_pipeline.compile() is tiny_pipeline
    found = tiny_pipeline(**call).latents
    assert counters["stats"]["unique_graphs"] > 1
    assert all(torch.allclose(found[name], plain[name], atol=1e-4) for name in plain)


def test_too_little_memory_names_three_settings(tiny_pipeline):
    def callback(*_):
        torch.empty(1 << 58)

    match = (
        r"too little memory to generate frontal, report\. Three settings reduce it: batch_size "
        r"\(now 2\), dtype bfloat16 "
        r"\(now float32\), fewer outputs at once \(now 2\)"
    )
    with pytest.raises(TooLittleMemoryError, match=match):
        tiny_pipeline(
            outputs=["frontal", "report"],
            num_inference_steps=1,
            batch_size=2,
            callback_on_step_end=callback,
        )

    def broken(*_):
        raise RuntimeError("shape mismatch")

    with pytest.raises(RuntimeError, match=r"^shape mismatch$"):
        tiny_pipeline(outputs=["frontal"], num_inference_steps=1, callback_on_step_end=broken)
