"""The conditional distribution of every column given any subset of the others, by one network.

    L = E over subsets of visible columns  mean over hidden j  -log p(x_j | x_visible)

Trained on subsets of every size, the network can be sampled column by column in any order
(order-agnostic autoregression: Uria et al. 2014, Hoogeboom et al. 2022), so that rows follow any
given columns and missing cells can be filled. Legend: B rows, F columns, S states, D width.
"""

import copy
import logging
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import tqdm

logger = logging.getLogger(__name__)


@dataclass
class NetworkConfig:
    """`steps`: most training steps (None: by the number of rows); training stops when the held-out
    tenth has not improved for `patience` of its checks."""

    embed_dim: int = 16
    hidden_dim: int = 256
    num_layers: int = 3
    dropout: float = 0.1
    lr: float = 2e-3
    weight_decay: float = 1e-2
    batch_size: int = 512
    steps: int | None = None
    check_every: int = 50
    patience: int = 8


class ConditionalNetwork(nn.Module):
    """States (B, F) and which are visible (B, F) -> logits of each column (B, S_j)."""

    def __init__(self, sizes: list[int], config: NetworkConfig) -> None:
        super().__init__()
        self.sizes, self.config = list(sizes), config
        starts = torch.tensor([0, *np.cumsum([size + 1 for size in sizes])[:-1]])
        self.register_buffer("starts", starts, persistent=False)
        self.embed = nn.Embedding(sum(size + 1 for size in sizes), config.embed_dim)
        width = config.hidden_dim
        self.enter = nn.Linear(len(sizes) * config.embed_dim, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(width),
                nn.Linear(width, 2 * width),
                nn.SiLU(),
                nn.Dropout(config.dropout),
                nn.Linear(2 * width, width),
            )
            for _ in range(config.num_layers)
        )
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, sum(sizes))

    def trunk(self, states: Tensor, visible: Tensor) -> Tensor:
        hidden = torch.where(visible, states + 1, 0) + self.starts  # (B, F), state 0 is "hidden"
        x = self.enter(self.embed(hidden).flatten(1))  # (B, D)
        for block in self.blocks:
            x = x + block(x)
        return self.norm(x)

    def forward(self, states: Tensor, visible: Tensor) -> tuple[Tensor, ...]:
        return self.leave(self.trunk(states, visible)).split(self.sizes, dim=1)

    def column(self, states: Tensor, visible: Tensor, j: int) -> Tensor:
        """Logits (B, S_j) of one column."""
        start = sum(self.sizes[:j])
        part = slice(start, start + self.sizes[j])
        return F.linear(self.trunk(states, visible), self.leave.weight[part], self.leave.bias[part])

    def loss(self, states: Tensor, visible: Tensor) -> Tensor:
        """Mean of -log p over the hidden cells, each row weighted alike. Nats."""
        logits = self(states, visible)
        nll = torch.stack(
            [F.cross_entropy(z, states[:, j], reduction="none") for j, z in enumerate(logits)], 1
        )  # (B, F)
        hidden = ~visible
        return ((nll * hidden).sum(1) / hidden.sum(1).clamp(min=1)).mean()


def draw_visible(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """(B, F) bool: of each row a random subset of 0 to F - 1 visible columns, every size alike."""
    order = torch.rand(rows, columns, generator=generator).argsort(1)
    return order < torch.randint(0, columns, (rows, 1), generator=generator)


def train_network(
    states: np.ndarray, sizes: list[int], config: NetworkConfig, seed: int, progress: bool
) -> ConditionalNetwork:
    """Fit to states (N, F); the weights of the best check are kept. Raises ValueError where the
    loss is not finite."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = ConditionalNetwork(sizes, config)
        table = torch.from_numpy(states)
        order = torch.randperm(len(table), generator=generator)
        num_held = len(table) // 10 if len(table) >= 50 else 0
        held, rows = table[order[:num_held]], table[order[num_held:]]
        steps = config.steps or int(np.clip(len(rows) // 8, 400, 3000))
        optimizer = torch.optim.AdamW(
            network.parameters(), lr=config.lr, weight_decay=config.weight_decay
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.lr, total_steps=steps)
        fixed = draw_visible(len(held), len(sizes), torch.Generator().manual_seed(seed + 1))
        best, best_loss, since = None, float("inf"), 0
        for step in tqdm(range(1, steps + 1), desc="fit", unit="step", disable=not progress):
            chosen = torch.randint(0, len(rows), (config.batch_size,), generator=generator)
            visible = draw_visible(len(chosen), len(sizes), generator)
            loss = network.loss(rows[chosen], visible)
            if not torch.isfinite(loss):
                raise ValueError(f"the loss is not finite at step {step}")
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            if num_held and step % config.check_every == 0:
                network.eval()
                with torch.no_grad():
                    held_loss = float(network.loss(held, fixed))
                network.train()
                if held_loss < best_loss:
                    best, best_loss, since = copy.deepcopy(network.state_dict()), held_loss, 0
                else:
                    since += 1
                    if since >= config.patience:
                        break
        if best is not None:
            network.load_state_dict(best)
            logger.info("held-out loss %.4f nats a hidden cell, %d steps", best_loss, step)
    return network.eval()


@torch.no_grad()
def sample_states(
    network: ConditionalNetwork,
    states: np.ndarray,
    known: np.ndarray,
    allowed: np.ndarray,
    generator: torch.Generator,
) -> np.ndarray:
    """Fill the cells of states (N, F) that are not `known` (N, F), column by column in an order of
    the table's own. `allowed` (F,) bool: whether a filled cell may be missing (state 0)."""
    filled = torch.from_numpy(states.copy())
    visible = torch.from_numpy(known.copy())
    for j in torch.randperm(len(network.sizes), generator=generator).tolist():
        rows = (~visible[:, j]).nonzero().squeeze(1)
        if not len(rows):
            continue
        logits = network.column(filled[rows], visible[rows], j)
        if not allowed[j] and network.sizes[j] > 1:
            logits[:, 0] = -torch.inf
        cumulative = logits.double().softmax(1).cumsum(1)
        drawn = torch.rand(len(rows), 1, generator=generator, dtype=torch.float64)
        filled[rows, j] = (cumulative < drawn).sum(1).clamp(max=network.sizes[j] - 1)
        visible[rows, j] = True
    return filled.numpy()
