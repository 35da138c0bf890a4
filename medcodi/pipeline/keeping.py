"""What a call keeps of its outputs: the arguments `keep` and `strength`, checked, and as latents.

Legend: R rows.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from medcodi.autoencoders.base import Autoencoder
from medcodi.diffusion.keep import Kept
from medcodi.modalities.base import Modality
from medcodi.modalities.family import ModelFamily
from medcodi.modalities.parts import Part
from medcodi.nn.rows import spread
from medcodi.pipeline.arguments import known, number, shown
from medcodi.pipeline.index import as_value_error

StoredParts = dict[str, list[Part | None]]  # output -> R parts, None where a row keeps nothing


def check_strength(strength: Any, keep: Mapping[str, Any]) -> dict[str, float]:
    """One number for all that is kept, or one a name -> strength by name, in (0, 1]."""
    if strength is None or strength == {}:
        return {}
    given = strength if isinstance(strength, Mapping) else dict.fromkeys(keep, strength)
    if not keep:
        raise ValueError(f"strength varies what is kept, but nothing is: got {shown(strength)}")
    for name, value in given.items():
        known(name, keep, "strength (what this call keeps)")
        if number(value, f"strength of {name!r}", 0, 1) == 0:
            raise ValueError(f"strength of {name!r} must lie in (0, 1]: at 0 nothing is generated")
    return {name: float(value) for name, value in given.items()}


def check_parts(
    keep: Any, strength: Mapping[str, float], family: ModelFamily, names: Sequence[str]
) -> StoredParts:
    """The parts of each name, from what a user passes or from such parts; `names` are the
    modalities of the pipeline. Rows differ by name."""
    parts: StoredParts = {}
    for name, values in check_names(keep, names).items():
        if isinstance(values, list) and any(isinstance(value, Part) for value in values):
            parts[name] = list(values)
            continue
        try:
            with as_value_error(f"modality {name!r}: keep of type {type(values).__name__}"):
                parts[name] = family.modality(name).parts.from_user(values, name in strength)
        except ValueError as error:  # one line, whatever was shown in it
            raise ValueError(" ".join(str(error)[:1000].splitlines())) from error
    return parts


def check_names(keep: Any, names: Sequence[str]) -> Mapping[str, Any]:
    """`keep` as a mapping of modalities of the pipeline; {} for None."""
    if keep is None:
        return {}
    if not isinstance(keep, Mapping):
        raise ValueError(
            f"keep must be {{name: part or list of parts}}, got {type(keep).__name__}; names: "
            f"{', '.join(names)}"
        )
    for name in keep:
        known(name, names, "the modalities of this pipeline")
    return keep


def check_kept_outputs(
    keep: Mapping[str, Any], prompts: Mapping[str, Any], outputs: Sequence[str]
) -> None:
    """ValueError for what is kept and a prompt, or kept and no output."""
    for name in keep:
        if name in prompts:
            raise ValueError(
                f"{name!r} is kept and a prompt: a value that is given as a whole is a prompt, a "
                "part of an output is kept"
            )
        known(name, outputs, "keep (outputs of this call)")


def equal_rows(of: Mapping[str, Mapping[str, list[Any]]]) -> int:
    """The number of rows of several groups of arguments; lists of one are repeated in place.
    ValueError where they differ."""
    lengths = {f"{what} {n!r}": len(v) for what, group in of.items() for n, v in group.items()}
    rows = max(lengths.values(), default=1)
    if any(length not in (1, rows) or length == 0 for length in lengths.values()):
        raise ValueError(
            f"prompts and kept parts must have equal lengths, or one value for all rows; got "
            f"{lengths}"
        )
    for group in of.values():
        for values in group.values():
            values *= rows // len(values)
    return rows


def check_steps(
    strength: Mapping[str, float], timesteps: Mapping[str, torch.Tensor], num_train_timesteps: int
) -> None:
    """ValueError for a strength below the last timestep of its output: no step would change it."""
    for name, value in strength.items():
        last = float(timesteps[name].min())
        if last > num_train_timesteps * value:
            raise ValueError(
                f"strength {value:g} of {name!r} leaves no step of {len(timesteps[name])}: it must "
                f"be at least {last / num_train_timesteps:.2g}, or take more steps"
            )


def kept_rows(
    modality: Modality,
    autoencoder: Autoencoder,
    parts: Sequence[Part | None],
    start: float,
    batch_size: int,
) -> Kept | None:
    """R parts as latents, `batch_size` encoded at a time; None where no row keeps anything."""
    there = [part for part in parts if part is not None]
    if not there:
        return None
    made = modality.parts.kept(autoencoder, there, start, batch_size)
    given = torch.tensor([part is not None for part in parts], device=autoencoder.device)
    starts = torch.where(given, spread(made.start, given), 1.0)
    each = (made.latents, made.given, made.moved, made.rows)
    latents, where, moved, rows = (spread(values, given) for values in each)
    return Kept(latents, where, starts, moved, rows, made.move, made.follow)
