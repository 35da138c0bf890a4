"""The key layout of the published CoDi / MedCoDi-M checkpoint, written from the networks'
structure, around tiny real ones.

Each function gives name -> tensor below one prefix. Built on the meta device at full size they
count its parameters.
"""

import torch
from diffusers import AutoencoderKL, Transformer2DModel, UNet2DConditionModel
from torch import nn

from medcodi.diffusion.denoisers.fc_unet import FCUNet

State = dict[str, torch.Tensor]
RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}


def below(prefix: str, module: nn.Module | State, rename: dict[str, str] | None = None) -> State:
    """State of a module under `prefix`, its first names replaced."""
    state = module.state_dict() if isinstance(module, nn.Module) else module
    renamed = {}
    for key, value in state.items():
        for old, new in (rename or {}).items():
            if key.startswith(f"{old}."):
                key = new + key.removeprefix(old)
                break
        renamed[f"{prefix}{key}"] = value
    return renamed


def over_frames(dim: int, heads: int = 8) -> State:
    """Names and shapes of the layer over frames behind a residual block of `dim` channels."""
    inner, hidden = heads * (dim // 4), int(dim * 4 * 2 / 3)
    shapes = {
        "frameshiftblock.out_layers.0.weight": (dim,),
        "frameshiftblock.out_layers.0.bias": (dim,),
        "frameshiftblock.out_layers.2.weight": (dim, dim, 3, 3),
        "frameshiftblock.out_layers.2.bias": (dim,),
        "temporal_attn.pos_embeds": (1, 30, dim),
        "temporal_attn.frame_rate_embeds": (1, 30, dim),
        "temporal_attn.norm.g": (dim,),
        "temporal_attn.to_q.weight": (inner, dim),
        "temporal_attn.to_kv.weight": (2 * inner, dim),
        "temporal_attn.to_out.weight": (dim, inner),
        "temporal_rel_pos_bias.net.0.0.weight": (dim // 2, 1),
        "temporal_rel_pos_bias.net.0.0.bias": (dim // 2,),
        "temporal_rel_pos_bias.net.1.0.weight": (dim // 2, dim // 2),
        "temporal_rel_pos_bias.net.1.0.bias": (dim // 2,),
        "temporal_rel_pos_bias.net.2.weight": (heads, dim // 2),
        "temporal_rel_pos_bias.net.2.bias": (heads,),
        "ff.proj_in.0.weight": (2 * hidden, dim, 1, 1, 1),
        "ff.proj_out.0.g": (hidden, 1, 1, 1),
        "ff.proj_out.1.weight": (dim, hidden, 1, 1, 1),
    }
    return {name: torch.randn(shape) for name, shape in shapes.items()}


def ldm_unet(unet: UNet2DConditionModel, video: bool) -> State:
    """A diffusers UNet in CompVis' names; with `video` every residual block stands in a list with a
    layer over frames."""
    own, between, over = (".0.0.", ".0.1.", over_frames) if video else (".0.", "", lambda dim: {})
    state = below("time_embed.0.", unet.time_embedding.linear_1) | below(
        "time_embed.2.", unet.time_embedding.linear_2
    )
    state |= below("input_blocks.0.0.", unet.conv_in)

    def block(name: str, resnet: nn.Module, attention: nn.Module | None) -> State:
        out = below(name + own, resnet, RESNET) | below(
            name + between, over(resnet.conv2.out_channels)
        )
        return out | (below(f"{name}.1.", attention) if attention is not None else {})

    index = 1
    for down in unet.down_blocks:
        for j, resnet in enumerate(down.resnets):
            state |= block(
                f"input_blocks.{index}",
                resnet,
                down.attentions[j] if hasattr(down, "attentions") else None,
            )
            index += 1
        if down.downsamplers is not None:
            state |= below(f"input_blocks.{index}.0.op.", down.downsamplers[0].conv)
            index += 1
    for number, resnet in ((0, unet.mid_block.resnets[0]), (2, unet.mid_block.resnets[1])):
        inner = "0." if video else ""
        state |= below(f"middle_block.{number}.{inner}", resnet, RESNET)
        if video:
            state |= below(f"middle_block.{number}.1.", over_frames(resnet.conv2.out_channels))
    state |= below("middle_block.1.", unet.mid_block.attentions[0])
    index = 0
    for up in unet.up_blocks:
        attentions = getattr(up, "attentions", None)
        for j, resnet in enumerate(up.resnets):
            state |= block(
                f"output_blocks.{index}", resnet, attentions[j] if attentions is not None else None
            )
            if up.upsamplers is not None and j == len(up.resnets) - 1:
                position = 2 if attentions is not None else 1
                state |= below(f"output_blocks.{index}.{position}.conv.", up.upsamplers[0].conv)
            index += 1
    return state | below("out.0.", unet.conv_norm_out) | below("out.2.", unet.conv_out)


def connectors(
    widths: list[int], model_channels: int, video: bool, code: int, attention_groups: int = 32
) -> State:
    """What CoDi adds for joint generation: `connecters_out` (a small encoder to a code of `code`
    numbers) and `*_connecters_in` (attention to it), one for each of the `widths`."""
    time, state = 4 * model_channels, {}
    state |= below("connecters_out.0.0.", nn.Conv2d(4, model_channels // 2, 3))
    channels, position = model_channels // 2, 1
    for level, mult in enumerate((1, 2, 4)):
        width = mult * model_channels
        resnet = {
            "in_layers.0": nn.GroupNorm(1, channels),
            "in_layers.2": nn.Conv2d(channels, width, 3),
            "emb_layers.1": nn.Linear(time, width),
            "out_layers.0": nn.GroupNorm(1, width),
            "out_layers.3": nn.Conv2d(width, width, 3),
            "skip_connection": nn.Conv2d(channels, width, 1),
        }
        inner = "0.0." if video else "0."
        for name, module in resnet.items():
            state |= below(f"connecters_out.{position}.{inner}{name}.", module)
        if video:
            state |= below(f"connecters_out.{position}.0.1.", over_frames(width))
        channels, position = width, position + 1
        if level < 2:
            state |= below(f"connecters_out.{position}.0.op.", nn.Conv2d(channels, channels, 3))
            position += 1
    state |= below(f"connecters_out.{position}.0.", nn.GroupNorm(1, channels))
    state |= below(f"connecters_out.{position}.2.", nn.Conv2d(channels, code, 3))
    half = len(widths) * 2 // 5
    for i, width in enumerate(widths):
        side = (
            f"input_block_connecters_in.{i + 1}"
            if i < half
            else f"output_block_connecters_in.{i - half}"
        )
        attention = Transformer2DModel(
            8, width // 8, width, cross_attention_dim=code, norm_num_groups=attention_groups
        )
        state |= below(f"{side}.0.", attention)
    return state


def ldm_vae(vae: AutoencoderKL, video: bool) -> State:
    """A diffusers VAE in CompVis' names; with `video` the decoder has layers over frames."""
    state = below("quant_conv.", vae.quant_conv) | below("post_quant_conv.", vae.post_quant_conv)
    for side, coder in (("encoder", vae.encoder), ("decoder", vae.decoder)):
        for name, module in (
            ("conv_in", coder.conv_in),
            ("norm_out", coder.conv_norm_out),
            ("conv_out", coder.conv_out),
        ):
            state |= below(f"{side}.{name}.", module)
        for i, resnet in enumerate(coder.mid_block.resnets):
            state |= below(f"{side}.mid.block_{i + 1}.", resnet, {"conv_shortcut": "nin_shortcut"})
        names = {
            "group_norm": "norm",
            "to_q": "q",
            "to_k": "k",
            "to_v": "v",
            "to_out.0": "proj_out",
        }
        attention = below(f"{side}.mid.attn_1.", coder.mid_block.attentions[0], names)
        state |= {k: v[..., None, None] if v.ndim == 2 else v for k, v in attention.items()}
        blocks = coder.down_blocks if side == "encoder" else list(coder.up_blocks)[::-1]
        for i, block in enumerate(blocks):
            where = f"{side}.{'down' if side == 'encoder' else 'up'}.{i}"
            for j, resnet in enumerate(block.resnets):
                state |= below(f"{where}.block.{j}.", resnet, {"conv_shortcut": "nin_shortcut"})
                if video and side == "decoder" and i:
                    state |= {
                        f"{where}.video_attn.{j}.frameshiftblock.out_layers.2.bias": torch.randn(3)
                    }
            resample = block.downsamplers if side == "encoder" else block.upsamplers
            if resample is not None:
                state |= below(
                    f"{where}.{'down' if side == 'encoder' else 'up'}sample.conv.", resample[0].conv
                )
        if video and side == "decoder":
            state["decoder.mid.video_att.frameshiftblock.out_layers.2.bias"] = torch.randn(3)
    return state


def fc_unet(unet: FCUNet) -> State:
    """The report's U-Net in CoDi's names: linear maps of residual blocks are 1 x 1 convolutions
    there."""
    block = {
        "norm1": "in_layers.0",
        "linear1": "in_layers.2",
        "time": "emb_layers.1",
        "norm2": "out_layers.0",
        "linear2": "out_layers.3",
        "shortcut": "skip_connection",
    }

    def stage(name: str, module: nn.Module) -> State:
        state, position = {}, 0
        if module.block is not None:
            own = below(f"{name}.0.", module.block, block)
            convolutions = ("in_layers.2.weight", "out_layers.3.weight", "skip_connection.weight")
            state |= {
                k: v[..., None, None] if k.endswith(convolutions) else v for k, v in own.items()
            }
            position = 1
        if module.attention is not None:
            state |= below(f"{name}.{position}.", module.attention)
            position += 1
        return state | (
            below(f"{name}.{position}.", module.resample) if module.resample is not None else {}
        )

    state = below("time_embed.0.", unet.time.mlp[0]) | below("time_embed.2.", unet.time.mlp[2])
    state |= below("input_blocks.0.0.", unet.input)
    for i, module in enumerate(unet.down):
        state |= stage(f"input_blocks.{i + 1}", module)
    first = stage("middle_block", unet.middle[0])
    state |= first  # middle_block.0 block, middle_block.1 attention
    state |= {
        k.replace("middle_block.0", "middle_block.2"): v
        for k, v in stage("middle_block", unet.middle[1]).items()
    }
    for i, module in enumerate(unet.up):
        state |= stage(f"output_blocks.{i}", module)
    return state | below("out.0.", unet.norm) | below("out.2.", unet.output)
