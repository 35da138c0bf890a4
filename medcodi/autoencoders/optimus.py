"""Report VAE as Optimus (Li et al. 2020): BERT encoder, GPT-2 decoder, the latent injected in both
of the paper's ways.

Legend: B batch, L tokens, N slots, C slot dimension, D hidden dimension, A attention heads.

What differs from the paper: the latent vector is arranged as N slots of C, each pooled from the
encoder by its own learned query instead of from [CLS], and each is one memory position of the
decoder instead of one position for all.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.cache_utils import DynamicCache

from medcodi.autoencoders.augmentation import mix_sentences
from medcodi.autoencoders.base import Autoencoder, cyclical_beta, evaluating, kl_with_free_bits
from medcodi.autoencoders.optimus_parts import (
    OptimusConfig,
    Prefix,
    SlotPooling,
    bert_encoder,
    gpt2_decoder,
    length_groups,
)
from medcodi.autoencoders.sampling import check_strategy, row_generators, select_tokens
from medcodi.autoencoders.tokenizer import ReportTokenizer

IGNORED = -100  # label of a position that does not count


class OptimusVAE(Autoencoder):
    """Reports (list of str) <-> latents (B, num_slots, slot_dim).

    Args:
        tokenizer: of the decoder, and of the encoder too unless `encoder_tokenizer` is given.
    """

    def __init__(
        self,
        config: OptimusConfig,
        tokenizer: ReportTokenizer,
        encoder_tokenizer: ReportTokenizer | None = None,
    ):
        super().__init__((config.num_slots, config.slot_dim))
        if config.pooling not in ("slots", "cls"):
            raise ValueError(f"pooling must be 'slots' or 'cls', got {config.pooling!r}")
        if config.pooling == "cls" and config.num_slots != 1:
            raise ValueError(f"pooling 'cls' gives one slot, but num_slots is {config.num_slots}")
        self.config = config
        self.tokenizer = ReportTokenizer(tokenizer.backend, config.max_length)
        self.encoder_tokenizer = encoder_tokenizer and ReportTokenizer(
            encoder_tokenizer.backend, config.max_length
        )
        hidden_dim = config.hidden_dim
        self.encoder = bert_encoder(config, self.encoder_tokenizer or tokenizer)
        self.decoder = gpt2_decoder(config, tokenizer)
        if config.pooling == "slots":
            self.pooling = SlotPooling(config.num_slots, hidden_dim, config.num_heads)
        self.to_posterior = nn.Linear(hidden_dim, 2 * config.slot_dim)
        self.slot_embedding = nn.Parameter(torch.randn(config.num_slots, hidden_dim) * 0.5)
        self.slot_to_hidden = nn.Linear(config.slot_dim, hidden_dim)
        self.to_memory = nn.Linear(hidden_dim, 2 * config.num_decoder_layers * hidden_dim)
        self.to_embedding = nn.Linear(config.num_slots * config.slot_dim, hidden_dim)
        # the posterior starts narrow: early in training a wide one hides the text
        with torch.no_grad():
            self.to_posterior.bias[config.slot_dim :] = -6.0

    @property
    def truncated(self) -> int:
        """How many reports were cut to `max_length` so far."""
        return self.tokenizer.num_truncated

    @property
    def num_length_groups(self) -> int:
        """On a CPU, padding costs as much as tokens do: a training batch runs in groups of about
        equal length."""
        return 4 if self.device.type == "cpu" else 1

    # encoder

    def posterior(self, values: Sequence[str]) -> tuple[Tensor, Tensor]:
        token_ids, mask = (self.encoder_tokenizer or self.tokenizer)(values)
        return self.posterior_of_tokens(token_ids.to(self.device), mask.to(self.device))

    def posterior_of_tokens(self, token_ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Token ids (B, L), mask (B, L) -> mean, log variance (B, N, C)."""
        encoded = self.encoder(input_ids=token_ids, attention_mask=mask)
        if self.config.pooling == "cls":
            pooled = encoded.pooler_output[:, None]  # (B, 1, D)
        else:
            pooled = self.pooling(encoded.last_hidden_state, mask)  # (B, N, D)
        mean, logvar = self.to_posterior(pooled).float().chunk(2, dim=-1)  # (B, N, C) each
        floor = self.config.min_posterior_std**2
        return mean, torch.log(logvar.clamp(max=2.0).exp() + floor)

    # decoder

    def memory(self, latents: Tensor) -> tuple[DynamicCache, Tensor]:
        """Latents (B, N, C) -> what the paper calls memory and embedding.

        Returns:
            cache: keys and values of N positions for every decoder layer, which each token can
            attend to.
            embedding: (B, 1, D), added to every token embedding.
        """
        batch_size, num_heads = len(latents), self.config.num_heads
        slots = self.slot_to_hidden(latents) + self.slot_embedding  # (B, N, D)
        memory = self.to_memory(slots)  # (B, N, 2 layers * D)
        memory = memory.unflatten(
            -1, (-1, num_heads, self.config.hidden_dim // num_heads)
        )  # (B, N, 2 layers, A, D/A)
        memory = memory.permute(2, 0, 3, 1, 4)  # (2 layers, B, A, N, D/A)
        cache = DynamicCache()
        for layer, (keys, values) in enumerate(zip(memory[0::2], memory[1::2], strict=True)):
            cache.update(keys, values, layer)
        return cache, self.to_embedding(latents.reshape(batch_size, -1))[:, None]  # (B, 1, D)

    def logits(
        self, token_ids: Tensor, cache: DynamicCache, embedding: Tensor, start: int = 0
    ) -> Tensor:
        """Next-token logits (B, L, vocabulary) of tokens (B, L) from position `start` on; extends
        `cache`."""
        positions = torch.arange(start, start + token_ids.shape[1], device=token_ids.device)[
            None
        ]  # (1, L)
        inputs = self.decoder.transformer.wte(token_ids) + embedding  # (B, L, D)
        return self.decoder(
            inputs_embeds=inputs, past_key_values=cache, position_ids=positions, use_cache=True
        ).logits

    def teacher_forced_logits(self, token_ids: Tensor, latents: Tensor) -> Tensor:
        """Logits (B, L - 1, vocabulary) for token_ids[:, 1:], given the tokens before each and
        latents (B, N, C)."""
        cache, embedding = self.memory(latents)
        return self.logits(token_ids[:, :-1], cache, embedding)

    def decode_posterior(self, latents: Tensor, **kwargs: Any) -> list[str]:
        """Latents (B, N, C) -> reports; `kwargs` are those of `generate`."""
        return self.tokenizer.decode(self.generate(latents, **kwargs).cpu())

    def generate(
        self,
        latents: Tensor,
        strategy: str = "greedy",
        top_p: float = 0.9,
        temperature: float = 1.0,
        max_length: int | None = None,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        prefix: Tensor | None = None,
    ) -> Tensor:
        """Latents (B, N, C) -> token ids (B, L), L <= max_length, padded after [EOS]: one batch
        with a KV cache, until every row has ended.

        Args:
            strategy: "greedy" (deterministic) or "nucleus" (Holtzman et al. 2020).
            top_p, temperature: of nucleus sampling.
            max_length: most tokens, [BOS] included; the config's by default.
            generator: CPU generators, one a row, so that a row does not depend on the others; a
                single one seeds one for each row. Needed by "nucleus" for reproducible text.
            prefix: (B, L') tokens that the texts begin with, [BOS] first, padded; at least one more
                follows.
        """
        check_strategy(strategy, top_p, temperature)
        max_length = min(max_length or self.config.max_length, self.config.max_length)
        generators = row_generators(generator, len(latents)) if strategy == "nucleus" else None
        cache, embedding = self.memory(latents)
        tokens = torch.full((len(latents), 1), self.tokenizer.bos_id, device=latents.device)
        generated = [tokens]
        ended = torch.zeros(len(latents), dtype=torch.bool, device=latents.device)
        begins = None if prefix is None else Prefix(prefix.to(latents.device), self.tokenizer)
        while len(generated) < max_length and not ended.all():
            logits = self.logits(tokens, cache, embedding, start=len(generated) - 1)[
                :, -1
            ].float()  # (B, vocabulary)
            if begins is not None:
                logits = begins(logits, len(generated))
            chosen = select_tokens(logits, strategy, top_p, temperature, generators)  # (B,)
            chosen = torch.where(ended, self.tokenizer.pad_id, chosen)
            ended = ended | (chosen == self.tokenizer.eos_id)
            tokens = chosen[:, None]
            generated.append(tokens)
        return torch.cat(generated, dim=1)  # (B, L)

    def continuations(self, latents: Tensor, beginnings: Sequence[str]) -> list[str]:
        """What each text goes on with, the likeliest tokens; at least one. `latents` (B, N, C) are
        normalised. Whitespace between the two is part of the answer."""
        prefix, _ = self.tokenizer(beginnings, end=False)
        with evaluating(self), torch.no_grad():
            tokens = self.generate(latents * self.latent_std + self.latent_mean, prefix=prefix)
        lengths = (prefix != self.tokenizer.pad_id).sum(dim=1).tolist()
        return [
            self.tokenizer.decode(row[None, length:])[0]
            for row, length in zip(tokens.cpu(), lengths, strict=True)
        ]

    def negative_log_likelihood(self, latents: Tensor, token_ids: Tensor, scored: Tensor) -> Tensor:
        """-log p of the `scored` (B, L) bool among tokens (B, L), given the tokens before each, in
        nats (B,). `latents` (B, N, C) are normalised; gradients go to them."""
        with evaluating(self):
            of_scale = latents * self.latent_std + self.latent_mean
            logits = self.teacher_forced_logits(token_ids, of_scale).float()  # (B, L - 1, V)
        losses = F.cross_entropy(logits.transpose(1, 2), token_ids[:, 1:], reduction="none")
        return (losses * scored[:, 1:]).sum(dim=1)

    # objective

    def losses(
        self, values: Sequence[str], progress: float, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """The ELBO with a cyclical beta (Li et al. 2020), in nats a token so that its scale is that
        of a language model: loss = (reconstruction + beta * KL with free bits) / tokens."""
        if self.training and self.config.sentence_mixing > 0:
            values = mix_sentences(values, self.config.sentence_mixing, generator)
        token_ids, mask = self.tokenizer(values)  # (B, L), (B, L)
        inputs = self._drop_words(token_ids, generator)
        noise = torch.randn(len(values), *self.latent_shape, generator=generator)  # (B, N, C)
        means, logvars, negative_log_likelihood = [], [], 0.0
        for rows, width in length_groups(mask, self.num_length_groups):
            group_mask = mask[rows, :width].to(self.device)
            group_ids = token_ids[rows, :width].to(self.device)
            if self.encoder_tokenizer is None:
                mean, logvar = self.posterior_of_tokens(group_ids, group_mask)
            else:
                mean, logvar = self.posterior([values[i] for i in rows.tolist()])
            latents = mean + (0.5 * logvar).exp() * noise[rows].to(mean)
            logits = self.teacher_forced_logits(
                inputs[rows, :width].to(self.device), latents
            ).float()
            targets = group_ids[:, 1:].masked_fill(~group_mask[:, 1:], IGNORED)
            negative_log_likelihood = negative_log_likelihood + F.cross_entropy(
                logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="sum"
            )
            means.append(mean)
            logvars.append(logvar)
        num_tokens = int(mask[:, 1:].sum())
        kl = kl_with_free_bits(torch.cat(means), torch.cat(logvars), self.config.free_bits)
        beta = cyclical_beta(progress, self.config.max_beta, self.config.num_beta_cycles)
        reconstruction = negative_log_likelihood / num_tokens
        return {
            "loss": reconstruction + beta * kl * len(values) / num_tokens,
            "reconstruction": reconstruction.detach(),
            "kl": kl.detach(),
            "beta": torch.full((), beta, device=kl.device),
        }

    def _drop_words(self, token_ids: Tensor, generator: torch.Generator | None) -> Tensor:
        """Word dropout (Bowman et al. 2016) on the decoder's inputs; [BOS] stays. Only while
        training."""
        if not self.training or self.config.word_dropout == 0:
            return token_ids
        dropped = torch.rand(token_ids.shape, generator=generator) < self.config.word_dropout
        return token_ids.masked_fill(
            dropped & (token_ids != self.tokenizer.bos_id), self.tokenizer.unk_id
        )

    @torch.no_grad()
    def reconstruction(self, values: Sequence[str]) -> dict[str, float]:
        """Shares in [0, 1]: `exact_match` of the greedy texts, `free_running_accuracy` of their
        tokens at the same position, `token_accuracy` of the teacher-forced argmax."""
        latents = self.encode(values) * self.latent_std + self.latent_mean  # (B, N, C)
        with evaluating(self):
            generated = self.generate(latents).cpu()  # (B, L')
            token_ids, mask = self.tokenizer(values)
            teacher_forced = (
                self.teacher_forced_logits(token_ids.to(self.device), latents).argmax(-1).cpu()
            )
        decoded = self.tokenizer.decode(generated)
        width = max(generated.shape[1], token_ids.shape[1])
        generated = F.pad(generated, (0, width - generated.shape[1]), value=self.tokenizer.pad_id)[
            :, 1:
        ]
        expected = F.pad(token_ids, (0, width - token_ids.shape[1]), value=self.tokenizer.pad_id)[
            :, 1:
        ]
        either = (generated != self.tokenizer.pad_id) | (expected != self.tokenizer.pad_id)
        return {
            "exact_match": sum(a == b for a, b in zip(values, decoded, strict=True)) / len(values),
            "token_accuracy": float(
                (teacher_forced == token_ids[:, 1:])[mask[:, 1:]].float().mean()
            ),
            "free_running_accuracy": float((generated == expected)[either].float().mean()),
        }
