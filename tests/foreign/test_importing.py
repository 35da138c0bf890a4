"""Foreign weights: what we import does what it did, every key is accounted for, and what does not
fit is refused.

All sources are tiny and random, in the key layout of the real ones.
"""

import json

import open_clip
import pytest
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    BertConfig,
    BertForPreTraining,
    BertModel,
    CLIPConfig,
    CLIPModel,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
)

from medcodi.foreign import import_autoencoder, import_denoiser, import_encoder
from medcodi.foreign.importing import KEYS
from medcodi.foreign.sources import weights_file
from medcodi.modalities import ModelFamily
from medcodi.modalities.report import pretrained_tokenizers
from medcodi.nn.weights import load_module
from tests.foreign import layouts
from tests.networks import TINY_FC_UNET, normal, tiny_assets
from tests.tiny import tiny_recipe

CHANNELS, SIZE, WORDS, EMBED = [8, 16], 16, 40, 16
IMAGE = {
    "encoder": {
        "patch_size": 4,
        "width": 32,
        "layers": 2,
        "heads": 4,
        "num_tokens": 1,
        "pooling": "first",
        "pixels": "clip",
        "activation": "quick_gelu",
        "resolution": 12,
    },
    "autoencoder": {
        "block_out_channels": CHANNELS,
        "latent_channels": 2,
        "norm_num_groups": 4,
        "mid_block_add_attention": True,
        "in_channels": 1,
    },
    "denoiser": {
        "block_out_channels": [16, 32],
        "attention": [True, False],
        "attention_head_dim": 2,
        "norm_num_groups": 4,
    },
}
REPORT = {
    "encoder": {
        "tokenizer": "clip",
        "context_length": 20,
        "width": 32,
        "layers": 2,
        "heads": 4,
        "num_tokens": 1,
        "pooling": "last",
        "activation": "quick_gelu",
    },
    "autoencoder": {
        "pooling": "cls",
        "num_slots": 1,
        "slot_dim": 32,
        "hidden_dim": 32,
        "num_encoder_layers": 2,
        "num_decoder_layers": 2,
        "num_heads": 4,
        "mlp_ratio": 4,
        "max_length": 10,
    },
    "denoiser": {
        "fc_unet": TINY_FC_UNET,
    },
}
REPORTS = ["w1 w2 w3", "w5 w5"]


def tokenizer(folder, specials, words=WORDS):
    names = [*specials.values(), *(f"w{i}" for i in range(words - len(specials)))]
    backend = Tokenizer(models.WordLevel({w: i for i, w in enumerate(names)}, unk_token=names[0]))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=backend, **specials).save_pretrained(folder)


@pytest.fixture(scope="module")
def bert_and_gpt2(tmp_path_factory):
    """Folders of a tiny BERT and GPT-2 with their tokenizers, and the models."""
    folder = tmp_path_factory.mktemp("language")
    torch.manual_seed(0)
    bert = BertModel(
        BertConfig(
            vocab_size=WORDS,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=128,
            max_position_embeddings=14,
        )
    ).eval()
    gpt2 = GPT2LMHeadModel(
        GPT2Config(vocab_size=WORDS - 2, n_embd=32, n_layer=2, n_head=4, n_positions=14)
    ).eval()
    bert.save_pretrained(folder / "bert")
    gpt2.save_pretrained(folder / "gpt2")
    tokenizer(
        folder / "bert",
        {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"},
    )
    tokenizer(folder / "gpt2", {"eos_token": "<|endoftext|>"}, WORDS - 2)
    return str(folder / "bert"), str(folder / "gpt2"), bert, gpt2


def build_family(tmp_path, folders=None, image=IMAGE, report=REPORT) -> ModelFamily:
    modalities = {"frontal": image, "lateral": image, "report": report}
    if folders:
        modalities["report"] = {**report, "autoencoder_tokenizers": list(folders)}
    recipe = tiny_recipe(
        tmp_path,
        modalities=modalities,
        shared_space={"embed_dim": EMBED},
        diffusion={
            "fusion": "mean",
            "prediction_type": "epsilon",
            "prompt_mean": False,
            "partner_mean": False,
        },
    )
    recipe.modalities["report"]["denoiser"] = report[
        "denoiser"
    ]  # in the place of tests.tiny's, not merged with it
    assets = tiny_assets(recipe)
    if folders:
        assets["report"] = pretrained_tokenizers("report", folders)
    return ModelFamily(recipe, assets)


@pytest.fixture(scope="module")
def family(tmp_path_factory, bert_and_gpt2):
    return build_family(tmp_path_factory.mktemp("family"), bert_and_gpt2[:2])


@pytest.fixture(scope="module")
def stable_diffusion(tmp_path_factory):
    """A tiny Stable Diffusion folder: `vae` of three channels and `unet`."""
    folder = tmp_path_factory.mktemp("sd")
    torch.manual_seed(1)
    vae = AutoencoderKL(
        in_channels=3,
        out_channels=3,
        block_out_channels=CHANNELS,
        latent_channels=2,
        norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        layers_per_block=1,
        sample_size=SIZE,
        scaling_factor=0.25,
    ).eval()
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=2,
        out_channels=2,
        cross_attention_dim=32,
        block_out_channels=(16, 32),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        attention_head_dim=2,
        norm_num_groups=4,
    ).eval()
    vae.save_pretrained(folder / "vae")
    unet.save_pretrained(folder / "unet")
    return str(folder), vae, unet


@pytest.fixture(scope="module")
def clip_model(tmp_path_factory):
    torch.manual_seed(2)
    both = {
        "hidden_size": 32,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "hidden_act": "quick_gelu",
        "projection_dim": EMBED,
    }
    model = CLIPModel(
        CLIPConfig(
            vision_config=both | {"image_size": 12, "patch_size": 4},
            text_config=both
            | {"vocab_size": 49408, "max_position_embeddings": 20, "eos_token_id": 49407},
            projection_dim=EMBED,
        )
    ).eval()
    folder = tmp_path_factory.mktemp("clip")
    model.save_pretrained(folder)
    return str(folder), model


def loaded(module, folder):
    return load_module(module, folder).eval()


def account(folder) -> dict:
    return json.loads((folder / KEYS).read_text())


@pytest.mark.parametrize("channels", [1, 3])
def test_the_vae_in_one_channel_reconstructs_as_in_three(stable_diffusion, tmp_path, channels):
    """Summed kernels in, averaged kernels out: exactly grey repeated and averaged."""
    source, vae, _ = stable_diffusion
    image = {**IMAGE, "autoencoder": {**IMAGE["autoencoder"], "in_channels": channels}}
    family = build_family(tmp_path, image=image, report={**REPORT, "autoencoder": {}})
    report = import_autoencoder(family, "frontal", source, tmp_path / "vae")
    ours, grey = (
        loaded(family.build_autoencoder("radiograph"), tmp_path / "vae"),
        normal(2, 1, SIZE, SIZE).clamp(-1, 1),
    )
    with torch.no_grad():
        theirs = vae.encode(grey.expand(-1, 3, -1, -1)).latent_dist.mean
        decoded = vae.decode(theirs).sample.mean(dim=1, keepdim=True)
    torch.testing.assert_close(
        ours.encode(grey), theirs * 0.25, rtol=1e-4, atol=1e-5
    )  # the scaling factor
    torch.testing.assert_close(ours.decode(ours.encode(grey)), decoded, rtol=1e-4, atol=1e-4)
    how = {entry["how"] for entry in report["mapped"].values()}
    merged = {"summed over the RGB inputs", "averaged over the RGB outputs"}
    assert how == {"copied"} | (merged if channels == 1 else set())
    assert account(tmp_path / "vae") == report and report["counts"]["dead"] == 0


def test_the_unet_predicts_what_it_did(stable_diffusion, family, tmp_path):
    source, _, unet = stable_diffusion
    import_denoiser(family, "lateral", source, tmp_path / "unet")
    check_unet(unet, loaded(family.build_diffusion("lateral").denoiser, tmp_path / "unet"))


def check_unet(theirs, ours):
    latents, steps, context = (
        normal(3, 2, 8, 8),
        torch.tensor([1.0, 500.0, 999.0]),
        normal(3, 1, 32, seed=1),
    )
    with torch.no_grad():
        expected = theirs(latents, steps, context).sample
        found = ours(latents, steps, context, torch.ones(3, 1, dtype=torch.bool))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def pixels() -> torch.Tensor:
    return normal(3, 1, SIZE, SIZE, seed=3).clamp(-1, 1)


def as_clip_sees(images: torch.Tensor) -> torch.Tensor:
    small = F.interpolate(
        images, (12, 12), mode="bicubic", antialias=True, align_corners=False
    ).clamp(-1, 1)
    mean, std = (
        torch.tensor(x).view(1, 3, 1, 1)
        for x in (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)
    )
    return ((small.expand(-1, 3, -1, -1) + 1) / 2 - mean) / std


TEXTS = ["Small left pleural effusion.", "The lungs are clear. No pneumothorax."]


def check_encoders(family, image_folder, text_folder, image_embeds, text_embeds):
    space = family.recipe.shared_space
    image = loaded(family.modality("frontal").build_prompt_encoder(space), image_folder)
    text = loaded(family.modality("report").build_prompt_encoder(space), text_folder)
    with torch.no_grad():
        torch.testing.assert_close(
            image(pixels()).embeds, F.normalize(image_embeds, dim=-1), rtol=1e-4, atol=1e-5
        )
        torch.testing.assert_close(
            text(TEXTS).embeds, F.normalize(text_embeds, dim=-1), rtol=1e-4, atol=1e-5
        )


def clip_embeds(model) -> tuple[torch.Tensor, torch.Tensor]:
    ids = open_clip.SimpleTokenizer(context_length=20)(TEXTS)
    with torch.no_grad():
        image = model.visual_projection(
            model.vision_model(pixel_values=as_clip_sees(pixels())).pooler_output
        )
        text = model.text_projection(model.text_model(input_ids=ids).pooler_output)
    return image, text


def test_clip_of_hugging_face_embeds_as_it_did(clip_model, family, tmp_path):
    source, model = clip_model
    report = import_encoder(family, "frontal", source, tmp_path / "image")
    import_encoder(family, "report", source, tmp_path / "text")
    check_encoders(family, tmp_path / "image", tmp_path / "text", *clip_embeds(model))
    assert report["counts"]["new"] == 0 and set(report["dead"].values()) == {
        "the other tower's; imported into its own prompt encoder",
        "the temperature: stage 1 learns its own for all pairs",
    }


def test_clip_of_another_activation_is_refused(clip_model, tmp_path):
    image = {**IMAGE, "encoder": {**IMAGE["encoder"], "activation": "gelu"}}
    family = build_family(tmp_path, image=image, report={**REPORT, "autoencoder": {}})
    with pytest.raises(
        ValueError, match="trained with activation 'quick_gelu', the recipe's encoder has 'gelu'"
    ):
        import_encoder(family, "frontal", clip_model[0], tmp_path / "x")


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_open_clip_embeds_as_it_did(family, tmp_path, suffix):
    torch.manual_seed(4)
    vision = open_clip.CLIPVisionCfg(layers=2, width=32, head_width=8, patch_size=4, image_size=12)
    text = open_clip.CLIPTextCfg(context_length=20, width=32, heads=4, layers=2)
    model = open_clip.CLIP(EMBED, vision, text, quick_gelu=True).eval()
    file = tmp_path / f"clip.{suffix}"
    state = {k: v.contiguous() for k, v in model.state_dict().items()}
    save_file(state, file) if suffix == "safetensors" else torch.save(
        {"state_dict": state, "epoch": 3}, file
    )
    import_encoder(family, "frontal", str(file), tmp_path / "image")
    import_encoder(family, "report", str(file), tmp_path / "text")
    ids = open_clip.SimpleTokenizer(context_length=20)(TEXTS)
    with torch.no_grad():
        expected = model.encode_image(as_clip_sees(pixels())), model.encode_text(ids)
    check_encoders(family, tmp_path / "image", tmp_path / "text", *expected)


def test_bert_and_gpt2_become_the_report_vae(bert_and_gpt2, family, tmp_path):
    """Encoder and decoder compute what they did; what joins them is new and says so."""
    *folders, bert, gpt2 = bert_and_gpt2
    report = import_autoencoder(
        family, "report", *folders[:1], tmp_path / "optimus", decoder=folders[1]
    )
    vae = loaded(family.build_autoencoder("report"), tmp_path / "optimus")
    assert (len(vae.encoder_tokenizer), len(vae.tokenizer)) == (WORDS, WORDS - 2 + 3)
    assert [vae.tokenizer.pad_id, vae.tokenizer.bos_id, vae.tokenizer.eos_id] == [
        WORDS - 2,
        WORDS - 1,
        WORDS,
    ]
    ids, mask = vae.encoder_tokenizer(REPORTS)
    assert ids[0, :1].tolist() == [2] and ids[0, -1] == 3  # [CLS] ... [SEP]
    with torch.no_grad():
        expected = bert(input_ids=ids, attention_mask=mask).pooler_output
        torch.testing.assert_close(
            vae.encoder(input_ids=ids, attention_mask=mask).pooler_output, expected
        )
        tokens = torch.tensor([[4, 7, 9, 1]])
        torch.testing.assert_close(
            vae.decoder(input_ids=tokens).logits[..., : WORDS - 2], gpt2(input_ids=tokens).logits
        )
    assert len(report["new"]) == len(
        [k for k in vae.state_dict() if not k.startswith(("encoder.", "decoder."))]
    )
    assert report["mapped"]["encoder.embeddings.position_embeddings.weight"]["how"].startswith(
        "the first max_length"
    )
    decoded = vae.decode(vae.encode(REPORTS), max_length=4)
    assert [type(text) for text in decoded] == [str] * len(REPORTS)


def rewritten(folder, change, name="model.safetensors"):
    """The weights of a saved model under other names."""
    state = change(load_file(folder / name))
    save_file(
        {k: v.contiguous().clone() for k, v in state.items()},
        folder / name,
        metadata={"format": "pt"},
    )


def test_the_key_names_of_the_files_on_the_hub_are_read(
    stable_diffusion, bert_and_gpt2, family, tmp_path
):
    """bert-base-cased: `bert.` prefix, gamma and beta, pretraining heads; gpt2: no prefix, mask
    buffers; the VAE of Stable
    Diffusion 1.5: query, key, value, proj_attn."""
    *_, bert, gpt2 = bert_and_gpt2
    torch.manual_seed(6)
    heads = BertForPreTraining(bert.config)
    heads.bert.load_state_dict(bert.state_dict())
    heads.save_pretrained(tmp_path / "bert")
    old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    rewritten(tmp_path / "bert", lambda s: {replaced(k, old): v for k, v in s.items()})
    gpt2.save_pretrained(tmp_path / "gpt2")
    rewritten(
        tmp_path / "gpt2",
        lambda s: (
            {k.removeprefix("transformer."): v for k, v in s.items()}
            | {"h.0.attn.bias": torch.ones(1, 1, 14, 14)}
        ),
    )
    sources = str(tmp_path / "bert"), str(tmp_path / "gpt2")
    report = import_autoencoder(
        family, "report", sources[0], tmp_path / "optimus", decoder=sources[1]
    )
    import_autoencoder(
        family, "report", bert_and_gpt2[0], tmp_path / "plain", decoder=bert_and_gpt2[1]
    )
    ours, plain = (
        load_file(tmp_path / name / "model.safetensors") for name in ("optimus", "plain")
    )
    assert all(torch.equal(ours[k], plain[k]) for k in plain)
    assert "head of BERT's pretraining" in report["dead"].values() and report["counts"]["dead"] == 7

    source, vae, _ = stable_diffusion
    vae.save_pretrained(tmp_path / "sd" / "vae")
    names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    rewritten(
        tmp_path / "sd" / "vae",
        lambda s: {replaced(k, names): v for k, v in s.items()},
        "diffusion_pytorch_model.safetensors",
    )
    for folder, output in ((source, "new"), (str(tmp_path / "sd"), "old")):
        import_autoencoder(family, "frontal", folder, tmp_path / output)
    new, old_names = (load_file(tmp_path / name / "model.safetensors") for name in ("new", "old"))
    assert all(torch.equal(new[k], old_names[k]) for k in new)


def replaced(key: str, names: dict[str, str]) -> str:
    for ours, theirs in names.items():
        key = key.replace(ours, theirs)
    return key


def published(stable_diffusion, clip_model, bert_and_gpt2, family) -> tuple[dict, dict]:
    """A tiny checkpoint in CoDi's layout with everything in it, and the modules it was made
    from."""
    torch.manual_seed(5)
    _, vae, unet = stable_diffusion
    *_, bert, _ = bert_and_gpt2
    clip, text_unet = clip_model[1], family.build_diffusion("report").denoiser
    for parameter in text_unet.parameters():  # the zero-initialised ones too
        torch.nn.init.normal_(parameter, std=0.1)
    decoder = GPT2LMHeadModel(
        GPT2Config(vocab_size=WORDS + 1, n_embd=32, n_layer=2, n_head=4, n_positions=14)
    ).eval()
    sizes = {
        "encoder.linear": 64,
        "decoder.transformer.linear": 64,
        "decoder.transformer.linear_emb": 32,
    }
    own = {name: torch.nn.Linear(32, size, bias=False) for name, size in sizes.items()}
    below = layouts.below
    view = layouts.ldm_unet(unet, video=True) | layouts.connectors([16], 8, True, 24, 4)
    state = {
        "betas": torch.rand(10),
        "posterior_mean_coef1": torch.rand(10),
        "clap.model.x": torch.rand(2),
        "audioldm.encoder.x": torch.rand(2),
        "clip.model.vision_model.embeddings.position_ids": torch.arange(10)[None],
        "clip.model.vision_model.encoder.layers.0.temporal_self_attn.ff.proj_out.0.g": torch.rand(
            4
        ),
        "optimus.decoder.transformer.h.0.attn.bias": torch.rand(1, 1, 14, 14),
    }
    state |= below("autokl.", layouts.ldm_vae(vae, video=True)) | below("clip.model.", clip)
    state |= below("optimus.encoder.", bert) | below("optimus.decoder.", decoder)
    for name, module in own.items():
        state |= below(f"optimus.{name}.", module)
    state |= below("model.diffusion_model.unet_image.", view)
    state |= below("model.diffusion_model.unet_text.", layouts.fc_unet(text_unet))
    return state, {
        "vae": vae,
        "unet": unet,
        "clip": clip,
        "bert": bert,
        "gpt2": decoder,
        "text": text_unet.eval(),
        **own,
    }


@pytest.fixture(scope="module")
def checkpoint(stable_diffusion, clip_model, bert_and_gpt2, family, tmp_path_factory):
    state, modules = published(stable_diffusion, clip_model, bert_and_gpt2, family)
    path = tmp_path_factory.mktemp("published") / "codi.pth"
    torch.save(state, path)
    return str(path), state, modules


def check_accounts(report, state):
    """Every key of the file is mapped or dead, and none is both."""
    mapped = {key for entry in report["mapped"].values() for key in entry["from"]}
    assert mapped | set(report["dead"]) == set(state) and not mapped & set(report["dead"])


def test_published_views_and_vae(checkpoint, family, tmp_path):
    path, state, modules = checkpoint
    report = import_denoiser(family, "frontal", path, tmp_path / "unet", "unet_image")
    check_accounts(report, state)
    check_unet(
        modules["unet"], loaded(family.build_diffusion("frontal").denoiser, tmp_path / "unet")
    )
    dead = report["dead"]
    assert dead["model.diffusion_model.unet_image.input_blocks.1.0.1.ff.proj_out.0.g"].startswith(
        "layer over video frames"
    )
    assert dead["model.diffusion_model.unet_image.connecters_out.0.0.weight"].startswith(
        "joint generation"
    )
    assert dead["betas"].startswith("constant of the noise") and dead["clap.model.x"].startswith(
        "audio"
    )
    report = import_autoencoder(family, "frontal", path, tmp_path / "vae")
    check_accounts(report, state)
    ours, grey = (
        loaded(family.build_autoencoder("radiograph"), tmp_path / "vae"),
        normal(2, 1, SIZE, SIZE).clamp(-1, 1),
    )
    with torch.no_grad():
        theirs = modules["vae"].encode(grey.expand(-1, 3, -1, -1)).latent_dist.mean
        decoded = modules["vae"].decode(theirs).sample.mean(dim=1, keepdim=True)
    torch.testing.assert_close(ours.encode(grey), theirs * 0.18215, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours.decode(ours.encode(grey)), decoded, rtol=1e-4, atol=1e-4)


def test_published_report_unet_and_clip(checkpoint, family, clip_model, tmp_path):
    path, state, modules = checkpoint
    report = import_denoiser(family, "report", path, tmp_path / "text", "unet_text")
    check_accounts(report, state)
    ours = loaded(family.build_diffusion("report").denoiser, tmp_path / "text")
    assert all(
        torch.equal(v, modules["text"].state_dict()[k]) for k, v in ours.state_dict().items()
    )
    assert report["counts"]["new"] == 0
    for name, folder in (("frontal", "image"), ("report", "words")):
        check_accounts(import_encoder(family, name, path, tmp_path / folder), state)
    check_encoders(family, tmp_path / "image", tmp_path / "words", *clip_embeds(clip_model[1]))


def test_published_optimus_is_the_same_function(checkpoint, family, tmp_path):
    """The latent is the first half of W pooler([CLS]); a layer's memory is its chunk of V z as key
    and value; an embedding gets U z (Li et al. 2020)."""
    path, state, modules = checkpoint
    report = import_autoencoder(family, "report", path, tmp_path / "optimus")
    check_accounts(report, state)
    vae = loaded(family.build_autoencoder("report"), tmp_path / "optimus")
    ids, mask = vae.encoder_tokenizer(REPORTS)
    with torch.no_grad():
        pooled = modules["bert"](input_ids=ids, attention_mask=mask).pooler_output
        expected = modules["encoder.linear"](pooled)[:, :32]
        torch.testing.assert_close(vae.posterior(REPORTS)[0][:, 0], expected)
        cache, embedding = vae.memory(expected[:, None])
        layers = modules["decoder.transformer.linear"](expected).chunk(2, dim=-1)
        for layer, memory in zip(cache.layers, layers, strict=True):
            heads = memory.view(2, 1, 4, 8).transpose(1, 2)  # (B, A, 1, D / A)
            torch.testing.assert_close(layer.keys, heads)
            torch.testing.assert_close(layer.values, heads)
        torch.testing.assert_close(
            embedding[:, 0], modules["decoder.transformer.linear_emb"](expected)
        )


def test_unknown_and_missing_keys_are_refused(checkpoint, family, tmp_path):
    _, state, _ = checkpoint
    prefix = "model.diffusion_model.unet_image."
    for changed, message in (
        (
            state | {"mystery.weight": torch.rand(2)},
            r"nothing accounts for: \['mystery.weight'\] \(1\)",
        ),
        (
            state | {f"{prefix}input_blocks.1.0.0.extra": torch.rand(2)},
            "Keys without a place|nothing accounts for",
        ),
        (
            {k: v for k, v in state.items() if k != f"{prefix}out.2.bias"},
            r"without a source: \['unet.conv_out.bias'\]",
        ),
        (
            state | {f"{prefix}out.2.bias": torch.rand(3)},
            r"Other shapes: \['unet.conv_out.bias: source \(3,\)",
        ),
    ):
        torch.save(changed, tmp_path / "changed.pth")
        with pytest.raises(ValueError, match=message):
            import_denoiser(
                family, "frontal", str(tmp_path / "changed.pth"), tmp_path / "out", "unet_image"
            )
        assert not (tmp_path / "out").exists()


def test_a_part_that_is_not_there_or_does_not_fit_is_refused(checkpoint, family, tmp_path):
    path = checkpoint[0]
    parts = "clip, optimus, unet_image, unet_text, vae"
    with pytest.raises(ValueError, match=rf"has no part 'unet_lateral'\. Its parts: {parts}"):
        import_denoiser(family, "lateral", path, tmp_path / "out", "unet_lateral")
    with pytest.raises(ValueError, match=r"'unet_text' .* does not go into a ImageDenoiser"):
        import_denoiser(family, "frontal", path, tmp_path / "out", "unet_text")
    with pytest.raises(ValueError, match="say which U-Net"):
        import_denoiser(family, "frontal", path, tmp_path / "out")


class Harmful:
    def __reduce__(self):
        return print, ("code of a pickle ran",)


@pytest.mark.parametrize("zipped", [True, False])
def test_no_code_of_a_file_is_run(family, tmp_path, capsys, zipped):
    """Neither in torch's zip format nor in the one before it; the object is named, and torch's
    advice is left out."""
    for value, name in ((Harmful(), "print"), (CLIPConfig(), "transformers.*.CLIPConfig")):
        torch.save({"x": value}, tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
        with pytest.raises(
            ValueError, match=f"holds the Python object {name}, and medcodi runs no pickled code"
        ) as refused:
            import_encoder(family, "frontal", str(tmp_path / "x.pth"), tmp_path / "out")
        assert not any(word in str(refused.value) for word in ("\x1b", "weights_only", "trust"))
    assert "code of a pickle ran" not in capsys.readouterr().out


def test_files_that_are_no_weights_are_refused(family, tmp_path):
    (tmp_path / "text.pth").write_text("no weights")
    (tmp_path / "empty.pth").write_bytes(b"")
    torch.save({"x": torch.ones(100)}, tmp_path / "cut.pth")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "cut.pth").read_bytes()[:900])
    for name in ("text", "empty", "cut"):
        with pytest.raises(
            ValueError,
            match=rf"{name}.pth cannot be read as weights alone: is it cut off, or another kind",
        ):
            import_encoder(family, "frontal", str(tmp_path / f"{name}.pth"), tmp_path / "out")
    torch.save({"x": 3}, tmp_path / "number.pth")
    with pytest.raises(
        ValueError, match=r"mapping of names to tensors; entries that are none: \['x'\]"
    ):
        import_encoder(family, "frontal", str(tmp_path / "number.pth"), tmp_path / "out")


def test_files_of_the_former_format_are_read(tmp_path):
    """Before torch 1.6 a .pth was no zip archive; such files are still published."""
    state = {"a": normal(2, 3), "b": normal(4)}
    torch.save(state, tmp_path / "former.pth", _use_new_zipfile_serialization=False)
    read = weights_file(tmp_path / "former.pth")
    assert list(read) == list(state) and all(torch.equal(read[k], v) for k, v in state.items())


def test_offline_the_missing_folder_is_named(family, tmp_path):
    """The suite is offline: a hub name cannot be had, and the message says what a local folder must
    hold."""
    name, clip = "stable-diffusion-v1-5/stable-diffusion-v1-5", "openai/clip-vit-large-patch14"
    for folder, load in (
        (f"{name}/vae", lambda: import_autoencoder(family, "frontal", name, tmp_path / "x")),
        (f"{name}/unet", lambda: import_denoiser(family, "frontal", name, tmp_path / "x")),
        ("X/vae", lambda: import_autoencoder(family, "frontal", "X", tmp_path / "x")),
        (clip, lambda: import_encoder(family, "frontal", clip, tmp_path / "x")),
        (
            "bert-base-cased",
            lambda: import_autoencoder(family, "report", "bert-base-cased", tmp_path / "x", "gpt2"),
        ),
    ):
        expected = (
            rf"there is no folder {folder} here, and the hub cannot be reached \(.+\)\. "
            rf"Give a local folder"
        )
        with pytest.raises(ValueError, match=expected):
            load()
    with pytest.raises(ValueError, match=r"no tokenizer at 'bert-base-cased'"):
        pretrained_tokenizers("report", ["bert-base-cased", "gpt2"])
    with pytest.raises(ValueError, match="no weights at"):
        import_encoder(family, "frontal", str(tmp_path / "none.pth"), tmp_path / "x")


def test_a_folder_that_is_not_there_is_named(family, tmp_path):
    nowhere = tmp_path / "no" / "sd"
    with pytest.raises(
        ValueError, match=f"no folder {nowhere}/vae here, and {nowhere} cannot be a hub name"
    ):
        import_autoencoder(family, "frontal", str(nowhere), tmp_path / "x")
    with pytest.raises(
        ValueError,
        match=rf"AutoencoderKL from {tmp_path}: there is no folder {tmp_path}/vae\. Give",
    ):
        import_autoencoder(family, "frontal", str(tmp_path), tmp_path / "x")
    (tmp_path / "vae").mkdir()
    with pytest.raises(ValueError, match="no file named config"):
        import_autoencoder(family, "frontal", str(tmp_path), tmp_path / "x")


def test_a_folder_that_lacks_keys_is_refused(stable_diffusion, family, tmp_path):
    source = tmp_path / "sd" / "unet"
    stable_diffusion[2].save_pretrained(source)
    file = source / "diffusion_pytorch_model.safetensors"
    state = load_file(file)
    del state["conv_out.bias"]
    save_file(state, file)
    with pytest.raises(ValueError, match=r"conv_out.bias|cannot load UNet2DConditionModel"):
        import_denoiser(family, "frontal", str(tmp_path / "sd"), tmp_path / "out")


def test_what_has_no_foreign_source_says_so(family, stable_diffusion, tmp_path):
    with pytest.raises(
        ValueError, match="no foreign source is known for the prompt encoder of 'tabular'"
    ):
        import_encoder(family, "tabular", "x", tmp_path / "out")
    with pytest.raises(ValueError, match="the denoiser of 'report' is a FCUNet"):
        import_denoiser(family, "report", stable_diffusion[0], tmp_path / "out")
