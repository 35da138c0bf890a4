"""Speed of generation: report decoding, and sampling with fewer steps, other solvers and less
guidance (`eval/speed.py`).

Legend: B batch, N latent slots.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from medcodi.bench.speed_training import Table, attention, autocast, fastest
from medcodi.modalities.family import seeded
from medcodi.pipeline import MedCoDiPipeline
from medcodi.pipeline.solvers import build_solver
from medcodi.training.run import Run

NUM_SAMPLED, NUM_REPORTS = 4, 16


@dataclass(frozen=True)
class Sampling:
    """One row: a call of the pipeline. `interval` are the guided noise levels (None: all, whatever
    the recipe says)."""

    solver: str
    num_inference_steps: int
    guidance_scale: float = 2.0
    interval: tuple[float, float] | None = None
    sdpa: bool = True
    precision: str = "float32"
    compiled: bool = False


@torch.no_grad()
def decode_without_cache(model: Any, latents: torch.Tensor, length: int) -> torch.Tensor:
    """Greedy tokens (B, length): each one from the whole text before it."""
    tokens = torch.full((len(latents), 1), model.tokenizer.bos_id, device=latents.device)
    while tokens.shape[1] < length:
        cache, embedding = model.memory(latents)
        tokens = torch.cat(
            [tokens, model.logits(tokens, cache, embedding)[:, -1:].argmax(-1)], dim=1
        )
    return tokens


@torch.no_grad()
def decode_with_cache(model: Any, latents: torch.Tensor, length: int) -> torch.Tensor:
    cache, embedding = model.memory(latents)
    tokens = [torch.full((len(latents), 1), model.tokenizer.bos_id, device=latents.device)]
    while len(tokens) < length:
        tokens.append(
            model.logits(tokens[-1], cache, embedding, start=len(tokens) - 1)[:, -1:].argmax(-1)
        )
    return torch.cat(tokens, dim=1)


def measure_reports(run: Run, group: str, repeats: int, device: torch.device) -> Table:
    """Every row writes the same tokens of full length, none ends early: what differs is how."""
    model = run.autoencoder(group).to(device)
    latents = torch.randn(
        NUM_REPORTS, *model.latent_shape, generator=torch.Generator().manual_seed(0)
    ).to(device)
    length = model.config.max_length
    ways = {
        "reference: one at a time, no cache": lambda: [
            decode_without_cache(model, x[None], length) for x in latents
        ],
        "one at a time, KV cache": lambda: [
            decode_with_cache(model, x[None], length) for x in latents
        ],
        "batched, no cache": lambda: decode_without_cache(model, latents, length),
        "medcodi: batched, KV cache": lambda: decode_with_cache(model, latents, length),
    }
    told = {
        key: torch.cat(list(way())) if key.startswith(("ref", "one")) else way()
        for key, way in ways.items()
    }
    first = next(iter(told.values()))
    seconds = fastest(ways, repeats, device)
    slowest = seconds["reference: one at a time, no cache"]
    return [
        {
            "row": key,
            "ms": 1e3 * s,
            "per_second": NUM_REPORTS / s,
            "ratio": slowest / s,
            "tokens": length,
            "equal_tokens": float((told[key] == first).float().mean()),
        }
        for key, s in seconds.items()
    ]


def sampling_rows(run: Run, device: torch.device, compiled: bool) -> dict[str, Sampling]:
    default = "euler" if run.recipe.diffusion.prediction_type == "flow" else "ddim"
    base, precision = Sampling(default, 50), "bfloat16" if device.type == "cuda" else "float32"
    fast = Sampling("unipc", 10, interval=(0.1, 0.9), precision=precision, compiled=compiled)
    rows = {
        "reference": replace(base, sdpa=False),
        f"{default}, 50 steps": base,
        "+ guidance interval": replace(base, interval=(0.1, 0.9)),
        "25 steps": replace(base, num_inference_steps=25),
        "dpm++, 20 steps": Sampling("dpm++", 20),
        "unipc, 20 steps": Sampling("unipc", 20),
        "dpm++, 10 steps": Sampling("dpm++", 10),
        "medcodi": fast,
    }
    return rows | ({"without torch.compile": replace(fast, compiled=False)} if compiled else {})


def untrained_pipeline(run: Run, device: torch.device) -> MedCoDiPipeline:
    family = run.family
    with seeded(0):
        components = {
            "encoder": dict(run.shared_space().encoders.items()),
            "autoencoder": {group: run.autoencoder(group) for group in family.groups},
            "diffusion": {
                name: family.build_diffusion(name, coupled=True).eval() for name in family.names
            },
            "environment": dict(family.build_environments().eval().items()),
        }
    pipe = MedCoDiPipeline.from_components(
        family, components, {name: family.objective.scheduler() for name in family.names}
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe.to(device)


def measure_sampling(
    run: Run, prompt: str, outputs: list[str], repeats: int, device: torch.device, compiled: bool
) -> Table:
    rows = sampling_rows(run, device, compiled)
    pipes = {False: untrained_pipeline(run, device)}
    if compiled:
        pipes[True] = untrained_pipeline(run, device).compile()
    schedulers, studies = (
        dict(pipes[False].schedulers),
        run.data("train", [prompt]).batch(range(NUM_SAMPLED)),
    )
    values = [study.values[prompt] for study in studies]

    def work(row: Sampling) -> None:
        pipe = pipes[row.compiled]
        pipe.schedulers = {
            name: build_solver(row.solver, scheduler) for name, scheduler in schedulers.items()
        }
        with attention(row.sdpa), autocast(row.precision, device):
            pipe(
                {prompt: values},
                outputs,
                row.num_inference_steps,
                row.guidance_scale,
                seeds=list(range(NUM_SAMPLED)),
                guidance_interval=dict.fromkeys(outputs, row.interval),
            )

    for row in rows.values():
        work(
            row if row.compiled else replace(row, num_inference_steps=2)
        )  # every shape is compiled here
    seconds = fastest(
        {key: lambda row=row: work(row) for key, row in rows.items()},
        repeats,
        device,
        warm_up=False,
    )
    return [
        {
            "row": key,
            "ms": 1e3 * seconds[key],
            "per_second": NUM_SAMPLED / seconds[key],
            "ratio": seconds["reference"] / seconds[key],
            "settings": asdict(row),
        }
        for key, row in rows.items()
    ]
