"""What the denoising loop of a call begins with: schedulers that fit, solvers, noise.

Legend: B samples of a batch.
"""

from collections.abc import Mapping

import torch
from diffusers import SchedulerMixin

from medcodi.autoencoders.base import Autoencoder
from medcodi.diffusion.joint import JointModel, Prompts
from medcodi.diffusion.keep import Kept, KeptPredictions
from medcodi.diffusion.sampler import GuidedPrediction
from medcodi.modalities.family import ModelFamily
from medcodi.nn.seeding import derive_generator
from medcodi.pipeline.checks import Call
from medcodi.pipeline.keeping import check_steps, kept_rows
from medcodi.pipeline.solvers import Solver, fit_scheduler


def fitted_schedulers(
    call: Call, schedulers: Mapping[str, SchedulerMixin], reference: SchedulerMixin
) -> tuple[dict[str, SchedulerMixin], int]:
    """Schedulers of the outputs that follow the model of `reference`, and the number of steps that
    they take (a Heun scheduler takes more than it is asked for).

    ValueError for one that cannot, and where they would take different numbers of steps.
    """
    fitted = {name: fit_scheduler(schedulers[name], reference) for name in call.outputs}
    lengths = {
        name: len(Solver(scheduler, call.num_inference_steps, [], call.eta).timesteps)
        for name, scheduler in fitted.items()
    }
    if len(set(lengths.values())) > 1:
        raise ValueError(
            f"jointly sampled outputs must step together, but their schedulers take {lengths} steps"
        )
    return fitted, lengths[call.outputs[0]]


def solvers_of(
    call: Call, schedulers: Mapping[str, SchedulerMixin], rows: range
) -> dict[str, Solver]:
    """One solver an output, with the random generators of the samples `rows`."""
    solvers = {}
    for name, scheduler in schedulers.items():
        generators = [derive_generator(call.seeds[i], name, "steps") for i in rows]
        solvers[name] = Solver(scheduler, call.num_inference_steps, generators, call.eta)
    return solvers


def start_of(
    call: Call,
    family: ModelFamily,
    solvers: Mapping[str, Solver],
    rows: range,
    device: torch.device,
    dtype: torch.dtype,
) -> dict[str, torch.Tensor]:
    """What the first step of the samples `rows` begins with (B, *latent_shape) an output: the noise
    that was given, or each sample's own."""
    start = {}
    for name, solver in solvers.items():
        if name in call.latents:
            noise = call.latents[name][rows.start : rows.stop]
        else:
            shape = family.latent_shape(family.modality(name).group)
            generators = [derive_generator(call.seeds[i], name) for i in rows]
            noise = torch.stack([torch.randn(shape, generator=g) for g in generators])
        start[name] = solver.start(noise.to(device, dtype))
    return start


def kept_of(
    call: Call,
    family: ModelFamily,
    autoencoders: Mapping[str, Autoencoder],
    schedulers: Mapping[str, SchedulerMixin],
) -> dict[str, Kept]:
    """What each output keeps, R rows of it. ValueError for a strength that leaves no step."""
    solvers = {n: Solver(schedulers[n], call.num_inference_steps, []) for n in call.strength}
    timesteps = {name: solver.timesteps for name, solver in solvers.items()}
    check_steps(call.strength, timesteps, family.objective.num_train_timesteps)
    kept = {}
    for name, parts in call.keep.items():
        modality = family.modality(name)
        start = call.strength.get(name, 1.0)
        rows = kept_rows(modality, autoencoders[modality.group], parts, start, call.batch_size)
        if rows is not None:
            kept[name] = rows
    return kept


def kinds_needed(kept: Mapping[str, Kept]) -> list[str]:
    """The kinds of networks that denoise: autoencoders too, where estimates are decoded."""
    asked = any(rows.move is not None for rows in kept.values())
    return ["diffusion", "environment", *(["autoencoder"] if asked else [])]


def predictions_of(
    call: Call,
    joint: JointModel,
    given: Prompts,
    negative: Prompts,
    kept: Mapping[str, Kept],
    rows: torch.Tensor,
) -> KeptPredictions:
    """What predicts a step of the samples that belong to `rows` (B,) of R rows."""
    guided = GuidedPrediction(
        joint,
        given[rows],
        call.guidance,
        call.intervals,
        negative[rows],
        call.coupling,
        call.coupling_intervals,
    )
    of_rows = {name: parts[rows] for name, parts in kept.items()}
    return KeptPredictions(guided, of_rows, joint.objective)
