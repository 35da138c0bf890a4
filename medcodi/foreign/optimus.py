"""BERT and GPT-2 into the report VAE, as Optimus starts from them (Li et al. 2020)."""

import torch
from transformers import BertModel, GPT2LMHeadModel

from medcodi.autoencoders.optimus import OptimusVAE
from medcodi.foreign.ledger import Ledger
from medcodi.foreign.sources import pretrained

BERT_HEADS = ("cls.",)
HEAD = "head of BERT's pretraining"
CUT = "the first max_length positions: no token reaches the others"
NEW = "joins the latent to encoder and decoder: neither BERT nor GPT-2 has it"


def ledger(bert: str, gpt2: str, autoencoder: OptimusVAE) -> Ledger:
    """Ledger of two folders or hub names; its keys are `bert.*` and `gpt2.*`."""
    encoder, heads = pretrained(BertModel, bert, dead=BERT_HEADS)
    decoder, _ = pretrained(GPT2LMHeadModel, gpt2)
    state = {f"bert.{k}": v for k, v in encoder.state_dict().items()} | {
        f"gpt2.{k}": v for k, v in decoder.state_dict().items()
    }
    found = Ledger(f"{bert} + {gpt2}", state | {f"bert.{key}": torch.empty(0) for key in heads})
    for key in heads:
        found.kill(f"bert.{key}", HEAD)
    for key in encoder.state_dict():
        if key.startswith("pooler.") and autoencoder.config.pooling != "cls":
            found.kill(
                f"bert.{key}", "BERT's pooling of [CLS]: this recipe pools by learned queries"
            )
        else:
            move_encoder(found, f"bert.{key}", key, autoencoder)
    for key in decoder.state_dict():
        move_decoder(found, f"gpt2.{key}", key, autoencoder)
    return found


def move_encoder(found: Ledger, full: str, key: str, autoencoder: OptimusVAE) -> None:
    """`key` in BertModel's names; positions are cut to what the recipe reaches."""
    if key == "embeddings.position_embeddings.weight":
        _cut(found, f"encoder.{key}", full, autoencoder.config.max_length)
    else:
        found.move(f"encoder.{key}", [full])


def move_decoder(found: Ledger, full: str, key: str, autoencoder: OptimusVAE) -> None:
    """`key` in GPT2LMHeadModel's names; tokens that the recipe's tokenizer has beyond the source's
    start as the mean."""
    if key == "transformer.wpe.weight":
        _cut(found, f"decoder.{key}", full, autoencoder.config.max_length)
        return
    value, how = found[full], "copied"
    more = (
        len(autoencoder.tokenizer) - value.shape[0]
        if key in ("transformer.wte.weight", "lm_head.weight")
        else 0
    )
    if more == 3:  # the [PAD], [BOS], [EOS] of Optimus
        value = torch.cat([value, value.mean(dim=0, keepdim=True).expand(more, -1)])
        how = "copied; the 3 tokens that Optimus adds start as the mean of all"
    found.move(f"decoder.{key}", [full], value, how)


def _cut(found: Ledger, target: str, full: str, length: int) -> None:
    value = found[full]
    if value.shape[0] < length:
        raise ValueError(
            f"{found.source} has {value.shape[0]} positions, the recipe's max_length is {length}"
        )
    found.move(
        target, [full], value[:length].clone(), "copied" if value.shape[0] == length else CUT
    )


def load(found: Ledger, autoencoder: OptimusVAE) -> None:
    own = (
        "pooling.",
        "to_posterior.",
        "slot_embedding",
        "slot_to_hidden.",
        "to_memory.",
        "to_embedding.",
    )
    reasons = dict.fromkeys(own, NEW) | {
        "latent_": "latent statistics: measured by the autoencoder stage"
    }
    found.load_into(autoencoder, reasons)
