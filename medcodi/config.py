"""The schema of a recipe: one YAML file describes a whole model family and its stages.

`config_io.py` reads it: dataclass < YAML < dotted override.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class DataConfig:
    """Where studies come from. `prepared` is a folder written by `medcodi prepare`. Where
    it is not there, `phantom` (arguments of `medcodi prepare phantom`) is rendered to it."""

    prepared: str = ""
    phantom: dict[str, Any] | None = None
    num_workers: int = 0
    cache_batch: int = 64  # rows that the frozen networks encode at once; less needs less memory
    prefetch: int = 0  # micro-batches that a thread keeps ready, on a GPU in page-locked memory


@dataclass
class SharedSpaceConfig:
    """Stage 1: the shared latent space (MedCoDi-M section 2.1)."""

    embed_dim: int = 64
    bridging_pairs: list[list[str]] = field(default_factory=list)
    loss: str = "infonce"  # infonce | sigmoid
    identical_are_positive: bool = True


@dataclass
class DiffusionConfig:
    """Stages 2 and 3: what denoisers predict and how prompts become context (sections 2.2, 2.3)."""

    prediction_type: str = "v_prediction"  # epsilon | v_prediction | flow
    beta_schedule: str = "scaled_linear"
    beta_start: float = 0.00085
    beta_end: float = 0.012
    num_train_timesteps: int = 1000
    loss_weighting: str = "none"  # none | min_snr
    timestep_sampling: str = "uniform"  # uniform | logit_normal
    shift: float = 1.0  # flow: above 1, training and sampling take more steps at high noise
    fusion: str = "tokens"  # mean (the paper) | tokens (ours)
    multi_prompt: bool = True
    # fusion tokens: a prompt also conditions with the latents of its autoencoder
    prompt_latents: bool = False
    prompt_mean: bool = False  # a network gives the denoiser E[z_0 | prompts], a regression on z_0
    prompt_mean_share: float = 0.1  # of the steps of stage 2, the first: they train the mean alone
    partner_mean: bool = False  # stage 3: a network adds what partners say to the prompt mean
    context_dim: int = 64
    null_prompt_probability: float = 0.1
    environment_dim: int = 64
    independent_timestep_probability: float = 0.3
    clean_probability: float = 0.3
    environment_contrast_weight: float = 0.0
    environment_contrast_temperature: float = 0.1

    def __post_init__(self) -> None:
        if self.partner_mean and not self.prompt_mean:
            raise ValueError("diffusion.partner_mean adds to the prompt mean: it needs prompt_mean")


@dataclass
class OptimConfig:
    """Linear warm-up and cosine decay to `min_lr_ratio * lr`. `name` is "adamw", or "muon"
    (training/optimizer.py; one process or DDP)."""

    name: str = "adamw"
    lr: float = 1e-3
    weight_decay: float = 0.01
    betas: list[float] = field(default_factory=lambda: [0.9, 0.99])
    warmup_steps: int = 50
    min_lr_ratio: float = 0.05
    max_grad_norm: float = 1.0


@dataclass
class DPConfig:
    """Differential privacy of a stage (training/dp/): `delta` and either `epsilon`, from which the
    noise follows, or `noise_multiplier`. `unit` is whose addition or removal the guarantee is
    about; the gradient of a unit is clipped to `max_grad_norm`, in place of `optim.max_grad_norm`.
    """

    delta: float
    epsilon: float | None = None
    noise_multiplier: float | None = None
    max_grad_norm: float = 1.0
    unit: str = "patient"  # patient | sample (one study)
    accountant: str = "prv"  # prv | rdp

    def __post_init__(self) -> None:
        if (self.epsilon is None) == (self.noise_multiplier is None):
            raise ValueError("dp: give either epsilon or noise_multiplier")
        if not 0 < self.delta < 1:
            raise ValueError(f"dp.delta must lie between 0 and 1, got {self.delta}")
        for name in ("epsilon", "noise_multiplier", "max_grad_norm"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"dp.{name} must be above 0, got {value}")
        for name, valid in (("unit", ("patient", "sample")), ("accountant", ("prv", "rdp"))):
            if getattr(self, name) not in valid:
                raise ValueError(
                    f"dp.{name} must be {' or '.join(valid)}, got {getattr(self, name)!r}"
                )


LEAST = {
    "batch_size": 1,
    "gradient_accumulation_steps": 1,
    "log_every": 1,
    "checkpoint_every": 1,
    "checkpoints_kept": 1,
    "num_steps": 0,
    "validate_every": 0,
    "validation_batches": 0,
    "preview_every": 0,
}


PRECISIONS = ("no", "bf16", "auto")  # what they mean: nn/precision.py


@dataclass
class StageConfig:
    """One stage of training. `batch_size` is the GLOBAL batch: processes x accumulation x
    micro-batch."""

    modality: str | None = None
    num_steps: int = 100
    batch_size: int = 16
    gradient_accumulation_steps: int = 1
    mixed_precision: str = "no"  # PRECISIONS (fp16 would need its loss scaler in the checkpoints)
    optim: OptimConfig = field(default_factory=OptimConfig)
    channels_last: bool = False
    compile: bool = False  # torch.compile of the networks' repeated blocks
    gradient_checkpointing: bool = False
    ema_decay: float = 0.0
    dp: DPConfig | None = None  # differential privacy, of stage 2
    log_every: int = 20
    validate_every: int = 0  # 0: never
    validation_batches: int = 4
    # at the end of stage 2 and 3: losses by prompts and by partners on all validation rows, paired
    paired_validation: bool = False
    preview_every: int = 0  # 0: never
    checkpoint_every: int = 200
    checkpoints_kept: int = 2
    per_modality: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, least in LEAST.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if self.mixed_precision not in PRECISIONS:
            told = f"must be no, bf16 or auto, got {self.mixed_precision!r}"
            raise ValueError(f"mixed_precision {told}")


@dataclass
class EvaluationConfig:
    """What `eval/run.py` measures with. `names` says which modality is the papers' F, L, T and the
    table row; `labels` makes findings of table columns, name -> {column, positive: [values],
    negative: [values]} (negative: every other value), where there is no truth and reports shall not
    be read; `backbones` are {name, kind, file, sha256, ...} of `metrics/backbones.py`; `samples`
    are folders of another system's outputs by route, such as F>T, which are measured instead of
    generated ones (`evaluation/samples.py`); `subgroups` are columns of the table, with the edges
    of bands for a number (`evaluation/subgroups.py`; None: sex, age, projection where they are);
    `tables` holds options of single tables by id."""

    num_studies: int = 96
    num_training_studies: int = 1600
    num_inference_steps: int = 15
    batch_size: int = 16
    num_resamples: int = 500
    network_steps: int = 250
    seed: int = 0
    vocabulary: str = "chexpert"
    names: dict[str, str] = field(
        default_factory=lambda: {"F": "frontal", "L": "lateral", "T": "report", "table": "tabular"}
    )
    labels: dict[str, Any] = field(default_factory=dict)
    backbones: list[Any] = field(default_factory=list)
    samples: dict[str, str] = field(default_factory=dict)
    subgroups: dict[str, Any] | None = None
    tables: dict[str, Any] = field(default_factory=dict)


@dataclass
class AdaptersConfig:
    """With a `base`, the folder of a pipeline, stage 2 trains low-rank adapters on its denoisers,
    and the recipe takes its modalities, shared_space and diffusion. To each of `layers` is added
    (alpha / rank) B A (LoRA, Hu et al. 2022); with kind dora the columns of the sum also keep a
    trained norm (Liu et al. 2024)."""

    base: str = ""
    kind: str = "lora"  # lora | dora
    rank: int = 8
    alpha: float = 8.0
    dropout: float = 0.0
    layers: str = "all"  # all (linear and convolutional) | linear

    def __post_init__(self) -> None:
        for name, valid in (("kind", ("lora", "dora")), ("layers", ("all", "linear"))):
            if getattr(self, name) not in valid:
                raise ValueError(
                    f"adapters.{name} must be {' or '.join(valid)}, got {getattr(self, name)!r}"
                )
        if self.rank < 1 or not self.alpha > 0 or not 0 <= self.dropout < 1:
            raise ValueError(
                "adapters: rank must be at least 1, alpha above 0 and dropout in [0, 1), got "
                f"{self.rank}, {self.alpha:g} and {self.dropout:g}"
            )


# experiment trackers -> the modules that they need; an extra of the same name installs them
TRACKERS = {
    "tensorboard": ("tensorboard",),
    "wandb": ("wandb",),
    "mlflow": ("mlflow", "sqlalchemy", "alembic"),
}


@dataclass
class Recipe:
    """A model family: data, modalities (name -> {kind, ...}), shared space, diffusion, stages,
    evaluation. `tracking` names trackers that get what metrics.jsonl gets."""

    name: str = "unnamed"
    seed: int = 0
    output_dir: str = "runs"
    tracking: list[str] = field(default_factory=list)
    data: DataConfig = field(default_factory=DataConfig)
    modalities: dict[str, Any] = field(default_factory=dict)
    shared_space: SharedSpaceConfig = field(default_factory=SharedSpaceConfig)
    diffusion: DiffusionConfig = field(default_factory=DiffusionConfig)
    autoencoder: StageConfig = field(default_factory=StageConfig)
    stage1: StageConfig = field(default_factory=StageConfig)
    stage2: StageConfig = field(default_factory=StageConfig)
    stage3: StageConfig = field(default_factory=StageConfig)
    adapters: AdaptersConfig = field(default_factory=AdaptersConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    @property
    def run_dir(self) -> Path:
        return Path(self.output_dir) / self.name


STAGES = ("autoencoder", "stage1", "stage2", "stage3")
