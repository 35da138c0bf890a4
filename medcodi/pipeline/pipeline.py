"""MedCoDiPipeline: from any subset of modalities (also none) to any other, jointly. `__call__` and
`_run` are long: arguments are explained where they stand, the denoising loop reads in one piece.
Legend: R prompt rows, N = R x num_images_per_prompt samples, B samples of a batch.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from diffusers import DiffusionPipeline, SchedulerMixin

from medcodi.diffusion.joint import JointModel, Prompts
from medcodi.diffusion.ldm import LatentDiffusion
from medcodi.encoders.base import PromptEncoding
from medcodi.modalities.base import Modality
from medcodi.nn.blocks import compile_blocks
from medcodi.pipeline import arguments
from medcodi.pipeline.arguments import CALLBACK_TENSORS, changed_latents, check_finite, flag
from medcodi.pipeline.checks import Call, CallChecker, Stored
from medcodi.pipeline.decoding import decoded
from medcodi.pipeline.denoising import (
    fitted_schedulers,
    kept_of,
    kinds_needed,
    predictions_of,
    solvers_of,
    start_of,
)
from medcodi.pipeline.encoding import PromptReader
from medcodi.pipeline.folders import Folders
from medcodi.pipeline.idle import tell_idle, what_is_seen
from medcodi.pipeline.memory import memory_advice
from medcodi.pipeline.networks import FamilyNetworks, module_dict
from medcodi.pipeline.order import InOrder
from medcodi.pipeline.output import MedCoDiOutput
from medcodi.pipeline.placement import Placement
from medcodi.pipeline.private import Privacy, Redrawing, checked_privacy
from medcodi.pipeline.solvers import fit_scheduler
from medcodi.pipeline.storage import Components

Latents = dict[str, torch.Tensor]
Callback = Callable[["MedCoDiPipeline", int, torch.Tensor, dict[str, Any]], dict[str, Any] | None]


class MedCoDiPipeline(Folders, Placement, DiffusionPipeline):
    """A trained family, ready to generate.

        pipe = MedCoDiPipeline.from_pretrained("phantom")
        out = pipe("Large left pleural effusion.", outputs=["frontal", "tabular"])
        out.frontal[0]

    Schedulers swap as in diffusers: one for all outputs, or one for one output. A scheduler that
    cannot follow the model is refused at the call, see `solvers.py`.

        pipe.scheduler = UniPCMultistepScheduler.from_config(pipe.scheduler.config)
        pipe.schedulers["frontal"] = DPMSolverMultistepScheduler()
    """

    _callback_tensor_inputs: ClassVar[list[str]] = list(CALLBACK_TENSORS)

    def __init__(self, networks: FamilyNetworks) -> None:
        super().__init__()
        self.register_modules(networks=networks)
        self.family, self.schedulers = networks.family, networks.schedulers
        self.model_hash, self.facts = networks.model_hash, networks.facts
        self.encoders = networks.components["encoder"]
        self.autoencoders = networks.components["autoencoder"]
        self.diffusions: dict[str, LatentDiffusion] = networks.components["diffusion"]
        self.environments = module_dict(networks.components["environment"])
        self.checker = CallChecker(self.family, list(self.diffusions))
        self._interrupt, self._num_timesteps = False, 0

    @property
    def components(self) -> Components:
        """kind -> name -> network"""
        return self.networks.components

    @property
    def modalities(self) -> list[str]:
        """Names that can be prompts and outputs."""
        return list(self.diffusions)

    @property
    def scheduler(self) -> SchedulerMixin:
        """The first output's scheduler; assigning one sets it for every output."""
        return next(iter(self.schedulers.values()))

    @scheduler.setter
    def scheduler(self, scheduler: SchedulerMixin) -> None:
        fit_scheduler(scheduler, self.family.objective.scheduler())
        for name in self.schedulers:
            self.schedulers[name] = copy.deepcopy(scheduler)

    @property
    def num_timesteps(self) -> int:
        """Steps of the last call."""
        return self._num_timesteps

    @property
    def interrupt(self) -> bool:
        """A callback sets `pipe._interrupt = True`: the call ends after this step."""
        return self._interrupt

    def compile(self) -> "MedCoDiPipeline":
        """torch.compile of the denoisers' blocks, at the first call of each shape; results differ
        by rounding."""
        for model in self.diffusions.values():
            compile_blocks(model.denoiser)
        return self

    @torch.no_grad()
    def __call__(
        self,
        prompts: dict[str, Any] | str | Sequence[str] | None = None,
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
        negative_prompts: dict[str, Any] | str | Sequence[str] | None = None,
        latents: dict[str, torch.Tensor] | torch.Tensor | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
        eta: float = 0.0,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
        keep: dict[str, Any] | None = None,
        strength: float | dict[str, float] | None = None,
        privacy: Privacy | None = None,
        max_draws: int | None = None,
        coupling_scale: float | dict[str, float] | None = None,
        order: Sequence[str] | None = None,
        labels: str | Sequence[str] | None = None,
    ) -> MedCoDiOutput | tuple[Any, ...]:
        """Generate.

        Args:
            prompts: name -> value or list of R values (None = this row lacks it); a text, or a list
                of texts, is the prompt of the one modality of texts. {} and None: unconditional.
                What a value may be, say the modalities; pictures: data/user_images.py.
            outputs: names to generate, disjoint from the prompts; default: every other modality.
            guidance_scale: one number or one a name (default: the recipe's); 1 is the plain
                conditional pass.
            generator: one generator seeds every sample in order; a list gives one a sample. Sample
                i does not depend on the other samples; in a batch of another size it differs by
                rounding (with batch_size=1 it is the same to the bit, whatever it stands beside).
            num_images_per_prompt: samples for each prompt row.
            prompt_weights: alpha of the prompts with fusion mean.
            coupled: False generates the outputs independently, without cross-modal attention.
            condition_on_latents: given values also condition through the coupling, with their full
                latent at noise level 0 (needs stage 3).
            callback_on_step_end: `callback(pipe, step, timestep, tensors)` after every step;
                `tensors` are those of `callback_on_step_end_tensor_inputs`, each name -> tensor,
                `timestep` is that of the first output. May return {"latents": ...}, changed.
            seeds: one a sample instead of `generator`: `out.seeds[i]` regenerates sample i.
            guidance_interval: name -> noise levels [low, high] in [0, 1] that are guided, or None
                for all of them; what is not named takes the recipe's.
            negative_prompts: as `prompts`, or one row for all: what guidance leads away from.
            latents: noise (N, *latent_shape) of unit variance to begin with, name -> tensor.
            output_type: "pil" (pictures as PIL images), "np" (N, H, W, 1) and "pt" (N, 1, H, W) in
                [0, 1], or "latent"; texts and rows stay what they are except with "latent".
            return_dict: False returns the values alone, as a tuple in the order of the outputs.
            eta: of DDIM schedulers, 0 deterministic, 1 as noisy as DDPM.
            keep: output -> part that is kept while the rest is generated, or R of them (None:
                nothing): (image, mask), white is generated; columns; a text with a gap "...".
            strength: kept output -> share of the noise schedule, in (0, 1], that the value is
                varied by as a whole (SDEdit); with a mask, inside it.
            privacy: a filter (`medcodi.privacy.filter.PrivacyFilter`): a sample that it refuses is
                drawn again, up to `max_draws` times (50); `out.refused[i]` says why.
            coupling_scale: how strongly outputs follow each other; 1: as stage 3 trained it.
            order: every output once: they are made one after the other, prompted by those before.
            labels: "Edema, no effusion", or R of them, as prompts: pipeline/labels.py.

        Returns:
            MedCoDiOutput with N samples, those of a prompt row side by side. Raises ValueError,
            TooLittleMemoryError, NothingAcceptedError.
        """
        # 1. What is asked for
        as_dict = flag(return_dict, "return_dict")
        call = self.checker.call(
            prompts=prompts,
            labels=labels,
            negative_prompts=negative_prompts,
            keep=keep,
            strength=strength,
            outputs=outputs,
            order=order,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            guidance_interval=guidance_interval,
            coupling_scale=coupling_scale,
            prompt_weights=prompt_weights,
            num_images_per_prompt=num_images_per_prompt,
            generator=generator,
            seeds=seeds,
            latents=latents,
            batch_size=batch_size,
            eta=eta,
            output_type=output_type,
            callback=callback_on_step_end,
            callback_tensors=callback_on_step_end_tensor_inputs,
            max_draws=max_draws,
        )
        see = what_is_seen(call, coupled, condition_on_latents, coupling_scale, self.environments)
        tell_idle(call, guidance_scale, guidance_interval, max_draws, privacy)
        run = lambda part: self._run(part, *see, callback_on_step_end)
        run = InOrder(run, self.family) if call.order else run
        if privacy is not None:
            run = Redrawing(run, privacy, self.check_privacy(privacy, call.outputs))
        out = run(call)
        return out if as_dict else out.to_tuple()

    def _run(
        self, call: Call, coupled: bool, condition_on_latents: bool, callback: Callback | None
    ) -> MedCoDiOutput:
        """The samples of a checked call."""
        schedulers, num_steps = fitted_schedulers(
            call, self.schedulers, self.family.objective.scheduler()
        )
        models = {name: self.diffusions[name] for name in call.outputs}
        joint = JointModel(models, self.environments if coupled else None, self.family.objective)
        self._interrupt, self._num_timesteps, parts = False, num_steps, []
        with memory_advice(call.outputs, call.batch_size, self.dtype):
            # 2. Encode the prompts
            with self.placed("encoder", "autoencoder"):
                clean = condition_on_latents and coupled
                given = self.encode_prompts(call.prompts, clean, call.batch_size)
                given.weights = call.prompt_weights
                negative = self.encode_prompts(call.negative_prompts, False, call.batch_size)
                kept = kept_of(call, self.family, self.autoencoders, schedulers)
            # 3. Denoise: all outputs step together, a batch of samples after the other
            total = num_steps * len(call.batches())
            with self.placed(*kinds_needed(kept)), self.progress_bar(total=total) as bar:
                for rows in call.batches():
                    of_row = torch.tensor([call.prompt_index[i] for i in rows], device=self.device)
                    predict = predictions_of(call, joint, given, negative, kept, of_row)
                    solvers = solvers_of(call, schedulers, rows)
                    z = start_of(call, self.family, solvers, rows, self.device, self.dtype)
                    for step in range(num_steps):
                        t = {name: solver.timesteps[step] for name, solver in solvers.items()}
                        # what the denoisers see of z_t, and their prediction, joint and guided
                        seen = {n: s.model_input(z[n], t[n]) for n, s in solvers.items()}
                        predictions = predict(seen, t)
                        # z_t -> z_s, each output along its own schedule
                        z = {n: s.step(predictions[n], t[n], z[n]) for n, s in solvers.items()}
                        if callback is not None:
                            state = {"latents": z, "timesteps": t, "predictions": predictions}
                            told = {name: state[name] for name in call.callback_tensors}
                            answer = callback(self, step, t[call.outputs[0]], told)
                            z = changed_latents(answer, z, told)
                        bar.update()
                        if self.interrupt:
                            break
                    check_finite(z, "latents")
                    parts.append(z)
                    if self.interrupt:
                        break
            # 4. Decode
            with self.placed("autoencoder"):
                return decoded(call, parts, self.family, self.autoencoders, self._interrupt)

    def encode_prompt(self, name: str, values: Any) -> PromptEncoding:
        """Prompt encoding of user values (R of them), for similarity in the shared space."""
        (stored,) = self.check_prompts({self.checker.modality(name).name: values}).values()
        with torch.no_grad(), self.placed("encoder"):
            return self._reader().encoding(name, [v for v in stored if v is not None], False)

    def encode_prompts(
        self, prompts: Stored, with_latents: bool = False, batch_size: int = 32
    ) -> Prompts:
        """Encodings of stored values, R a name; rows that lack one (None) hold zeros and are
        masked. `with_latents`: they also condition through the coupling."""
        clean = with_latents and self.environments is not None
        return self._reader().read(prompts, clean, batch_size)

    def _reader(self) -> PromptReader:
        return PromptReader(self.family, self.encoders, self.autoencoders, self.device, self.dtype)

    def check_prompts(self, prompts: Any, labels: Any = None) -> Stored:
        """Prompts and labels as a call takes them -> R stored values a name (None where a row lacks
        it), or ValueError."""
        return self.checker.prompts(prompts, labels=labels)

    def check_outputs(self, outputs: Any, prompts: Any) -> list[str]:
        """Names to generate, in the order of the family, or ValueError."""
        return self.checker.outputs(outputs, prompts)

    def check_privacy(self, privacy: Any, outputs: Sequence[str]) -> dict[str, Modality]:
        """The modalities of `outputs` where the filter can judge them, or ValueError."""
        modalities = {name: self.family.modality(name) for name in outputs}
        return checked_privacy(privacy, modalities, self.facts.data_hash)

    draw_seeds = staticmethod(arguments.draw_seeds)
