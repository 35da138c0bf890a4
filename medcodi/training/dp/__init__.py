"""Differential privacy of a stage: DP-SGD (Abadi et al. 2016), `dp:` in a recipe.

sampling.py     Poisson sampling of patients or studies
gradients.py    the gradient of each unit, clipped; noise
accounting.py   how much noise a budget asks for, what was spent
secret.py       the key that seeds sampling and noise, and stays with the run
statement.py    what an export and a model card say

The guarantee is about the weights that a stage exports, the average too (EMA reads nothing but
weights). It is not about what the stage was built on, nor about losses, previews and checks of
reconstruction in the run folder.
"""

import logging
from pathlib import Path

from torch.nn.modules.batchnorm import _BatchNorm

from medcodi.config import StageConfig
from medcodi.training.dp.accounting import Budget
from medcodi.training.dp.gradients import PrivateGradients
from medcodi.training.dp.sampling import PoissonSampler, unit_numbers
from medcodi.training.dp.secret import Secret
from medcodi.training.parallel.topology import Topology
from medcodi.training.task import Task

logger = logging.getLogger(__name__)


def private_gradients(
    task: Task, config: StageConfig, topology: Topology, first_step: int, folder: Path
) -> PrivateGradients:
    """The rule of a stage with `dp`. ValueError for what cannot be private; ImportError names the
    extra."""
    assert config.dp is not None
    patients = task.patients("train")
    check_private(task, config, topology)
    units = unit_numbers(patients, config.dp.unit)
    budget = Budget.of(config, int(units.max()) + 1, len(units))
    secret = Secret.of(folder, budget, first_step)
    logger.info("%s trains with %s", task.label, secret.budget.describe(config.num_steps))
    if config.validate_every:
        logger.warning(
            "%s: validation losses read the validation split without noise. To choose a step or a "
            "setting by them is not covered by the budget",
            task.label,
        )
    order = PoissonSampler(
        units,
        secret.budget.sample_rate,
        secret.key,
        config.batch_size // config.gradient_accumulation_steps,
        first_step,
        config.num_steps,
    )
    return PrivateGradients(task, config, topology, order, secret)


def check_private(task: Task, config: StageConfig, topology: Topology) -> None:
    """ValueError for settings under which a gradient of one row does not exist or is not what
    trains."""
    refused = {
        "BatchNorm mixes the rows of a batch; use GroupNorm": any(
            isinstance(module, _BatchNorm) for module in task.modules()
        ),
        "optim.name muon gives noise the size of a signal; use adamw": config.optim.name != "adamw",
        "it runs in one process without sharding": type(topology) is not Topology
        or topology.accelerator.num_processes > 1,
        "compile cannot be combined with it": config.compile,
        "gradient_checkpointing cannot be combined with it": config.gradient_checkpointing,
        "gradient_accumulation_steps must divide batch_size": bool(
            config.batch_size % config.gradient_accumulation_steps
        ),
    }
    found = [reason for reason, here in refused.items() if here]
    if found:
        raise ValueError(f"{task.label} cannot train with dp: {'; '.join(found)}")
