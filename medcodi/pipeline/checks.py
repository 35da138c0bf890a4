"""What a call of the pipeline is asked for, checked before anything is computed.

Legend: R prompt rows, N = R x num_images_per_prompt samples.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from medcodi.data.storage import Storage
from medcodi.modalities.base import Modality
from medcodi.modalities.family import ModelFamily
from medcodi.pipeline.arguments import (
    check_callback,
    check_finite,
    count,
    draw_seeds,
    in_order,
    known,
    noise_levels,
    number,
    shown,
)
from medcodi.pipeline.index import as_value_error
from medcodi.pipeline.keeping import (
    StoredParts,
    check_kept_outputs,
    check_names,
    check_parts,
    check_strength,
    equal_rows,
)
from medcodi.pipeline.labels import label_prompts

OUTPUT_TYPES = ("pil", "np", "pt", "latent")
MAX_GUIDANCE, MAX_SAMPLES = 100.0, 1_000_000
MAX_DRAWS = 50  # of one sample, with a privacy filter

Stored = dict[str, list[Any]]  # modality name -> R stored values, None where a row lacks it


@dataclass(frozen=True)
class Call:
    """A checked call. `guidance`, `intervals`, `coupling` and `latents` (N, *latent_shape) go by
    output, the last empty where noise is to be drawn from `seeds`."""

    prompts: Stored
    negative_prompts: Stored
    keep: StoredParts
    strength: dict[str, float]
    outputs: list[str]
    order: list[str]
    num_inference_steps: int
    guidance: dict[str, float]
    intervals: dict[str, Sequence[float]]
    coupling: dict[str, float]
    coupling_intervals: dict[str, Sequence[float]]
    prompt_weights: dict[str, float] | None
    prompt_index: list[int]
    seeds: list[int]
    latents: dict[str, torch.Tensor]
    batch_size: int
    eta: float
    output_type: str
    callback_tensors: tuple[str, ...]
    max_draws: int

    def batches(self) -> list[range]:
        """Rows of N, `batch_size` at a time."""
        total = len(self.seeds)
        starts = range(0, total, self.batch_size)
        return [range(start, min(start + self.batch_size, total)) for start in starts]

    def again(self, samples: Sequence[int], seeds: list[int]) -> "Call":
        """The call of some of its samples alone, a prompt row each, from other seeds."""
        rows = [self.prompt_index[i] for i in samples]
        chosen = lambda stored: {name: [v[row] for row in rows] for name, v in stored.items()}
        return replace(
            self,
            prompts=chosen(self.prompts),
            negative_prompts=chosen(self.negative_prompts),
            keep=chosen(self.keep),
            prompt_index=list(range(len(rows))),
            seeds=seeds,
        )


class CallChecker:
    """Checks the arguments of calls for the modalities `names` of a family. A ValueError says what
    was expected, what came and the valid names."""

    def __init__(self, family: ModelFamily, names: Sequence[str]) -> None:
        self.family, self.names = family, list(names)
        self.most = family.recipe.diffusion.num_train_timesteps

    def call(
        self,
        *,
        prompts: Any,
        labels: Any,
        negative_prompts: Any,
        keep: Any,
        strength: Any,
        outputs: Any,
        order: Any,
        num_inference_steps: Any,
        guidance_scale: Any,
        guidance_interval: Any,
        coupling_scale: Any,
        prompt_weights: Any,
        num_images_per_prompt: Any,
        generator: Any,
        seeds: Any,
        latents: Any,
        batch_size: Any,
        eta: Any,
        output_type: Any,
        callback: Any,
        callback_tensors: Any,
        max_draws: Any,
    ) -> Call:
        """The arguments of `MedCoDiPipeline.__call__`, checked."""
        each = count(num_images_per_prompt, "num_images_per_prompt", at_most=MAX_SAMPLES)
        stored = self.prompts(prompts, labels=labels)
        check_kept_outputs(check_names(keep, self.names), stored, self.names)
        names = self.outputs(outputs, stored)
        strengths = check_strength(strength, check_names(keep, self.names))
        parts = check_parts(keep, strengths, self.family, self.names)
        check_kept_outputs(parts, stored, names)
        rows = equal_rows({"prompt": stored, "keep": parts})
        total = count(rows * each, "the number of samples", at_most=MAX_SAMPLES)
        return Call(
            prompts=stored,
            negative_prompts=self.negative(negative_prompts, names, rows),
            keep=parts,
            strength=strengths,
            outputs=names,
            order=[] if order is None else in_order(order, names),
            num_inference_steps=count(
                num_inference_steps, "num_inference_steps", at_most=self.most
            ),
            guidance=self.scales("guidance_scale", guidance_scale, names),
            intervals=self.intervals("guidance_interval", guidance_interval, names),
            coupling=self.scales("coupling_scale", coupling_scale, names),
            coupling_intervals=self.intervals("coupling_interval", None, names),
            prompt_weights=self.weights(prompt_weights, stored),
            prompt_index=[row for row in range(rows) for _ in range(each)],
            seeds=draw_seeds(generator, seeds, total),
            latents=self.latents(latents, names, total),
            batch_size=count(batch_size, "batch_size"),
            eta=number(eta, "eta", 0, 1),
            output_type=known(output_type, OUTPUT_TYPES, "the values of output_type"),
            callback_tensors=check_callback(callback, callback_tensors),
            max_draws=count(MAX_DRAWS if max_draws is None else max_draws, "max_draws"),
        )

    def negative(self, prompts: Any, outputs: Sequence[str], rows: int) -> Stored:
        """Negative prompts, one for all rows or as many as there are."""
        stored = self.prompts(prompts, "negative_prompts")
        found = len(next(iter(stored.values()))) if stored else rows
        if found not in (1, rows):
            raise ValueError(f"negative_prompts must be one or {rows}, as the prompts; got {found}")
        both = sorted(set(stored) & set(outputs))
        if both:
            raise ValueError(f"{both} cannot be negative prompt and output at once")
        return {name: values * (rows // found) for name, values in stored.items()}

    def modality(self, name: Any) -> Modality:
        known(name, self.names, "the modalities of this pipeline")
        return self.family.modality(name)

    def prompts(self, prompts: Any, what: str = "prompts", labels: Any = None) -> Stored:
        """Prompts and labels as a call takes them -> R stored values a name."""
        checked = label_prompts(labels, self.family, self.names)
        for name, values in self._by_name(prompts, what).items():
            modality = self.modality(name)
            if name in checked:
                raise ValueError(f"labels are a prompt of {name!r} here, which is given already")
            try:
                with as_value_error(f"modality {name!r}: {what} of type {type(values).__name__}"):
                    checked[name] = modality.from_user(values)
            except ValueError as error:  # one line, whatever was shown in it
                raise ValueError(" ".join(str(error)[:1000].splitlines())) from error
        lengths = {name: len(values) for name, values in checked.items()}
        rows = max(lengths.values(), default=1)
        if any(n not in (1, rows) or n == 0 for n in lengths.values()):
            raise ValueError(
                f"{what} must have equal lengths, or one value for all rows; got {lengths}"
            )
        return {n: values * rows if len(values) == 1 else values for n, values in checked.items()}

    def _by_name(self, prompts: Any, what: str) -> Mapping[str, Any]:
        if prompts is None or isinstance(prompts, Mapping):
            return prompts or {}
        texts = [prompts] if isinstance(prompts, str) else prompts
        if isinstance(texts, (list, tuple)) and all(isinstance(t, str) for t in texts):
            storage = {name: self.family.modality(name).storage for name in self.names}
            readers = [name for name in self.names if storage[name] == Storage.TEXT]
            if len(readers) == 1:
                return {readers[0]: list(texts)}
            raise ValueError(
                f"{what}: a text alone needs one modality of texts, this pipeline has {readers}; "
                f"pass {{name: value}}, names: {', '.join(self.names)}"
            )
        raise ValueError(
            f"{what} must be {{name: value or list of values}} or a text, got "
            f"{type(prompts).__name__}; names: {', '.join(self.names)}"
        )

    def outputs(self, outputs: Any, prompts: Mapping[str, Any]) -> list[str]:
        """Names to generate, in the order of the family."""
        if isinstance(outputs, str):
            outputs = [outputs]
        outputs = [n for n in self.names if n not in prompts] if outputs is None else outputs
        if not isinstance(outputs, (list, tuple, set, frozenset)):
            raise ValueError(
                f"outputs must be a list of names, got {type(outputs).__name__} {shown(outputs)}; "
                f"names: {', '.join(self.names)}"
            )
        outputs = list(outputs)
        for name in outputs:
            self.modality(name)
        both = sorted(set(outputs) & set(prompts))
        if both:
            raise ValueError(f"{both} cannot be prompt and output at once")
        if not outputs or len(set(outputs)) < len(outputs):
            raise ValueError(f"outputs must name at least one modality, each once; got {outputs}")
        return [name for name in self.names if name in outputs]

    def scales(self, what: str, scale: Any, outputs: Sequence[str]) -> dict[str, float]:
        """A "guidance_scale" or "coupling_scale" an output: the recipe's where none is given."""
        default = {name: float(getattr(self.family.modality(name).args, what)) for name in outputs}
        if scale is None:
            return default
        given = scale if isinstance(scale, Mapping) else dict.fromkeys(outputs, scale)
        for name in given:
            known(name, outputs, f"{what} (outputs of this call)")
        return default | {
            name: number(value, what, -MAX_GUIDANCE, MAX_GUIDANCE) for name, value in given.items()
        }

    def intervals(
        self, what: str, interval: Any, outputs: Sequence[str]
    ) -> dict[str, Sequence[float]]:
        """Noise levels that are guided, by output; one that is not named takes the recipe's."""
        if interval is not None and not isinstance(interval, Mapping):
            raise ValueError(
                f"{what} must be {{name: (low, high) or None}}, got "
                f"{type(interval).__name__} {shown(interval)}"
            )
        merged = {name: getattr(self.family.modality(name).args, what) for name in outputs}
        for name, levels in (interval or {}).items():
            known(name, outputs, f"{what} (outputs of this call)")
            merged[name] = levels if levels is None else noise_levels(levels, name)
        return {name: levels for name, levels in merged.items() if levels is not None}

    def weights(self, weights: Any, prompts: Mapping[str, Any]) -> dict[str, float] | None:
        if weights is None:
            return None
        if self.family.recipe.diffusion.fusion != "mean":
            raise ValueError(
                "prompt_weights are the alpha of fusion 'mean'; this pipeline was trained with "
                "fusion 'tokens'"
            )
        if not isinstance(weights, Mapping):
            raise ValueError(f"prompt_weights must be {{name: weight}}, got {shown(weights)}")
        for name in weights:
            known(name, prompts, "prompt_weights (prompts of this call)")
        return {n: number(w, f"prompt_weights of {n!r}", 0, 1e6) for n, w in weights.items()}

    def latents(self, latents: Any, outputs: Sequence[str], count: int) -> dict[str, torch.Tensor]:
        """Noise (N, *latent_shape) of unit variance for the outputs that are named."""
        if latents is None:
            return {}
        if isinstance(latents, torch.Tensor):
            if len(outputs) > 1:
                raise ValueError(
                    f"latents of several outputs are a mapping of names {list(outputs)}, got one "
                    "tensor"
                )
            latents = {outputs[0]: latents}
        if not isinstance(latents, Mapping):
            raise ValueError(f"latents must be {{name: tensor}}, got {type(latents).__name__}")
        for name, value in latents.items():
            known(name, outputs, "latents (outputs of this call)")
            shape = (count, *self.family.latent_shape(self.family.modality(name).group))
            found = tuple(getattr(value, "shape", ())) or type(value).__name__
            if not isinstance(value, torch.Tensor) or found != shape:
                raise ValueError(f"latents of {name!r} must be a tensor {shape}, got {found}")
            check_finite({name: value}, "latents")
        return dict(latents)
