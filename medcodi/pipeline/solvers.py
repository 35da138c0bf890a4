"""Sampling solvers by name: diffusers schedulers, made to fit what the denoisers predict."""

from typing import Any

from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    SchedulerMixin,
    UniPCMultistepScheduler,
)

from medcodi.config_io import unknown_key

MULTISTEP: dict[str, tuple[type[SchedulerMixin], dict[str, Any]]] = {
    "dpm++": (
        DPMSolverMultistepScheduler,
        {"algorithm_type": "dpmsolver++", "solver_order": 2},
    ),  # Lu et al. 2022
    "unipc": (UniPCMultistepScheduler, {"solver_order": 2}),  # Zhao et al. 2023
}
OF_FLOW, OF_BETAS = "euler", "ddim"  # the default of each family
SOLVERS = (OF_BETAS, OF_FLOW, *MULTISTEP)


def build_solver(name: str, scheduler: SchedulerMixin) -> SchedulerMixin:
    """The solver `name` with the noise schedule and the prediction type of `scheduler`.

    Raises ValueError for an unknown name, and for "ddim" of a flow model or "euler" of another one.
    """
    if name not in SOLVERS:
        raise unknown_key(name, SOLVERS, "the solvers")
    is_flow = "base_shift" in scheduler.config or scheduler.config.get("use_flow_sigmas", False)
    if name not in MULTISTEP:
        if (name == OF_FLOW) != is_flow:
            default = OF_FLOW if is_flow else OF_BETAS
            raise ValueError(
                f"solver {name!r} does not suit this model's prediction; take {default!r}, dpm++ "
                "or unipc"
            )
        if is_flow:
            shift = scheduler.config.get("flow_shift", scheduler.config.get("shift", 1.0))
            steps = scheduler.config.num_train_timesteps
            return FlowMatchEulerDiscreteScheduler(num_train_timesteps=steps, shift=shift)
        return DDIMScheduler.from_config(
            scheduler.config, clip_sample=False, set_alpha_to_one=False
        )
    scheduler_class, options = MULTISTEP[name]
    if is_flow:
        options = options | {
            "use_flow_sigmas": True,
            "prediction_type": "flow_prediction",
            "flow_shift": scheduler.config.get("flow_shift", scheduler.config.get("shift", 1.0)),
            "num_train_timesteps": scheduler.config.num_train_timesteps,
        }
        return scheduler_class(**options)
    return scheduler_class.from_config(scheduler.config, **options)
