"""One part of a recipe's networks from a foreign source, as an export folder: weights, config.json
and keys.json."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from medcodi.autoencoders.image_kl import ImageKL
from medcodi.autoencoders.optimus import OptimusVAE
from medcodi.diffusion.denoisers.unet import ImageDenoiser
from medcodi.foreign import clip, optimus, published, stable_diffusion
from medcodi.foreign.ledger import Ledger
from medcodi.foreign.sources import weights_file
from medcodi.modalities.family import ModelFamily, seeded
from medcodi.nn.weights import save_module

KEYS = "keys.json"
AUTOENCODER, ENCODER, DENOISER = "autoencoder", "encoder", "denoiser"


def import_autoencoder(
    family: ModelFamily, name: str, source: str, output: str | Path, decoder: str | None = None
) -> dict[str, Any]:
    """The autoencoder of modality `name`: an image's from Stable Diffusion (folder or hub name) or
    a published .pth, a report's from BERT (`source`) and GPT-2 (`decoder`) or a published .pth.
    Returns the account, also in keys.json."""
    modality, state = family.modality(name), _state(source)
    if getattr(modality.args, "autoencoder_tokenizers", ()) is None:
        raise ValueError(
            f"modalities.{name}.autoencoder_tokenizers must name the tokenizers of BERT and GPT-2, "
            "got None: "
            "their weights mean nothing for the tokens of another"
        )
    with seeded(family.recipe.seed):
        module = modality.build_autoencoder()
    if state is not None:
        ledger = _published(
            source, state, "vae" if isinstance(module, ImageKL) else "optimus", module
        )
    elif isinstance(module, ImageKL):
        ledger, scaling_factor = stable_diffusion.vae_ledger(source, module.in_channels)
        stable_diffusion.load_vae(ledger, scaling_factor, module)
    elif isinstance(module, OptimusVAE):
        if decoder is None:
            raise ValueError(
                "the report VAE takes two sources: BERT as source and GPT-2 as decoder"
            )
        ledger = optimus.ledger(source, decoder, module)
        optimus.load(ledger, module)
    else:
        raise ValueError(
            f"no foreign source is known for the autoencoder {type(module).__name__} of {name!r}"
        )
    return _write(module, ledger, output, AUTOENCODER, modality.group)


def import_encoder(
    family: ModelFamily, name: str, source: str, output: str | Path
) -> dict[str, Any]:
    """The prompt encoder of modality `name` from CLIP: a transformers folder or hub name, an
    open_clip weight file, or a published .pth."""
    modality = family.modality(name)
    args = modality.args.encoder
    if not hasattr(args, "activation"):
        raise ValueError(
            f"no foreign source is known for the prompt encoder of {name!r} (kind "
            f"{modality.kind!r})"
        )
    if getattr(args, "tokenizer", "clip") != "clip":
        raise ValueError(
            f"modalities.{name}.encoder.tokenizer must be 'clip', got {args.tokenizer!r}: CLIP's "
            "weights mean "
            "nothing for the tokens of another"
        )
    state = _state(source)
    with seeded(family.recipe.seed):
        module = modality.build_prompt_encoder(family.recipe.shared_space)
    if state is not None and any(published.part_of(key.removeprefix("net.")) for key in state):
        ledger = _published(source, state, "clip", module)
    else:
        ledger = (
            clip.hugging_face_ledger(source, module, args.activation)
            if state is None
            else clip.open_clip_ledger(source, state, module)
        )
        clip.load_encoder(ledger, module)
    return _write(module, ledger, output, ENCODER, modality.group)


def import_denoiser(
    family: ModelFamily, name: str, source: str, output: str | Path, part: str | None = None
) -> dict[str, Any]:
    """The denoiser of modality `name` (without the fusion of its prompts): the UNet of Stable
    Diffusion (folder or hub name), or `part` (such as "unet_text") of a published .pth."""
    modality, state = family.modality(name), _state(source)
    if state is not None and part is None:
        raise ValueError(
            "say which U-Net of the checkpoint: part, such as 'unet_image' or 'unet_text'"
        )
    with seeded(family.recipe.seed):
        module = modality.build_denoiser(
            family.latent_shape(modality.group), family.recipe.diffusion
        )
    if state is not None:
        ledger = _published(source, state, part, module)
    elif isinstance(module, ImageDenoiser):
        ledger = stable_diffusion.unet_ledger(source)
        stable_diffusion.load_unet(ledger, module)
    else:
        raise ValueError(
            f"the denoiser of {name!r} is a {type(module).__name__}: Stable Diffusion's UNet is "
            "one of images"
        )
    return _write(module, ledger, output, DENOISER, modality.name)


def _state(source: str) -> dict[str, torch.Tensor] | None:
    """State dict of a weight file; None for the folder or hub name of a Hugging Face model."""
    is_file = Path(source).is_file() or Path(source).suffix in (
        ".pth",
        ".pt",
        ".ckpt",
        ".bin",
        ".safetensors",
    )
    return weights_file(source) if is_file else None


def _published(source: str, state: dict[str, torch.Tensor], part: str, module: nn.Module) -> Ledger:
    """`part` of a published checkpoint, loaded into `module`."""
    ledger = published.split(source, state, part)
    published.fill(ledger, part, module)
    return ledger


def _write(
    module: nn.Module, ledger: Ledger, output: str | Path, part: str, name: str
) -> dict[str, Any]:
    report = ledger.report()
    save_module(
        module,
        output,
        {"foreign": part, "name": name, "source": ledger.source, "counts": report["counts"]},
    )
    (Path(output) / KEYS).write_text(json.dumps(report, indent=1))
    return report
