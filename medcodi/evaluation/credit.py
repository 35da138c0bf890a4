"""Which part of a pipeline does the work? Every route and joint setting of the phantom, measured
with the denoisers zeroed, with the cross-modal attention off, with what partners add to the mean
off, with each output attending to its own code, as CoDi's published code does it, and as trained.

What is left when the denoisers are zeroed comes from the autoencoders. Legend: N studies. Letters:
F frontal, L lateral, T report, table the row.
"""

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from medcodi.config_io import unknown_key
from medcodi.diffusion.denoisers.base import Denoiser, DenoiserInput
from medcodi.diffusion.ldm import LatentDiffusion
from medcodi.diffusion.objective import Objective
from medcodi.evaluation.context import EvaluationContext
from medcodi.evaluation.follow import SETTINGS, pair_figures, parse_route, route_figures
from medcodi.pipeline import MedCoDiPipeline
from medcodi.report.markdown import markdown_table

ZEROED, TRAINED = "networks zeroed", "as trained"
NO_ATTENTION, NO_PARTNER_MEAN = "attention off", "partner mean off"
OWN_CODES = "own codes (CoDi)"
VARIANTS = (ZEROED, NO_ATTENTION, NO_PARTNER_MEAN, OWN_CODES, TRAINED)
LETTERS = ("F", "L", "T", "table")


class ZeroDenoiser(Denoiser):
    """A denoiser that has learned nothing: its prediction is zero, shaped as the latents."""

    def __init__(self, like: nn.Module) -> None:
        super().__init__()
        # the pipeline asks for the dtype and the device of its parameters
        self.still = nn.Parameter(torch.zeros_like(next(like.parameters())), requires_grad=False)

    def add_coupling(self, environment_dim: int) -> None:
        """There is nothing to couple."""

    def coupling_parameters(self) -> list[nn.Parameter]:
        return []

    def predict(self, given: DenoiserInput) -> torch.Tensor:
        return torch.zeros_like(given.latents)


class OwnCodeDenoiser(Denoiser):
    """A denoiser whose cross-modal attention sees the environment code of its own latents in the
    place of the partners': outputs stand in one call and know nothing of each other
    (docs/architecture.md, published fault 1)."""

    def __init__(self, denoiser: Denoiser, environment: nn.Module, objective: Objective) -> None:
        super().__init__()
        self.denoiser, self.environment, self.objective = denoiser, environment, objective

    def add_coupling(self, environment_dim: int) -> None:
        self.denoiser.add_coupling(environment_dim)

    def coupling_parameters(self) -> list[nn.Parameter]:
        return self.denoiser.coupling_parameters()

    def predict(self, given: DenoiserInput) -> torch.Tensor:
        if given.coupling is None:
            return self.denoiser.predict(given)
        code = self.environment(given.latents, self.objective.noise_level(given.timesteps))
        seen = torch.ones(code.shape[:2], dtype=torch.bool, device=code.device)  # B, K
        return self.denoiser.predict(replace(given, coupling=code, coupling_mask=seen))


def switched(pipe: MedCoDiPipeline, variant: str) -> MedCoDiPipeline:
    """A copy of the pipeline with a part switched off; `pipe` stays as it is. ValueError for an
    unknown variant."""
    if variant not in VARIANTS:
        raise unknown_key(variant, VARIANTS, "the variants of a pipeline")
    if variant == TRAINED:
        return pipe
    changed = copy.deepcopy(pipe)
    for name, model in changed.diffusions.items():
        if variant == ZEROED:
            model.denoiser = ZeroDenoiser(model.denoiser)
            continue
        if variant == OWN_CODES and changed.environments is not None:
            environment = changed.environments[name]
            model.denoiser = OwnCodeDenoiser(model.denoiser, environment, model.objective)
        with torch.no_grad():  # either adds its output layer, which is zero from here on
            for parameter in _parameters(model, variant):
                parameter.zero_()
    return changed


def _parameters(model: LatentDiffusion, variant: str) -> list[nn.Parameter]:
    """What a variant zeroes of a model."""
    if variant == NO_ATTENTION:
        return model.denoiser.coupling_parameters()
    return [] if model.partner_mean is None else list(model.partner_mean.parameters())


class _Switched(EvaluationContext):
    """A context whose pipeline has a part switched off. Samples are kept apart from those of the
    trained one; the networks that read them are the same."""

    def __init__(self, context: EvaluationContext, variant: str) -> None:
        super().__init__(context.recipe, context.output, context.pipeline_dir)
        self.networks, made = context.networks, context.generations
        self.generations.pipeline = switched(made.pipeline, variant)
        suffix = "" if variant == TRAINED else f", {variant}"
        self.generations.model_hash = made.model_hash + suffix


def credit_rows(
    context: EvaluationContext, routes: Sequence[str], settings: Sequence[str]
) -> list[dict[str, Any]]:
    """One row a route and metric: {route, metric, n, ceiling, shuffled, VARIANT: {value,
    interval}}; joint settings likewise, with `pair` and `independent`, what calls of their own
    give. ValueError for a route or setting that is none."""
    for setting in settings:
        if setting not in SETTINGS:
            raise unknown_key(setting, SETTINGS, "the joint settings")
    parsed = {route: parse_route(route) for route in routes}
    rows: dict[tuple[str, ...], dict[str, Any]] = {}
    for variant in VARIANTS:
        own = _Switched(context, variant)
        studies = own.studies.held_out(LETTERS)
        for route, (prompts, output) in parsed.items():
            made = own.generations.samples(prompts, (output,), studies=studies)[output]
            for figure in route_figures(own, prompts, output, studies, made):
                row = rows.setdefault((route, figure["metric"]), _route_row(route, figure))
                row[variant] = {key: figure[key] for key in ("value", "interval")}
        for setting in settings:
            for figure in _joint_figures(own, setting):
                key = (setting, figure["pair"], figure["metric"])
                row = rows.setdefault(key, _joint_row(setting, figure))
                row[variant] = figure["joint"]
                if variant == TRAINED:
                    row["independent"] = figure["independent"]
    return list(rows.values())


def _joint_figures(context: EvaluationContext, setting: str) -> list[dict[str, Any]]:
    prompts, pairs = SETTINGS[setting]
    studies = context.studies.held_out(LETTERS)
    outputs = tuple(dict.fromkeys(letter for pair in pairs for letter in pair))
    joint, apart = (
        context.generations.samples(prompts, outputs, joint=joint, studies=studies)
        for joint in (True, False)
    )
    return [
        figure
        for pair in pairs
        for figure in pair_figures(context, setting, pair, studies, joint, apart)
    ]


def _route_row(route: str, figure: dict[str, Any]) -> dict[str, Any]:
    return {
        "route": route,
        "metric": figure["metric"],
        "n": figure["n"],
        "ceiling": figure["ceiling"],
        "shuffled": figure["floors"]["shuffled"],
    }


def _joint_row(setting: str, figure: dict[str, Any]) -> dict[str, Any]:
    return _route_row(f"{setting}, jointly", figure) | {"pair": figure["pair"]}


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a table of Markdown."""
    head = ("route", "figure", *VARIANTS, "independent", "shuffled", "real", "N")
    cells = []
    for row in rows:
        name = f"{row['pair']}: {row['metric']}" if "pair" in row else row["metric"]
        measured = [_shown(row.get(key)) for key in (*VARIANTS, "independent")]
        beside = [_number(row["shuffled"]), _number(row["ceiling"]), row["n"]]
        cells.append([row["route"], name, *measured, *beside])
    return markdown_table(head, cells) + "\n"


def _shown(figure: dict[str, Any] | None) -> str:
    if figure is None:
        return "-"
    low, high = figure["interval"]
    return f"{_number(figure['value'])} [{_number(low)}, {_number(high)}]"


def _number(value: float | None) -> str:
    return "-" if value is None or value != value else f"{value:.3f}"
