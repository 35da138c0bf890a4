"""A published MedCoDi-M or CoDi checkpoint (.pth): one state dict that holds CLIP, AutoKL, Optimus
and the U-Nets.

The names were read from the public source of CoDi (github.com/microsoft/i-Code,
i-Code-V3/core/models: codi.py, latent_diffusion/diffusion_unet.py and modules_video.py,
latent_diffusion/vae, encoders/clip.py, optimus_models), which MedCoDi-M builds on; layout LDM for
U-Net and VAE (Rombach et al. 2022), converted by diffusers' own functions.

What is left behind:
- layers over video frames (`temporal`, `video_att`): their branch needs a time axis, they never run
  on radiographs.
- `connecters_*`: the joint generation in which each output attends to its own code. Stage 3 here
  trains its own coupling.
"""

import re

import torch
from diffusers.loaders.single_file_utils import (
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
)
from torch import nn

from medcodi.autoencoders.image_kl import ImageKL
from medcodi.autoencoders.optimus import OptimusVAE
from medcodi.diffusion.denoisers.fc_unet import FCUNet
from medcodi.diffusion.denoisers.unet import ImageDenoiser
from medcodi.encoders.base import PromptEncoder
from medcodi.foreign import clip, optimus
from medcodi.foreign.ledger import Ledger
from medcodi.foreign.stable_diffusion import load_vae, move_vae

DIFFUSION = "model.diffusion_model."
SCALING_FACTOR = 0.18215  # Stable Diffusion's, which the checkpoint's VAE is
SCHEDULE = re.compile(
    r"(betas|alphas_cumprod(_prev)?|sqrt_.+|log_one_minus_.+|posterior_.+|lvlb_weights|logvar)"
)
VIDEO = "layer over video frames: it never runs on radiographs"
CONNECTOR = (
    "joint generation in which an output attends to its own code: stage 3 trains our coupling"
)
MASK = "a constant of the attention mask or of the positions, computed"
SCALES = {"vision_scale_factor", "text_scale_factor", "audio_scale_factor"}
VIDEO_KEY = re.compile(r"(^|\.)(temporal_\w+|video_att|video_attn|frameshiftblock)(\.|$)")


def part_of(key: str) -> str | None:
    """The part of the checkpoint that a key belongs to: "vae", "clip", "optimus", a U-Net's name,
    or None."""
    for prefix, part in (("autokl.", "vae"), ("clip.model.", "clip"), ("optimus.", "optimus")):
        if key.startswith(prefix):
            return part
    match = re.match(re.escape(DIFFUSION) + r"(unet_\w+)\.", key)
    return match.group(1) if match else None


def split(source: str, state: dict[str, torch.Tensor], part: str) -> Ledger:
    """Ledger of a whole checkpoint, in which only the keys of `part` are open. ValueError names the
    parts it has."""
    state = {k.removeprefix("net."): v for k, v in state.items()}
    ledger = Ledger(f"{source}, {part}", state)
    parts = sorted({p for key in state if (p := part_of(key))})
    if part not in parts:
        raise ValueError(
            f"{source} has no part {part!r}. Its parts: {', '.join(parts) or 'none that is known'}"
        )
    for key in state:
        found = part_of(key)
        if found is not None and found != part:
            ledger.kill(key, f"belongs to the part {found!r}, imported on its own")
        elif found is None and (SCHEDULE.fullmatch(key) or key in SCALES):
            ledger.kill(key, "constant of the noise schedule: the recipe has its own")
        elif found is None and key.startswith(("audioldm.", "clap.")):
            ledger.kill(key, "audio: no modality here")
    return ledger


def fill(ledger: Ledger, part: str, module: nn.Module) -> None:
    """Move every open key of `part` to `module` and load it, strictly."""
    if part == "vae" and isinstance(module, ImageKL):
        _vae(ledger, module)
        load_vae(ledger, SCALING_FACTOR, module)
    elif part == "clip" and isinstance(module, PromptEncoder):
        clip.move_hugging_face(ledger, clip.is_image(module), "clip.model.", _dead_in_clip)
        clip.load_encoder(ledger, module)
    elif part == "optimus" and isinstance(module, OptimusVAE):
        _optimus(ledger, module)
        ledger.load_into(
            module, {"latent_": "latent statistics: measured on the data by the autoencoder stage"}
        )
    elif isinstance(module, ImageDenoiser) and ledger[_input(part)].ndim == 4:
        _image_unet(ledger, part, module)
        ledger.load_into(module, {})
    elif isinstance(module, FCUNet) and ledger[_input(part)].ndim == 2:
        _text_unet(ledger, part, module)
        ledger.load_into(module, {})
    else:
        raise ValueError(
            f"the part {part!r} of {ledger.source} does not go into a {type(module).__name__}"
        )


def _input(part: str) -> str:
    return f"{DIFFUSION}{part}.input_blocks.0.0.weight"


def _dead_in_clip(key: str) -> str | None:
    if VIDEO_KEY.search(key):
        return VIDEO
    return MASK if key.endswith("position_ids") else None


def renamed(names: list[str], convert) -> dict[str, str]:
    """Old name -> new name by one of diffusers' converters, which move tensors: tell them apart by
    their value."""
    marked = {name: torch.full((1, 1, 1, 1), float(i)) for i, name in enumerate(names)}
    return {
        names[int(value.flatten()[0])]: target
        for target, value in convert(marked).items()
        if value is not None
    }


def _vae(ledger: Ledger, module: ImageKL) -> None:
    keys = {k.removeprefix("autokl."): k for k in ledger.state if part_of(k) == "vae"}
    for name, key in keys.items():
        if VIDEO_KEY.search(name):
            ledger.kill(key, VIDEO)
        elif name.startswith("loss."):
            ledger.kill(key, "the training loss of the VAE")
    open_names = [name for name, key in keys.items() if key not in ledger.dead]
    for name, target in renamed(
        open_names, lambda s: convert_ldm_vae_checkpoint(s, module.vae.config)
    ).items():
        value = ledger[keys[name]]
        attention = ".attentions." in target and value.ndim == 4
        move_vae(
            ledger,
            target,
            keys[name],
            value[:, :, 0, 0] if attention else value,
            module.in_channels,
            "1 x 1 convolution to linear" if attention else "copied",
        )


def _image_unet(ledger: Ledger, part: str, module: ImageDenoiser) -> None:
    """Where frames were foreseen, a residual block stands in a list, `0.0` its own and `0.1` the
    layer over frames."""
    prefix, names = f"{DIFFUSION}{part}.", {}
    for key in [k for k in ledger.state if k.startswith(prefix)]:
        name = key.removeprefix(prefix)
        if re.match(r"(connecters_out|(in|out)put_block_connecters_\w+)\.", name):
            ledger.kill(key, CONNECTOR)
            continue
        nested = re.match(
            r"((?:input_blocks|output_blocks)\.\d+\.0|middle_block\.[02])\.([01])\.(.+)", name
        )
        if nested and nested.group(2) == "1":
            ledger.kill(key, VIDEO)
        else:
            names[f"{nested.group(1)}.{nested.group(3)}" if nested else name] = key
    convert = lambda s: convert_ldm_unet_checkpoint(
        {DIFFUSION + k: v for k, v in s.items()}, module.unet.config
    )
    for name, target in renamed(list(names), convert).items():
        ledger.move(f"unet.{target}", [names[name]])


FC_BLOCK = {
    "in_layers.0": "norm1",
    "in_layers.2": "linear1",
    "emb_layers.1": "time",
    "out_layers.0": "norm2",
    "out_layers.3": "linear2",
    "skip_connection": "shortcut",
}
FC_ENDS = {
    "time_embed.0": "time.mlp.0",
    "time_embed.2": "time.mlp.2",
    "input_blocks.0.0": "input",
    "out.0": "norm",
    "out.2": "output",
}


def _text_unet(ledger: Ledger, part: str, module: FCUNet) -> None:
    """Stages keep their order: input block i is down[i - 1]; 1 x 1 convolutions become linear
    maps."""
    prefix = f"{DIFFUSION}{part}."
    for key in [k for k in ledger.state if k.startswith(prefix)]:
        name, _, kind = key.removeprefix(prefix).rpartition(".")
        if re.match(r"(connecters_out|(in|out)put_block_connecters_\w+)\.", name):
            ledger.kill(key, CONNECTOR)
            continue
        target = FC_ENDS.get(name) or _fc_stage(name, module)
        if target is not None:
            value = ledger[key]
            conv = value.ndim == 4 and ".proj_" not in name
            ledger.move(
                f"{target}.{kind}",
                [key],
                value[:, :, 0, 0] if conv else value,
                "1 x 1 convolution to linear" if conv else "copied",
            )


def _fc_stage(name: str, module: FCUNet) -> str | None:
    match = re.match(
        r"(input_blocks\.\d+|output_blocks\.\d+)\.(\d)(?:\.(.+))?$|middle_block\.(\d)\.(.+)$", name
    )
    if match is None:
        return None
    if match.group(4):
        index, rest = int(match.group(4)), match.group(5)
        return (
            f"middle.0.attention.{rest}"
            if index == 1
            else f"middle.{index // 2}.block.{FC_BLOCK.get(rest, rest)}"
        )
    (side, number), rest = match.group(1).split("."), match.group(3)
    stage = f"down.{int(number) - 1}" if side == "input_blocks" else f"up.{number}"
    if rest is None:
        return f"{stage}.resample"
    return f"{stage}.block.{FC_BLOCK[rest]}" if rest in FC_BLOCK else f"{stage}.attention.{rest}"


def _optimus(ledger: Ledger, module: OptimusVAE) -> None:
    """The latent is one vector z: keys and values of a layer's memory are the same map of z, a
    token's embedding gets another. Ours has a step before (`slot_to_hidden`) that becomes the
    identity."""
    c = module.config
    if (c.pooling, c.num_slots, c.slot_dim) != ("cls", 1, c.hidden_dim):
        raise ValueError(
            f"{ledger.source}: Optimus has one latent as wide as BERT, from its [CLS]. Set the "
            "recipe's autoencoder to "
            f"pooling: cls, num_slots: 1, slot_dim: {c.hidden_dim}; it has pooling {c.pooling!r}, "
            f"{c.num_slots} slots of "
            f"{c.slot_dim}"
        )
    for full in [k for k in ledger.state if part_of(k) == "optimus"]:
        key = full.removeprefix("optimus.")
        if re.search(r"\.attn\.(masked_)?bias$|position_ids$", key):
            ledger.kill(full, MASK)
        elif key == "encoder.linear.weight":
            ledger.move("to_posterior.weight", [full])
        elif key == "decoder.transformer.linear.weight":
            per_layer = ledger[full].unflatten(
                0, (c.num_decoder_layers, c.hidden_dim)
            )  # (layers, D, Z)
            twice = per_layer.repeat_interleave(2, dim=0).flatten(
                0, 1
            )  # keys and values of each layer
            ledger.move(
                "to_memory.weight",
                [full],
                twice.contiguous(),
                "each layer's map, for its keys and its values",
            )
        elif key == "decoder.transformer.linear_emb.weight":
            ledger.move("to_embedding.weight", [full])
        elif key.startswith("encoder."):
            optimus.move_encoder(ledger, full, key.removeprefix("encoder."), module)
        elif key.startswith("decoder."):
            optimus.move_decoder(ledger, full, key.removeprefix("decoder."), module)
    own, absent = module.state_dict(), "Optimus has no such step: zero, or the identity"
    for name in (
        "to_posterior.bias",
        "to_memory.bias",
        "to_embedding.bias",
        "slot_embedding",
        "slot_to_hidden.bias",
    ):
        ledger.move(name, [], torch.zeros_like(own[name]), absent)
    ledger.move("slot_to_hidden.weight", [], torch.eye(c.hidden_dim), absent)
