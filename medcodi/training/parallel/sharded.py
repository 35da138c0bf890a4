"""DeepSpeed's ZeRO 2 and 3 and torch's fully_shard (FSDP 2), behind the interface of `Topology`."""

import contextlib
import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.utils import FullyShardedDataParallelPlugin
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import CPUOffloadPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from medcodi.config import StageConfig
from medcodi.nn.blocks import blocks
from medcodi.nn.precision import computed_in
from medcodi.training.ema import EMA
from medcodi.training.parallel.together import AtOnce, Together
from medcodi.training.parallel.topology import Topology, TopologyError
from medcodi.training.task import Task

MOMENTS = ("exp_avg", "exp_avg_sq")  # of AdamW


class Sharded(Topology, ABC):
    """What ZeRO and fully_shard have in common: a whole copy of the task, in CPU memory, for
    validation and export."""

    def __init__(self, accelerator: Accelerator, config: StageConfig) -> None:
        super().__init__(accelerator, config)
        for option in ("channels_last", "compile"):
            if getattr(config, option):
                raise TopologyError(
                    f"{option} does not work with ZeRO or FSDP here: set it to false, or train "
                    "with DDP"
                )
        if config.optim.name == "muon":
            raise TopologyError(
                "optim.name muon needs whole matrices, which ZeRO and FSDP cut: take adamw, or "
                "train with DDP"
            )

    def prepare(
        self, task: Task, make_optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer]
    ) -> None:
        self.replica = copy.deepcopy(task).cpu()
        self._shard(task, Together(task) if task.find_unused_parameters else task, make_optimizer)

    @abstractmethod
    def _shard(self, task: Task, model: nn.Module, make_optimizer: Callable) -> None:
        """Make `model`, `optimizer` and `parameters` of `model`, which is the task or wraps it."""

    def micro_batch(self, last: bool) -> contextlib.AbstractContextManager:
        return contextlib.nullcontext()

    def optimizer_state(self) -> dict[str, Any]:
        state, keep = {}, self.accelerator.is_main_process
        for index, parameter in enumerate(self.parameters):
            moments = {key: self._moment(parameter, key) for key in MOMENTS}
            if keep:
                # a tensor each: a shared one would be counted up once a parameter
                state[index] = {
                    "step": self._num_updates().clone(),
                    **{k: v.cpu() for k, v in moments.items()},
                }
        groups = [
            {**group, "params": list(range(len(self.parameters)))}
            for group in self.optimizer.param_groups
        ]
        return {"state": state, "param_groups": groups}

    @contextlib.contextmanager
    @torch.no_grad()
    def averaged(self, task: Task, ema: EMA) -> Iterator[Task]:
        averages, targets = ema.state_dict(), dict(self.replica.named_parameters())
        for name, parameter in task.named_parameters():
            if parameter.requires_grad:
                targets[name].copy_(
                    self.whole(parameter, averages.get(name, self.local(parameter)))
                )
        buffers = dict(self.replica.named_buffers())
        for name, buffer in task.named_buffers():
            buffers[name].copy_(buffer)
        try:
            yield self.replica.to(self.accelerator.device).eval()
        finally:
            self.replica.cpu()


class FullyShard(Sharded):
    """torch's fully_shard, with options of accelerate's `fsdp_config`. The blocks of a network are
    gathered one by one."""

    def _shard(self, task: Task, model: nn.Module, make_optimizer: Callable) -> None:
        plugin = FullyShardedDataParallelPlugin(fsdp_version=2)
        mesh = init_device_mesh(self.accelerator.device.type, (self.accelerator.num_processes,))
        options: dict[str, Any] = {
            "mesh": mesh,
            "reshard_after_forward": bool(plugin.reshard_after_forward),
        }
        if isinstance(plugin.cpu_offload, CPUOffloadPolicy):
            raise TopologyError(
                "fsdp_offload_params does not work here: set it to false, or use zero3_offload.yaml"
            )
        # Together runs its backward while all are gathered
        for block in blocks(task) if model is task else []:
            fully_shard(block, **options)
        self.model = fully_shard(model, **options)
        self.parameters = [p for p in task.parameters() if p.requires_grad]
        self.optimizer = make_optimizer(self.parameters)

    def clip(self) -> torch.Tensor | float:
        norm = super().clip()
        return norm.full_tensor() if isinstance(norm, DTensor) else norm

    def local(self, parameter: nn.Parameter) -> torch.Tensor:
        return parameter.detach().to_local()

    def part(self, parameter: nn.Parameter, whole: torch.Tensor) -> torch.Tensor:
        whole = whole.to(self.local(parameter).device)
        return distribute_tensor(
            whole, parameter.device_mesh, parameter.placements, src_data_rank=None
        ).to_local()

    def whole(self, parameter: nn.Parameter, part: torch.Tensor) -> torch.Tensor:
        mesh = parameter.device_mesh
        sharded = DTensor.from_local(
            part, mesh, parameter.placements, shape=parameter.shape, stride=parameter.stride()
        )
        return sharded.full_tensor()

    def _num_updates(self) -> torch.Tensor:
        return next(iter(self.optimizer.state.values()))["step"].cpu()

    def _moment(self, parameter: nn.Parameter, key: str) -> torch.Tensor:
        return self.whole(parameter, self.optimizer.state[parameter][key].to_local())

    def load_optimizer_state(self, state: dict[str, Any]) -> None:
        moments = {}
        for index, values in state["state"].items():
            parameter = self.parameters[index]
            moments[index] = {"step": values["step"].clone()}
            for key in MOMENTS:
                moments[index][key] = DTensor.from_local(
                    self.part(parameter, values[key]).clone(),
                    parameter.device_mesh,
                    parameter.placements,
                    shape=parameter.shape,
                    stride=parameter.stride(),
                )
        self.optimizer.load_state_dict({**state, "state": moments})


class Zero(Sharded):
    """DeepSpeed. Stage 2 shards gradients and optimizer state, stage 3 the parameters too."""

    def _shard(self, task: Task, model: nn.Module, make_optimizer: Callable) -> None:
        from deepspeed.utils import set_z3_leaf_modules

        config, settings = self.config, self.accelerator.state.deepspeed_plugin.deepspeed_config
        self.stage = settings["zero_optimization"]["stage"]
        if self.stage not in (2, 3):
            raise TopologyError(f"zero_stage must be 2 or 3, got {self.stage}")
        settings |= {
            "train_micro_batch_size_per_gpu": config.batch_size
            // config.gradient_accumulation_steps
            // self.accelerator.num_processes,
            "gradient_accumulation_steps": config.gradient_accumulation_steps,
            "gradient_clipping": config.optim.max_grad_norm,
            "steps_per_print": 1 << 60,
            # the recipe's AdamW, also where its state waits in CPU memory
            "zero_force_ds_cpu_optimizer": False,
            "torch_autocast": {
                "enabled": computed_in(config.mixed_precision, self.accelerator.device) == "bf16",
                "dtype": "bfloat16",
                "lower_precision_safe_modules": [],
            },
        }
        if isinstance(model, Together):
            set_z3_leaf_modules(
                model, [AtOnce]
            )  # gathered at once: its processes go different ways
        self.parameters = [p for p in task.parameters() if p.requires_grad]
        self.model, self.optimizer = self.accelerator.prepare(
            model, make_optimizer(self.parameters)
        )
        self.zero = self.model.optimizer

    def backward(self, loss: torch.Tensor, last: bool) -> None:
        self.model.set_gradient_accumulation_boundary(last)
        self.model.backward(loss)  # divides by gradient_accumulation_steps

    def clip(self) -> torch.Tensor | float:
        return 0.0  # DeepSpeed clips in its step

    def step(self) -> bool:
        self.model.step()
        return not self.zero.overflow

    def local(self, parameter: nn.Parameter) -> torch.Tensor:
        return parameter.ds_tensor.detach() if self.stage == 3 else parameter.detach()

    def part(self, parameter: nn.Parameter, whole: torch.Tensor) -> torch.Tensor:
        if self.stage == 2:
            return whole
        size = parameter.ds_tensor.numel()
        padded = whole.new_zeros(size * self.accelerator.num_processes)
        padded[: whole.numel()] = whole.flatten()
        return padded[size * self.accelerator.process_index :][:size]

    def whole(self, parameter: nn.Parameter, part: torch.Tensor) -> torch.Tensor:
        if self.stage == 2:
            return part
        part = part.to(self.accelerator.device)
        gathered = part.new_empty(part.numel() * self.accelerator.num_processes)
        dist.all_gather_into_tensor(gathered, part)
        return gathered[: math.prod(parameter.ds_shape)].view(parameter.ds_shape)

    def _flat(self) -> list[torch.Tensor]:
        """The flat fp32 partitions that the optimizer updates."""
        return (
            self.zero.fp32_partitioned_groups_flat
            if self.stage == 3
            else self.zero.single_partition_of_fp32_groups
        )

    def _num_updates(self) -> torch.Tensor:
        return torch.as_tensor(self.zero.optimizer.state[self._flat()[0]]["step"]).cpu()

    def _moment(self, parameter: nn.Parameter, key: str) -> torch.Tensor:
        from deepspeed.utils import safe_get_full_optimizer_state

        return safe_get_full_optimizer_state(parameter, key)

    def load_optimizer_state(self, state: dict[str, Any]) -> None:
        from deepspeed.utils import safe_set_full_optimizer_state, safe_set_local_optimizer_state

        if not state["state"]:  # imported weights: no step was made yet
            return
        for flat in self._flat():
            empty = {key: torch.zeros_like(flat, requires_grad=False) for key in MOMENTS}
            step = state["state"][0]["step"].to(flat.device, copy=True)
            self.zero.optimizer.state[flat] = {"step": step, **empty}
        if self.stage == 2:
            self.zero._lazy_init_hp_params_optimizer_state()
        for index, values in state["state"].items():
            for key in MOMENTS:
                if self.stage == 3:
                    safe_set_local_optimizer_state(
                        self.parameters[index], self.part(self.parameters[index], values[key]), key
                    )
                else:
                    safe_set_full_optimizer_state(self.parameters[index], values[key], key)

    def close(self) -> None:
        super().close()
        if self.model is not None:
            self.model.destroy()
