"""MedCoDiPipeline: from any subset of modalities (also none) to any other, jointly.

Legend: R prompt rows, N = R x num_images_per_prompt samples, B samples of a batch.
"""

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import SchedulerMixin
from torch import nn
from tqdm.auto import tqdm

from medcodi.config_io import unknown_key
from medcodi.diffusion.joint import JointModel, Prompts
from medcodi.diffusion.ldm import LatentDiffusion
from medcodi.diffusion.sampler import joint_sample
from medcodi.encoders.base import PromptEncoding
from medcodi.modalities.family import ModelFamily
from medcodi.nn.blocks import compile_blocks
from medcodi.nn.rows import spread
from medcodi.nn.seeding import derive_generator
from medcodi.pipeline.memory import memory_advice
from medcodi.pipeline.output import MedCoDiOutput
from medcodi.pipeline.storage import (
    family_of,
    load_components,
    load_index,
    model_hash,
    save_components,
)

Callback = Callable[
    ["MedCoDiPipeline", int, int, dict[str, torch.Tensor]], dict[str, torch.Tensor] | None
]


class MedCoDiPipeline:
    """A trained family, ready to generate.

        pipe = MedCoDiPipeline.from_pretrained("runs/phantom_tiny/pipeline")
        out = pipe(prompts={"report": ["Large left pleural effusion."]}, outputs=["frontal",
        "tabular"])

    `schedulers[name]` may be replaced by any diffusers scheduler of the same family, as in
    `pipe.schedulers["frontal"] =
    UniPCMultistepScheduler.from_config(pipe.schedulers["frontal"].config)`.
    """

    def __init__(
        self,
        family: ModelFamily,
        components: dict[str, dict[str, nn.Module]],
        schedulers: dict[str, SchedulerMixin],
        model_hash: str = "unsaved",
    ) -> None:
        self.family, self.schedulers, self.model_hash = family, schedulers, model_hash
        self.encoders, self.autoencoders = components["encoder"], components["autoencoder"]
        self.diffusions: dict[str, LatentDiffusion] = components["diffusion"]
        self.environments = (
            nn.ModuleDict(components["environment"]) if components["environment"] else None
        )
        self._progress: dict[str, Any] = {}

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        modalities: Sequence[str] | None = None,
        torch_dtype: torch.dtype | None = None,
    ) -> "MedCoDiPipeline":
        """Load what `save_pretrained` wrote; `modalities` loads a part. FileNotFoundError,
        ValueError (strict load)."""
        folder = Path(folder)
        index = load_index(folder)
        family = family_of(index)
        names = [family.modality(name).name for name in modalities or family.names]
        pipe = cls(family, *load_components(folder, index, family, names), model_hash(index))
        return pipe if torch_dtype is None else pipe.to(dtype=torch_dtype)

    def save_pretrained(self, folder: str | Path) -> None:
        save_components(Path(folder), self.family, self.components, self.schedulers)
        self.model_hash = model_hash(load_index(Path(folder)))

    @property
    def components(self) -> dict[str, dict[str, nn.Module]]:
        environments = dict(self.environments.items()) if self.environments is not None else {}
        return {
            "encoder": self.encoders,
            "autoencoder": self.autoencoders,
            "diffusion": self.diffusions,
            "environment": environments,
        }

    @property
    def modalities(self) -> list[str]:
        """Names that can be prompts and outputs."""
        return list(self.diffusions)

    @property
    def device(self) -> torch.device:
        return next(next(iter(self.diffusions.values())).parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(next(iter(self.diffusions.values())).parameters()).dtype

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> "MedCoDiPipeline":
        """Move to a device; `dtype` is for the diffusion networks, encoders and autoencoders stay
        in float32."""
        for kind, modules in self.components.items():
            for module in modules.values():
                module.to(
                    device=device, dtype=dtype if kind in ("diffusion", "environment") else None
                )
        return self

    def compile(self) -> "MedCoDiPipeline":
        """torch.compile of the denoisers' blocks, at the first call of each shape; results differ
        by rounding."""
        for model in self.diffusions.values():
            compile_blocks(model.denoiser)
        return self

    def set_progress_bar_config(self, **kwargs: Any) -> None:
        """Keyword arguments of tqdm, such as `disable=True`."""
        self._progress = kwargs

    @torch.no_grad()
    def __call__(
        self,
        prompts: dict[str, Any] | None = None,
        outputs: Sequence[str] | None = None,
        num_inference_steps: int = 25,
        guidance_scale: float | dict[str, float] | None = None,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        num_images_per_prompt: int = 1,
        prompt_weights: dict[str, float] | None = None,
        coupled: bool = True,
        condition_on_latents: bool = True,
        batch_size: int = 32,
        callback_on_step_end: Callback | None = None,
        seeds: Sequence[int] | None = None,
        guidance_interval: dict[str, Sequence[float] | None] | None = None,
    ) -> MedCoDiOutput:
        """Generate.

        Args:
            prompts: name -> value or list of R values (None = this row lacks it). {} or None is
            unconditional.
            outputs: names to generate, disjoint from the prompts; default: every other modality.
            guidance_scale: one number or one a name (default: the recipe's); 1 is the plain
            conditional pass.
            generator: one generator seeds every sample in order; a list gives one a sample. Sample
                i does not depend on the batch size or on the other samples.
            num_images_per_prompt: samples for each prompt row.
            prompt_weights: alpha of the prompts with fusion mean.
            coupled: False generates the outputs independently (no cross-modal attention between
            them).
            condition_on_latents: given values also condition through the coupling, with their full
                latent at noise level 0 (needs stage 3).
            seeds: one a sample instead of `generator`: `out.seeds[i]` regenerates sample i.
            callback_on_step_end: `callback(pipe, step, num_steps, latents)` may return changed
            latents.
            guidance_interval: name -> noise levels [low, high] in [0, 1] that are guided, or None
                for all of them. An output that is not named, and None for the whole argument, take
                the recipe's.

        Returns:
            MedCoDiOutput with N samples, those of a prompt row side by side. Raises ValueError,
            TooLittleMemoryError.
        """
        counts = {
            "num_inference_steps": num_inference_steps,
            "num_images_per_prompt": num_images_per_prompt,
            "batch_size": batch_size,
        }
        for setting, count in counts.items():
            if count < 1:
                raise ValueError(f"{setting} must be at least 1, got {count}")
        prompts = self.check_prompts(prompts or {})
        self._check_weights(prompt_weights, prompts)
        outputs = self.check_outputs(outputs, prompts)
        guidance = self._check_guidance(guidance_scale, outputs)
        intervals = self._check_interval(guidance_interval or {}, outputs)
        num_rows = len(next(iter(prompts.values()))) if prompts else 1
        prompt_index = [row for row in range(num_rows) for _ in range(num_images_per_prompt)]
        seeds = self.draw_seeds(generator, seeds, len(prompt_index))
        with memory_advice(outputs, batch_size, self.dtype):
            encoded = self.encode_prompts(prompts, condition_on_latents and coupled)
            encoded.weights = prompt_weights
            parts: list[dict[str, torch.Tensor]] = []
            starts = range(0, len(seeds), batch_size)
            with tqdm(total=len(starts) * num_inference_steps, **self._progress) as bar:
                for start in starts:
                    rows = torch.tensor(
                        prompt_index[start : start + batch_size], device=self.device
                    )
                    parts.append(
                        self._sample(
                            outputs,
                            seeds[start : start + batch_size],
                            encoded[rows],
                            guidance,
                            num_inference_steps,
                            coupled,
                            bar,
                            callback_on_step_end,
                            intervals,
                        )
                    )
            joined = {name: torch.cat([part[name].float() for part in parts]) for name in outputs}
            batches = {
                name: self._decode(name, joined[name], seeds, batch_size) for name in outputs
            }
        values = {
            name: self.family.modality(name).to_user(batch) for name, batch in batches.items()
        }
        return MedCoDiOutput(values, joined, seeds, prompt_index, batches)

    def _sample(
        self,
        outputs: list[str],
        seeds: list[int],
        given: Prompts,
        guidance: dict[str, float],
        num_inference_steps: int,
        coupled: bool,
        bar: tqdm,
        callback: Callback | None,
        intervals: dict[str, Sequence[float]],
    ) -> dict[str, torch.Tensor]:
        noise = {}
        for name in outputs:
            shape = self.family.latent_shape(self.family.modality(name).group)
            drawn = [torch.randn(shape, generator=derive_generator(seed, name)) for seed in seeds]
            noise[name] = torch.stack(drawn).to(self.device, self.dtype)

        def on_step(step: int, latents: dict[str, torch.Tensor]) -> dict[str, torch.Tensor] | None:
            bar.update()
            return callback(self, step, num_inference_steps, latents) if callback else None

        return joint_sample(
            JointModel(
                {name: self.diffusions[name] for name in outputs},
                self.environments if coupled else None,
                self.family.objective,
            ),
            {name: copy.deepcopy(self.schedulers[name]) for name in outputs},
            noise,
            given,
            guidance,
            num_inference_steps,
            on_step,
            intervals,
        )

    def _decode(self, name: str, latents: torch.Tensor, seeds: list[int], batch_size: int) -> Any:
        modality = self.family.modality(name)
        autoencoder = self.autoencoders[modality.group]
        batches = []
        for start in range(0, len(latents), batch_size):
            generators = [
                derive_generator(seed, name, "decode") for seed in seeds[start : start + batch_size]
            ]
            batches.append(
                modality.decode(autoencoder, latents[start : start + batch_size], generators)
            )
        return modality.concat(batches)

    def encode_prompt(self, name: str, values: Any) -> PromptEncoding:
        """Prompt encoding of user values (R of them), for similarity in the shared space."""
        modality = self._modality(name)
        stored = [v for v in modality.from_user(values) if v is not None]
        batch = modality.collate(stored)
        return self.encoders[modality.group](
            batch.to(self.device) if isinstance(batch, torch.Tensor) else batch
        )

    def encode_prompts(self, prompts: dict[str, list[Any]], with_latents: bool = False) -> Prompts:
        """Encodings of stored values, R a name; rows that lack one (None) hold zeros and are
        masked. `with_latents`: they also condition through the coupling."""
        encoded = Prompts()
        for name, stored in prompts.items():
            modality = self._modality(name)
            given = torch.tensor([v is not None for v in stored], device=self.device)  # (R,)
            if not given.any():
                continue
            batch = modality.collate([v for v in stored if v is not None])
            batch = batch.to(self.device) if isinstance(batch, torch.Tensor) else batch
            encoding = self.encoders[modality.group](batch)
            encoded.given[name] = given
            as_clean = with_latents and self.environments is not None
            if as_clean or self.family.recipe.diffusion.prompt_latents:
                encoding.latents = self.autoencoders[modality.group].encode(batch)
            encoding = encoding.map(lambda x, given=given: spread(x, given))
            encoding = encoding.map(lambda x: x if x.dtype == torch.bool else x.to(self.dtype))
            encoded.encodings[name] = encoding
            if as_clean:
                encoded.clean[name] = encoding.latents
        return encoded

    def _modality(self, name: str) -> Any:
        if name not in self.diffusions:
            raise unknown_key(name, self.diffusions, "the modalities of this pipeline")
        return self.family.modality(name)

    def check_prompts(self, prompts: dict[str, Any]) -> dict[str, list[Any]]:
        """Prompts as a call takes them -> R stored values a name (None where a row lacks it), or
        ValueError."""
        checked = {name: self._modality(name).from_user(values) for name, values in prompts.items()}
        lengths = {name: len(values) for name, values in checked.items()}
        rows = max(lengths.values(), default=1)
        if any(n not in (1, rows) or n == 0 for n in lengths.values()):
            raise ValueError(
                f"prompts must have equal lengths, or one value for all rows; got {lengths}"
            )
        return {
            name: values * rows if len(values) == 1 else values for name, values in checked.items()
        }

    def check_outputs(self, outputs: Sequence[str] | None, prompts: dict[str, Any]) -> list[str]:
        """Names to generate, in the order of the family, or ValueError."""
        if isinstance(outputs, str):
            outputs = [outputs]
        outputs = (
            list(outputs)
            if outputs is not None
            else [n for n in self.modalities if n not in prompts]
        )
        for name in outputs:
            self._modality(name)
        both = sorted(set(outputs) & set(prompts))
        if both:
            raise ValueError(f"{both} cannot be prompt and output at once")
        if not outputs or len(set(outputs)) < len(outputs):
            raise ValueError(f"outputs must name at least one modality, each once; got {outputs}")
        return [name for name in self.modalities if name in outputs]

    def _check_guidance(
        self, scale: float | dict[str, float] | None, outputs: list[str]
    ) -> dict[str, float]:
        default = {name: float(self.family.modality(name).args.guidance_scale) for name in outputs}
        if scale is None:
            return default
        if isinstance(scale, dict):
            for name in scale:
                if name not in outputs:
                    raise unknown_key(name, outputs, "guidance_scale (outputs of this call)")
            return default | {name: float(value) for name, value in scale.items()}
        return dict.fromkeys(outputs, float(scale))

    def _check_interval(
        self, interval: dict[str, Any], outputs: list[str]
    ) -> dict[str, Sequence[float]]:
        for name in interval:
            if name not in outputs:
                raise unknown_key(name, outputs, "guidance_interval (outputs of this call)")
        merged = {
            name: self.family.modality(name).args.guidance_interval for name in outputs
        } | interval
        return {name: value for name, value in merged.items() if value is not None}

    def _check_weights(self, weights: dict[str, float] | None, prompts: dict[str, Any]) -> None:
        if weights is None:
            return
        if self.family.recipe.diffusion.fusion != "mean":
            raise ValueError(
                "prompt_weights are the alpha of fusion 'mean'; this pipeline was trained with "
                "fusion 'tokens'"
            )
        for name in weights:
            if name not in prompts:
                raise unknown_key(name, prompts, "prompt_weights (prompts of this call)")

    @staticmethod
    def draw_seeds(
        generator: torch.Generator | Sequence[torch.Generator] | None,
        seeds: Sequence[int] | None,
        count: int,
    ) -> list[int]:
        """One seed a sample."""
        if seeds is not None:
            if generator is not None or len(seeds) != count:
                raise ValueError(
                    f"expected {count} seeds and no generator, got {len(seeds)} seeds, {generator=}"
                )
            return [int(seed) for seed in seeds]
        if isinstance(generator, Sequence):
            if len(generator) != count:
                raise ValueError(f"expected {count} generators, one a sample, got {len(generator)}")
            return [
                int(torch.randint(2**62, (1,), generator=g, device=g.device)) for g in generator
            ]
        device = generator.device if generator is not None else "cpu"
        return torch.randint(2**62, (count,), generator=generator, device=device).tolist()
