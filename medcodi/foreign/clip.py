"""CLIP (Radford et al. 2021) into prompt encoders: from transformers' CLIPModel, or from an
open_clip weight file.

One source holds both towers; each prompt encoder takes its own, and the account lists the other's
keys.
"""

import re
from collections.abc import Callable
from typing import Any

import torch
from transformers import CLIPModel

from medcodi.encoders.base import PromptEncoder
from medcodi.encoders.image import ImageTower
from medcodi.foreign.ledger import Ledger
from medcodi.foreign.sources import pretrained

OTHER = "the other tower's; imported into its own prompt encoder"
SCALE = "the temperature: stage 1 learns its own for all pairs"
NEW_NORM = "norm of pooled tokens: CLIP has none (pooling 'first' or 'last' needs none either)"
TOWER = "tower.transformer."
LAYER = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "self_attn.out_proj": "attn.out_proj",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}
HUGGING_FACE = {  # after `vision_model.` or `text_model.`
    "embeddings.class_embedding": "class_embedding",
    "embeddings.patch_embedding.weight": "conv1.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "pre_layrnorm.weight": "ln_pre.weight",
    "pre_layrnorm.bias": "ln_pre.bias",
    "post_layernorm.weight": "ln_post.weight",
    "post_layernorm.bias": "ln_post.bias",
    "final_layer_norm.weight": "ln_final.weight",
    "final_layer_norm.bias": "ln_final.bias",
}


def is_image(encoder: PromptEncoder) -> bool:
    return isinstance(encoder.tower, ImageTower)


def hugging_face_ledger(source: str, encoder: PromptEncoder, activation: str) -> Ledger:
    """Ledger of a CLIPModel folder or hub name. ValueError when its activation is not the
    recipe's."""
    model, _ = pretrained(CLIPModel, source)
    config: Any = model.config.vision_config if is_image(encoder) else model.config.text_config
    if config.hidden_act != activation:
        raise ValueError(
            f"{source} was trained with activation {config.hidden_act!r}, the recipe's encoder has "
            f"{activation!r}"
        )
    ledger = Ledger(str(source), model.state_dict())
    move_hugging_face(ledger, is_image(encoder))
    return ledger


def move_hugging_face(
    ledger: Ledger,
    image: bool,
    prefix: str = "",
    dead: Callable[[str], str | None] = lambda key: None,
) -> None:
    """Every key below `prefix`, in transformers' names; `dead` may name the reason of a key that is
    none of CLIP's."""
    own, other = ("vision_model.", "text_model.") if image else ("text_model.", "vision_model.")
    projection, other_projection = ("visual_projection.", "text_projection.")[:: 1 if image else -1]
    for full in [k for k in ledger.state if k.startswith(prefix)]:
        key = full.removeprefix(prefix)
        reason = dead(key)
        if reason:
            ledger.kill(full, reason)
        elif key == "logit_scale":
            ledger.kill(full, SCALE)
        elif key.startswith((other, other_projection)):
            ledger.kill(full, OTHER)
        elif key.startswith(projection):
            ledger.move("projection.weight", [full])
        elif key.removeprefix(own) in HUGGING_FACE:
            ledger.move(TOWER + HUGGING_FACE[key.removeprefix(own)], [full])
        elif match := re.fullmatch(
            re.escape(own) + r"encoder\.layers\.(\d+)\.(.+)\.(weight|bias)", key
        ):
            _move_layer(ledger, full, *match.groups())


def _move_layer(ledger: Ledger, key: str, layer: str, name: str, kind: str) -> None:
    """A parameter of a transformer layer; queries, keys and values become one matrix."""
    target = f"{TOWER}transformer.resblocks.{layer}."
    if name in LAYER:
        ledger.move(f"{target}{LAYER[name]}.{kind}", [key])
    elif name == "self_attn.q_proj":
        keys = [key.replace("q_proj", f"{part}_proj") for part in "qkv"]
        ledger.move(
            f"{target}attn.in_proj_{kind}",
            keys,
            torch.cat([ledger[k] for k in keys]),
            "query, key, value stacked",
        )


def open_clip_ledger(source: str, state: dict[str, torch.Tensor], encoder: PromptEncoder) -> Ledger:
    """Ledger of an open_clip (or OpenAI) state dict; the text tower stands at its root or below
    `text.`. The file does not say its activation: the recipe's must be right."""
    ledger, image = Ledger(source, state), is_image(encoder)
    for key in ledger.state:
        name = (
            key.removeprefix("visual.") if key.startswith("visual.") else key.removeprefix("text.")
        )
        if key in ("logit_scale", "logit_bias"):
            ledger.kill(key, SCALE)
        elif name == "attn_mask":
            ledger.kill(key, "the causal mask, computed")
        elif key.startswith("visual.") != image:
            ledger.kill(key, OTHER)
        elif name in ("proj", "text_projection"):
            ledger.move("projection.weight", [key], ledger[key].T.contiguous(), "transposed")
        else:
            ledger.move(TOWER + name, [key])
    return ledger


def load_encoder(ledger: Ledger, encoder: PromptEncoder) -> None:
    ledger.load_into(encoder, {"norm.": NEW_NORM})
