"""The gradient of DP-SGD (Abadi et al. 2016, algorithm 1).

    g = 1/L ( sum_u  g_u min(1, C / |g_u|)  +  N(0, (sigma C)^2 I) ),   g_u = sum of the rows of u

L is the expected batch, which does not depend on the data. Gradients of single rows come from
torch.func: any network whose rows do not mix, with attention, GroupNorm and parameters of its own.
Attention is computed in the plain way, which vmap can batch; dropout has one mask for the rows of a
micro-batch.

Legend: B rows of a micro-batch, U units in it.
"""

import dataclasses
from typing import Any

import torch
from torch.func import functional_call, grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from medcodi.config import StageConfig
from medcodi.nn.seeding import derive_generator
from medcodi.training.dp.sampling import PoissonSampler
from medcodi.training.dp.secret import Secret
from medcodi.training.draws import Draws
from medcodi.training.parallel.topology import Topology
from medcodi.training.task import Task, map_tensors


class PrivateGradients:
    """The rule of a stage with `dp` (training/gradients.py). Losses have `clipped` besides, the
    share of units whose gradient was too long."""

    def __init__(
        self,
        task: Task,
        config: StageConfig,
        topology: Topology,
        order: PoissonSampler,
        secret: Secret,
    ) -> None:
        self.task, self.config, self.topology = task, config, topology
        self.order, self.secret = order, secret
        self.sums: dict[str, torch.Tensor] = {}

    def add(self, batch: Any, draws: Draws, step: int, micro: int) -> dict[str, torch.Tensor]:
        """Add the clipped gradients of the units of a micro-batch."""
        units = self.order.units(step, micro).to(self.task.device)  # (B,)
        gradients, losses = self._of_rows(batch, draws, step)
        count = int(units[-1]) + 1
        sums = {
            name: g.new_zeros(count, *g.shape[1:]).index_add_(0, units, g)
            for name, g in gradients.items()
        }  # (U, ...)
        squares = [g.flatten(1).square().sum(dim=1) for g in sums.values()]
        norms = torch.stack(squares).sum(dim=0).sqrt()  # (U,)
        bound = self.secret.budget.max_grad_norm
        factors = (bound / norms.clamp(min=1e-12)).clamp(max=1)
        for name, g in sums.items():
            total = torch.einsum("u,u...->...", factors, g)
            self.sums[name] = self.sums[name] + total if name in self.sums else total
        rows, drawn = self.order.step_rows(step)[0], self.order.step_units(step)
        parts = {name: value.sum() / rows for name, value in losses.items()}
        return {**parts, "clipped": (norms > bound).float().sum() / drawn}

    def _of_rows(
        self, batch: Any, draws: Draws, step: int
    ) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """Gradients (B, ...) of the parameters that train, and losses (B,)."""
        state = dict(self.task.named_parameters()) | dict(self.task.named_buffers())
        trained = self._parameters()
        fixed = {name: value for name, value in state.items() if name not in trained}
        tensors: list[torch.Tensor] = []
        map_tensors(batch, lambda tensor: tensors.append(tensor) or tensor)
        progress = step / self.config.num_steps

        def loss_of(weights: dict, index: torch.Tensor, *row: torch.Tensor) -> tuple:
            values = iter(row)
            one = map_tensors(batch, lambda _: next(values)[None])  # a batch of one row
            inputs = (one, draws.of_row(index), progress)
            with self.topology.accelerator.autocast(), sdpa_kernel(SDPBackend.MATH):
                losses = functional_call(self.task, {**weights, **fixed}, inputs)
            return losses["loss"], {name: value.detach() for name, value in losses.items()}

        index = torch.arange(len(tensors[0]), device=tensors[0].device)
        each = vmap(
            grad(loss_of, has_aux=True),
            in_dims=(None, *[0] * (len(tensors) + 1)),
            randomness="same",
        )
        return each({name: p.detach() for name, p in trained.items()}, index, *tensors)

    def _parameters(self) -> dict[str, torch.nn.Parameter]:
        return {name: p for name, p in self.task.named_parameters() if p.requires_grad}

    def finish(self, step: int) -> torch.Tensor:
        """Noise, also where no unit was drawn."""
        budget, squares = self.secret.budget, []
        generator = derive_generator(self.secret.key, "noise", step)
        for name, parameter in self._parameters().items():
            noise = torch.randn(parameter.shape, generator=generator).to(parameter)
            total = self.sums.get(name, 0) + budget.noise_multiplier * budget.max_grad_norm * noise
            parameter.grad = (total / self.config.batch_size).to(parameter)
            squares.append(parameter.grad.square().sum())
        self.sums = {}
        return torch.stack(squares).sum().sqrt()

    def told(self, step: int) -> dict[str, Any]:
        """The budget, and what of it `step` steps spent."""
        budget = self.secret.budget
        return {
            "dp": {**dataclasses.asdict(budget), "steps": step, "epsilon": budget.epsilon(step)}
        }
