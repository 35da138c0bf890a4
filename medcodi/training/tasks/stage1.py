"""Stage 1: the shared latent space, by bridging pairs (MedCoDi-M section 2.1)."""

import functools
from dataclasses import dataclass, field
from typing import Any

import torch

from medcodi.config import StageConfig
from medcodi.data.collate import StudyBatch, collate
from medcodi.data.prepared import PreparedDataset
from medcodi.modalities.family import seeded
from medcodi.nn.seeding import derive_seed
from medcodi.nn.weights import save_module
from medcodi.training import identity
from medcodi.training.draws import Draws
from medcodi.training.run import Run
from medcodi.training.task import Task, to_device

KEY_BITS = 52  # an int64 key survives a float64 gather


@dataclass
class KeyedBatch(StudyBatch):
    """`places[name]` (B_m,) long: `rows(name)`; `keys[name]` (B,) int64: equal keys are the same
    prompt. The host works them out with the batch."""

    places: dict[str, torch.Tensor] = field(default_factory=dict)
    keys: dict[str, torch.Tensor] = field(default_factory=dict)


class Studies:
    """Rows of a split that have both sides of at least one bridging pair, as KeyedBatch."""

    def __init__(self, data: PreparedDataset, run: Run, pairs: list[list[str]]) -> None:
        present = data.present
        both = [present[:, data.names.index(a)] & present[:, data.names.index(b)] for a, b in pairs]
        self.data = data.select(functools.reduce(lambda x, y: x | y, both).nonzero()[0])
        self.modalities = {name: run.family.modality(name) for name in data.names}
        self.identical_are_positive = run.recipe.shared_space.identical_are_positive

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, indices: list[int]) -> KeyedBatch:
        plain = collate(
            self.data.batch(indices),
            {name: modality.collate for name, modality in self.modalities.items()},
        )
        batch, identity = (
            KeyedBatch(**vars(plain)),
            [derive_seed(i) % 2**KEY_BITS for i in plain.study_ids],
        )
        for name, values in batch.values.items():
            batch.places[name], batch.keys[name] = batch.rows(name), torch.tensor(identity)
            own = self.modalities[name].keys(values) if self.identical_are_positive else None
            if own is not None:
                batch.keys[name][batch.places[name]] = own
        return batch


class Stage1Task(Task):
    """KeyedBatch -> mean contrastive loss over the bridging pairs. Trains all prompt encoders."""

    label = "stage1"
    find_unused_parameters = True
    accumulation_changes = (
        "the loss: a row is told apart from those of its micro-batch on all "
        "processes, so fewer negatives"
    )

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run, self.pairs = run, run.recipe.shared_space.bridging_pairs
        if not self.pairs:
            raise ValueError(
                "shared_space.bridging_pairs is empty: name at least one pair, such as [[image, "
                "report]]"
            )
        self.names = list(dict.fromkeys(name for pair in self.pairs for name in pair))
        unbridged = sorted(set(run.family.names) - set(self.names))
        if unbridged:
            raise ValueError(
                f"modalities {unbridged} stand in no bridging pair: their encoders would never "
                "train"
            )
        with seeded(run.recipe.seed):
            self.space = run.family.build_shared_space()

    def dependencies(self) -> dict[str, Any]:
        return identity.of_stage1(self.run)

    def dataset(self, split: str) -> Studies:
        return Studies(self.run.data(split, self.names), self.run, self.pairs)

    def embed(self, batch: KeyedBatch) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        """name -> embeds (B, D) on all rows (anything where absent) and keys (B,) int64."""
        out = {}
        for name, values in batch.values.items():
            encoded = self.space.encode(name, values).embeds
            embeds = encoded.new_zeros(len(batch), encoded.shape[1]).index_copy(
                0, batch.places[name], encoded
            )
            out[name] = (embeds, batch.keys[name])
        return out

    def forward(self, batch: KeyedBatch, draws: Draws, progress: float) -> dict[str, torch.Tensor]:
        embedded = self.embed(batch)
        width = self.run.recipe.shared_space.embed_dim
        absent = (
            torch.zeros(len(batch), width, device=self.device),
            torch.zeros(len(batch), device=self.device).long(),
        )
        losses = {}
        for a, b in self.pairs:
            both = batch.present[:, batch.names.index(a)] & batch.present[:, batch.names.index(b)]
            (embeds_a, keys_a), (embeds_b, keys_b) = (
                embedded.get(a, absent),
                embedded.get(b, absent),
            )
            losses[f"{a}-{b}"] = self.space.pair_loss(
                (embeds_a, embeds_b), (keys_a, keys_b), both.to(self.device)
            )
        total = torch.stack(list(losses.values())).mean()
        return {
            "loss": total,
            **{k: v.detach() for k, v in losses.items()},
            "logit_scale": self.space.scale.detach(),
        }

    def validate(self, data: Studies, config: StageConfig, seed: int) -> dict[str, float]:
        """Median rank (0 to 1, chance 0.5) of the true partner among validation rows, per pair."""
        batch = to_device(data[list(range(min(len(data), 256)))], self.device)
        embedded = self.embed(batch)
        ranks = {}
        for a, b in self.pairs:
            both = (
                batch.present[:, batch.names.index(a)] & batch.present[:, batch.names.index(b)]
            ).to(self.device)
            if int(both.sum()) < 2:
                continue
            similarity = embedded[a][0][both] @ embedded[b][0][both].T
            true = similarity.diagonal()[:, None]
            rank = (similarity > true).sum(dim=1).float() / (len(similarity) - 1)
            ranks[f"median_rank/{a}-{b}"] = float(rank.median())
            ranks[f"mean_rank/{a}-{b}"] = float(rank.mean())
        return ranks

    def finalize(self) -> dict[str, Any]:
        recipe, data = self.run.recipe, self.dataset("validation")
        return {"validation": self.validate(data, recipe.stage1, recipe.seed)}

    def export(self, folder: Any, config: dict[str, Any]) -> None:
        save_module(self.space, folder, config)
