"""Parts of Optimus: its sizes, BERT and GPT-2 of these sizes, and what pools slots from BERT.

Legend: B batch, L tokens, N slots, D hidden dimension.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import BertConfig, BertModel, GPT2Config, GPT2LMHeadModel

from medcodi.autoencoders.tokenizer import ReportTokenizer


@dataclass
class OptimusConfig:
    """Sizes and objective of the report VAE; the defaults suit some thousand short reports on a
    CPU.

    `max_beta` weighs the KL (nats a sample) against the reconstruction (nats a sample), in
    `num_beta_cycles` cycles; each latent dimension has `free_bits` nats for nothing. `word_dropout`
    replaces decoder inputs by [UNK] while training, so that the decoder reads the latent.
    `min_posterior_std` is the least noise that the decoder is trained under: what makes the latents
    smooth enough for diffusion. `sentence_mixing` (see `mix_sentences`) did not help in 2,000
    steps. BERT's `initializer_range` of 0.02 is for models 768 wide, too small here. `pooling`
    "cls" is the paper's: BERT's pooled [CLS] is the one slot.
    """

    num_slots: int = 8
    slot_dim: int = 16
    hidden_dim: int = 128
    num_encoder_layers: int = 2
    num_decoder_layers: int = 2
    num_heads: int = 4
    max_length: int = 128
    mlp_ratio: int = 2
    initializer_range: float = 0.05
    dropout: float = 0.0
    word_dropout: float = 0.0
    sentence_mixing: float = 0.0
    max_beta: float = 0.005
    num_beta_cycles: int = 1
    free_bits: float = 0.0
    min_posterior_std: float = 0.05
    pooling: str = "slots"


def length_groups(mask: Tensor, num_groups: int) -> list[tuple[Tensor, int]]:
    """Rows of a right-padded batch sorted by length and cut into groups.

    Args:
        mask: (B, L) bool, True at real tokens.

    Returns:
        for each group its row indices and the length of its longest row.
    """
    lengths = mask.sum(dim=1)
    groups = lengths.argsort(stable=True).tensor_split(max(min(num_groups, len(lengths) // 8), 1))
    return [(rows, int(lengths[rows].max())) for rows in groups]


class SlotPooling(nn.Module):
    """Attention pooling with one learned query a slot: (B, L, D) -> (B, N, D)."""

    def __init__(self, num_slots: int, hidden_dim: int, num_heads: int):
        super().__init__()
        self.queries = nn.Parameter(torch.randn(num_slots, hidden_dim) * 0.5)
        self.attention = nn.MultiheadAttention(hidden_dim, num_heads, batch_first=True)
        self.norm = nn.LayerNorm(hidden_dim)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        queries = self.queries.expand(len(hidden), -1, -1)  # (B, N, D)
        pooled, _ = self.attention(
            queries, hidden, hidden, key_padding_mask=~mask, need_weights=False
        )
        return self.norm(queries + pooled)  # (B, N, D)


def bert_encoder(config: OptimusConfig, tokenizer: ReportTokenizer) -> BertModel:
    """BERT from scratch; with its pooling layer for `pooling` "cls"."""
    sizes = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=config.hidden_dim,
        num_hidden_layers=config.num_encoder_layers,
        num_attention_heads=config.num_heads,
        intermediate_size=config.mlp_ratio * config.hidden_dim,
        initializer_range=config.initializer_range,
        max_position_embeddings=config.max_length,
        pad_token_id=tokenizer.pad_id,
        hidden_dropout_prob=config.dropout,
        attention_probs_dropout_prob=config.dropout,
    )
    return BertModel(sizes, add_pooling_layer=config.pooling == "cls")


def gpt2_decoder(config: OptimusConfig, tokenizer: ReportTokenizer) -> GPT2LMHeadModel:
    """GPT-2 from scratch."""
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(tokenizer),
            n_embd=config.hidden_dim,
            n_layer=config.num_decoder_layers,
            n_head=config.num_heads,
            n_positions=config.max_length,
            n_inner=config.mlp_ratio * config.hidden_dim,
            bos_token_id=tokenizer.bos_id,
            eos_token_id=tokenizer.eos_id,
            pad_token_id=tokenizer.pad_id,
            initializer_range=config.initializer_range,
            resid_pdrop=config.dropout,
            embd_pdrop=config.dropout,
            attn_pdrop=config.dropout,
        )
    )


class Prefix:
    """Tokens (B, L) that generated texts begin with, [BOS] first and padded; at least one token
    follows them."""

    def __init__(self, tokens: Tensor, tokenizer: ReportTokenizer) -> None:
        self.tokens, self.eos_id = tokens, tokenizer.eos_id
        self.lengths = (tokens != tokenizer.pad_id).sum(dim=1)  # (B,)

    def __call__(self, logits: Tensor, position: int) -> Tensor:
        """Logits (B, V) of the token at `position`, changed to what may stand there."""
        logits = logits.clone()
        logits[self.lengths == position, self.eos_id] = -torch.inf
        inside = self.lengths > position  # (B,)
        if inside.any():
            forced = torch.full_like(logits, -torch.inf)
            forced.scatter_(1, self.tokens[:, position : position + 1], 0.0)
            logits = torch.where(inside[:, None], forced, logits)
        return logits
