"""What a run of `medcodi generate` is asked for. Each field says what it means: the command line is
built from them (cli/generate.py)."""

from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, field
from pathlib import Path
from typing import Any

from medcodi.config_io import unknown_key

DTYPES = ("float32", "bfloat16", "float16")  # names in torch, which the command line need not load


def parse_names(text: str) -> list[str]:
    """`a,b` -> ["a", "b"]."""
    return [name.strip() for name in text.split(",") if name.strip()]


def parse_shard(text: str) -> tuple[int, int]:
    """`K/N` -> (K, N)."""
    index, separator, count = text.partition("/")
    if not (separator and index.isdecimal() and count.isdecimal()):
        raise ValueError(f"shard must read K/N with 0 <= K < N, got {text!r}")
    return int(index), int(count)


def parse_interval(text: str) -> tuple[float, float]:
    """`LOW,HIGH` -> (LOW, HIGH)."""
    try:
        low, high = map(float, text.split(","))
    except ValueError:
        raise ValueError(
            f"guidance_interval must read LOW,HIGH with 0 <= LOW < HIGH <= 1, got {text!r}"
        ) from None
    return low, high


def _option(
    text: str,
    default: Any = MISSING,
    read: Callable[[str], Any] | None = None,
    flag: str | None = None,
) -> Any:
    """A field with its help, how a text of the command line becomes its value, and its flag where
    that is not its name."""
    return field(default=default, metadata={"help": text, "read": read, "flag": flag})


@dataclass(frozen=True)
class Request:
    """What is to be generated. `num_samples` counts for each prompt row; `shard` = (k, n) makes the
    k-th of n about equal parts, for n processes that share `output`, with one `batch_size`;
    `pixel_spacing` in mm goes into formats that can say it. Instead of `prompts`, the values
    `given` of the first `limit` studies of `split` of the prepared folder `studies` may be the
    prompts. `solver` is one of `medcodi.pipeline.solvers`, `dtype` one of DTYPES, for the diffusion
    networks; `guidance_interval` holds for every output, (0, 1) guides every step (default: the
    recipe's).

    Raises ValueError for numbers out of range.
    """

    pipeline: Path = _option("folder of the pipeline")
    output: Path = _option("folder to write the studies and manifest.json to")
    prompts: Sequence[str] = _option(
        "NAME=VALUE: a file, a text, or column=value;column=value; repeatable", (), flag="--prompt"
    )
    labels: Sequence[str] = _option(
        "such as 'Edema, no effusion': columns of the table or sentences of a report that say so; "
        "repeatable",
        (),
    )
    keep: Sequence[str] = _option(
        "NAME=PART: what of an output is kept, the rest is generated: an image (with --mask or "
        "--strength), column=value;column=value, a text with a gap '...'; repeatable",
        (),
    )
    mask: Sequence[str] = _option(
        "of a kept image: a file that is white where it is generated; NAME=FILE where several are "
        "kept; repeatable",
        (),
    )
    strength: Sequence[str] = _option(
        "NAME=NUMBER: vary what is kept as a whole, above 0 to 1 (anew); repeatable", ()
    )
    outputs: Sequence[str] | None = _option(
        "comma-separated names; default: all that are not prompts", None, read=parse_names
    )
    format: str = _option("png, dicom, dicom-dx, imagefolder or fhir", "png")
    num_samples: int = _option("samples for each prompt row", 1)
    num_inference_steps: int = _option("steps of the sampler", 25)
    guidance_scale: float | None = _option("default: the recipe's, per modality", None)
    order: Sequence[str] | None = _option(
        "comma-separated names of all outputs: one after the other, each prompted by those before "
        "it, instead of together",
        None,
        read=parse_names,
    )
    coupling_scale: float | None = _option(
        "how strongly outputs follow each other; 1: as trained; default: the recipe's", None
    )
    seed: int = _option("of the whole run; every sample gets its own from it", 0)
    batch_size: int = _option("samples at once, of one process", 32)
    device: str = _option("such as cpu or cuda:0; default: a GPU where there is one", "cpu")
    shard: tuple[int, int] = _option(
        "K/N: the K-th part (from 0) of N processes that share the folder; default: the launcher's",
        (0, 1),
        read=parse_shard,
    )
    pixel_spacing: float | None = _option("side of a pixel in mm, for DICOM", None)
    studies: Path | None = _option(
        "prepared folder whose studies are the prompts, one row each", None
    )
    split: str = _option("with --studies: train, validation or test", "test")
    given: Sequence[str] = _option(
        "with --studies: comma-separated names of the values that are prompts", (), read=parse_names
    )
    limit: int | None = _option(
        "with --studies: the first so many that have the given values", None
    )
    solver: str | None = _option("ddim, euler, dpm++ or unipc; default: the model's own", None)
    dtype: str | None = _option("of the diffusion networks: float32, bfloat16 or float16", None)
    guidance_interval: tuple[float, float] | None = _option(
        "LOW,HIGH: the noise levels that are guided; 0,1: all; default: the recipe's",
        None,
        read=parse_interval,
    )
    compile: bool = _option("torch.compile of the denoisers, for long runs", False)
    private: Path | None = _option(
        "folder of a privacy filter (medcodi privacy fit): what looks like one training record is "
        "drawn again",
        None,
    )

    lora: Path | None = _option("folder of adapters: the run of a recipe with `adapters`", None)
    lora_strength: float = _option("of the adapters; 1: as they were trained", 1.0)

    def __post_init__(self) -> None:
        if self.lora is None and self.lora_strength != 1:
            raise ValueError("lora_strength weighs adapters: name their folder too (lora)")
        for name in ("num_samples", "num_inference_steps", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit must be at least 1, got {self.limit}")
        if self.studies is None and (self.given or self.limit):
            raise ValueError("given and limit choose among studies: name their prepared folder too")
        if self.studies is None and self.split != "test":
            raise ValueError("split chooses among studies: name their prepared folder too")
        if self.studies is not None and (self.prompts or self.labels):
            raise ValueError(
                "the prompts are either given one by one or taken from studies, not both"
            )
        if self.pixel_spacing is not None and not 0 < self.pixel_spacing < 100:
            raise ValueError(
                f"pixel_spacing must lie between 0 and 100 mm, got {self.pixel_spacing}"
            )
        if self.pixel_spacing is not None and "dicom" not in self.format and self.format != "fhir":
            raise ValueError(
                f"pixel_spacing goes into DICOM files: the format {self.format!r} has none"
            )
        if self.dtype is not None and self.dtype not in DTYPES:
            raise unknown_key(self.dtype, DTYPES, "the dtypes")
        if (
            self.guidance_interval is not None
            and not 0 <= self.guidance_interval[0] < self.guidance_interval[1] <= 1
        ):
            raise ValueError(
                "guidance_interval must read LOW,HIGH with 0 <= LOW < HIGH <= 1, got "
                f"{self.guidance_interval}"
            )
        guided = self.prompts or self.labels or self.studies or self.order
        for name in ("guidance_scale", "guidance_interval"):
            if getattr(self, name) is not None and not guided:
                raise ValueError(f"{name} leads towards prompts: give a prompt, labels or studies")
        if not 0 <= self.shard[0] < self.shard[1]:
            raise ValueError(
                f"shard must read K/N with 0 <= K < N, got {self.shard[0]}/{self.shard[1]}"
            )
