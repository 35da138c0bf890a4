"""Recipes: one YAML describes a whole model family and its stages (dataclass < YAML < dotted
override).

OmegaConf stays in this file. Every other module sees plain dataclasses.
"""

import dataclasses
import difflib
import hashlib
import json
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError


@dataclass
class DataConfig:
    """Where studies come from. `prepared` is a folder written by `medcodi prepare` (or by the
    quickstart)."""

    prepared: str = ""
    source: str = "folder"
    source_args: dict[str, Any] = field(default_factory=dict)
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
    shift: float = (
        1.0  # flow: above 1, training and sampling spend more of their steps at high noise
    )
    fusion: str = "tokens"  # mean (the paper) | tokens (ours)
    multi_prompt: bool = True
    prompt_latents: bool = (
        False  # fusion tokens: a prompt also conditions with the latents of its autoencoder
    )
    linear_denoiser: bool = False  # networks predict what the best linear denoiser leaves over
    prompt_mean: bool = False  # a network gives the denoiser E[z_0 | prompts], a regression on z_0
    prompt_mean_share: float = 0.1  # of the steps of stage 2, the first: they train the mean alone
    context_dim: int = 64
    null_prompt_probability: float = 0.1
    environment_dim: int = 64
    independent_timestep_probability: float = 0.3
    clean_probability: float = 0.3
    environment_contrast_weight: float = 0.0
    environment_contrast_temperature: float = 0.1

    @property
    def estimate(self) -> bool:
        """Whether denoisers get an estimate of z_0 beside their noisy latents."""
        return self.linear_denoiser or self.prompt_mean


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
class StageConfig:
    """One stage of training. `batch_size` is the GLOBAL batch: processes x accumulation x
    micro-batch."""

    modality: str | None = None
    num_steps: int = 100
    batch_size: int = 16
    gradient_accumulation_steps: int = 1
    mixed_precision: str = "no"  # no | bf16 (fp16 would need its loss scaler in the checkpoints)
    optim: OptimConfig = field(default_factory=OptimConfig)
    channels_last: bool = False
    compile: bool = False  # torch.compile of the networks' repeated blocks
    gradient_checkpointing: bool = False
    ema_decay: float = 0.0
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
        positive = (
            "batch_size",
            "gradient_accumulation_steps",
            "log_every",
            "checkpoint_every",
            "checkpoints_kept",
        )
        for name in (
            *positive,
            "num_steps",
            "validate_every",
            "validation_batches",
            "preview_every",
        ):
            if getattr(self, name) < (name in positive):
                raise ValueError(
                    f"{name} must be at least {int(name in positive)}, got {getattr(self, name)}"
                )
        if self.mixed_precision not in ("no", "bf16"):
            raise ValueError(f"mixed_precision must be no or bf16, got {self.mixed_precision!r}")


@dataclass
class EvaluationConfig:
    """What `eval/run.py` measures with. `names` says which modality is the papers' F, L, T and the
    table row; `labels` makes findings of table columns, name -> {column, positive: [values],
    negative: [values]} (negative: every other value), where there is no truth and reports shall not
    be read; `backbones` are {name, kind, file, sha256, ...} of `metrics/backbones.py`; `samples`
    are folders of another system's outputs by route, such as F>T, which are measured instead of
    generated ones (`evaluation/samples.py`); `tables` holds options of single tables by id."""

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
    tables: dict[str, Any] = field(default_factory=dict)


@dataclass
class Recipe:
    """A model family: data, modalities (name -> {kind, ...}), shared space, diffusion, stages,
    evaluation."""

    name: str = "unnamed"
    seed: int = 0
    output_dir: str = "runs"
    data: DataConfig = field(default_factory=DataConfig)
    modalities: dict[str, Any] = field(default_factory=dict)
    shared_space: SharedSpaceConfig = field(default_factory=SharedSpaceConfig)
    diffusion: DiffusionConfig = field(default_factory=DiffusionConfig)
    autoencoder: StageConfig = field(default_factory=StageConfig)
    stage1: StageConfig = field(default_factory=StageConfig)
    stage2: StageConfig = field(default_factory=StageConfig)
    stage3: StageConfig = field(default_factory=StageConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    @property
    def run_dir(self) -> Path:
        return Path(self.output_dir) / self.name


STAGES = ("autoencoder", "stage1", "stage2", "stage3")


def unknown_key(key: str, valid: typing.Iterable[str], where: str) -> ValueError:
    """The error for a key that nobody reads: names the place, the near miss and all valid names."""
    valid = sorted(valid)
    near = difflib.get_close_matches(key, valid, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return ValueError(f"unknown key {key!r} in {where}{hint} Valid keys: {', '.join(valid)}")


def build_dataclass(cls: type, values: dict[str, Any] | None, where: str) -> Any:
    """Build dataclass `cls` from a plain dict, recursively and strictly.

    Raises ValueError for an unknown key ("did you mean"), a missing required key and a value of the
    wrong type.
    """
    values = dict(values or {})
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls)}
    for key in values:
        if key not in fields:
            raise unknown_key(key, fields, where)
    for name, f in fields.items():
        required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        if required and name not in values:
            raise ValueError(
                f"missing key {name!r} in {where}. Valid keys: {', '.join(sorted(fields))}"
            )
    return cls(
        **{key: _convert(hints[key], value, f"{where}.{key}") for key, value in values.items()}
    )


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return _convert(next(a for a in arguments if a is not type(None)), value, where)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        if dataclasses.is_dataclass(value):
            return value
        if value is not None and not isinstance(value, dict):
            raise ValueError(f"{where} must be a mapping, got {value!r}")
        return build_dataclass(hint, value, where)
    if origin is list:
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"{where} must be a list, got {value!r}")
        return [_convert(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value)]
    if origin is dict:
        if not isinstance(value, dict):
            raise ValueError(f"{where} must be a mapping, got {value!r}")
        return {str(k): _convert(arguments[1], v, f"{where}.{k}") for k, v in value.items()}
    if hint is float:  # YAML 1.1 reads 1e-4 as a string
        try:
            return float("" if isinstance(value, bool) else value)
        except (TypeError, ValueError):
            raise ValueError(f"{where} must be a number, got {value!r}") from None
    if hint in (int, str, bool) and type(value) is not hint:
        raise ValueError(f"{where} must be of type {hint.__name__}, got {value!r}")
    return value


def _place_override(key: str, stage: str | None) -> str:
    """`optim.lr` on the command line of a stage script means `stage2.optim.lr`."""
    of_stage = stage and key.split(".")[0] in {f.name for f in dataclasses.fields(StageConfig)}
    return f"{stage}.{key}" if of_stage else key


def load_recipe(
    path: str | Path, overrides: typing.Sequence[str] = (), stage: str | None = None
) -> Recipe:
    """Load a recipe YAML and apply dotted overrides such as `optim.lr=1e-4` (relative to `stage`)
    or `seed=3`.

    Raises ValueError for an unknown key, a malformed override or a wrong type; FileNotFoundError
    for the path.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"recipe {path} does not exist")
    loaded, pairs = _load(Path(path)), []
    for text in overrides:
        key, separator, value = text.partition("=")
        if not separator or not key:
            raise ValueError(f"an override must read key=value, got {text!r}")
        pairs.append(f"{_place_override(key, stage)}={value}")
    merged = OmegaConf.merge(loaded, OmegaConf.from_dotlist(pairs))
    return recipe_from_dict(OmegaConf.to_container(merged, resolve=True), str(path))


def recipe_from_dict(values: dict[str, Any], where: str = "recipe") -> Recipe:
    """Recipe from a plain dict, strictly; checks the names used across sections."""
    recipe = build_dataclass(Recipe, values, where)
    names = set(recipe.modalities)
    if not names:
        raise ValueError(f"{where}: a recipe needs a modality")
    for pair in recipe.shared_space.bridging_pairs:
        _check_names(pair, names, f"{where}.shared_space.bridging_pairs")
        if len(pair) != 2 or pair[0] == pair[1]:
            raise ValueError(
                f"{where}.shared_space.bridging_pairs: a pair is two different modalities, got "
                f"{pair}"
            )
    for stage in STAGES:
        section = getattr(recipe, stage)
        _check_names(
            [section.modality] if section.modality else [], names, f"{where}.{stage}.modality"
        )
        _check_names(section.per_modality, names, f"{where}.{stage}.per_modality")
        for name in section.per_modality:
            for_modality(section, name)
    return recipe


def _check_names(used: typing.Iterable[str], names: set[str], where: str) -> None:
    for name in used:
        if name not in names:
            raise unknown_key(name, names, where)


def to_dict(recipe: Recipe) -> dict[str, Any]:
    """Plain nested dict of a recipe (JSON and YAML safe)."""
    return dataclasses.asdict(recipe)


def save_yaml(values: dict[str, Any], path: str | Path) -> None:
    OmegaConf.save(OmegaConf.create(values), path)


def load_yaml(path: str | Path) -> dict[str, Any]:
    return OmegaConf.to_container(_load(Path(path)), resolve=True)


def _load(path: Path) -> DictConfig:
    """ValueError names the file when it is no YAML mapping."""
    try:
        loaded = OmegaConf.load(path)
    except (YAMLError, OmegaConfBaseException) as error:
        raise ValueError(f"{path} is not readable YAML: {error}") from None
    if not isinstance(loaded, DictConfig):
        raise ValueError(f"{path} must hold a mapping of keys, got a {type(loaded).__name__}")
    return loaded


def for_modality(stage: StageConfig, name: str) -> StageConfig:
    """The stage section with its `per_modality.NAME` overrides merged in."""
    values = dataclasses.asdict(stage)
    merged = OmegaConf.merge(values, values["per_modality"].get(name, {}))
    return build_dataclass(StageConfig, OmegaConf.to_container(merged), f"per_modality.{name}")


def fingerprint(values: Any) -> str:
    """Short stable hash of a JSON-like value."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:16]
