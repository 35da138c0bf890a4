"""Single arguments of a call: numbers, names, seeds, what a callback returns. Each check raises a
ValueError that says what was expected and what came."""

import math
import numbers
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from diffusers.callbacks import MultiPipelineCallbacks, PipelineCallback

from medcodi.config_io import unknown_key

CALLBACK_TENSORS = ("latents", "timesteps", "predictions")
CALLBACK_VALUES = "the values of callback_on_step_end_tensor_inputs"


def shown(value: Any, length: int = 40) -> str:
    """`repr` in one line, cut: a table would fill pages. The type, where there is none."""
    try:
        return " ".join(repr(value)[: 10 * length].split())[:length]
    except Exception:
        return f"an object of type {type(value).__name__} that cannot be shown"


def flag(value: Any, name: str) -> bool:
    """True or False; "no" and 1 are none."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{name} must be True or False, got {shown(value)}")
    return bool(value)


def count(value: Any, name: str, at_least: int = 1, at_most: int | None = None) -> int:
    """A whole number in range; 2.0, "2" and True are none."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise ValueError(f"{name} must be a whole number, got {shown(value)}")
    whole = int(value)
    if whole < at_least:
        raise ValueError(f"{name} must be at least {at_least}, got {whole}")
    if at_most is not None and whole > at_most:
        raise ValueError(f"{name} must be at most {at_most:,}, got {whole}")
    return whole


def number(value: Any, name: str, low: float, high: float) -> float:
    """A finite number in range."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, got {shown(value)}")
    found = float(value)
    if not low <= found <= high:
        raise ValueError(f"{name} must lie in [{low:g}, {high:g}], got {found:g}")
    return found


def noise_levels(levels: Any, name: str) -> tuple[float, float]:
    """Guidance interval [low, high], 0 clean and 1 noise."""
    two = isinstance(levels, (list, tuple)) and len(levels) == 2
    real = lambda x: isinstance(x, numbers.Real) and not isinstance(x, bool)
    if not two or not all(map(real, levels)):
        raise ValueError(
            f"guidance_interval of {name!r} must be [low, high] with 0 <= low < high <= 1, got "
            f"{shown(levels)}"
        )
    low, high = levels
    if not 0 <= low < high <= 1:
        raise ValueError(
            f"guidance_interval of {name!r} must be [low, high] with 0 <= low < high <= 1, got "
            f"{levels}"
        )
    return float(low), float(high)


def known(name: Any, valid: Collection[str], where: str) -> str:
    """`name` again; ValueError with the nearest valid one for a name that is none of them."""
    if not isinstance(name, str) or name not in valid:
        raise unknown_key(name if isinstance(name, str) else shown(name), valid, where)
    return name


def check_callback(callback: Any, names: Any) -> tuple[str, ...]:
    """The names of the tensors that a callback gets; one of diffusers names its own."""
    if callback is not None and not callable(callback):
        raise ValueError(f"callback_on_step_end must be callable, got {shown(callback)}")
    if isinstance(callback, (PipelineCallback, MultiPipelineCallbacks)):
        names = callback.tensor_inputs
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, (list, tuple)):
        raise ValueError(
            f"callback_on_step_end_tensor_inputs must be a list of names, got {shown(names)}"
        )
    return tuple(known(n, CALLBACK_TENSORS, CALLBACK_VALUES) for n in names)


def changed_latents(
    answer: Any, latents: dict[str, torch.Tensor], told: Mapping[str, Any]
) -> dict[str, torch.Tensor]:
    """What a callback returned: None, or a mapping with "latents", as diffusers' callbacks do."""
    if answer is None:
        return latents
    if not isinstance(answer, Mapping):
        raise ValueError(
            "callback_on_step_end must return None or {'latents': ...}, got "
            f"{type(answer).__name__}"
        )
    for key, value in answer.items():
        if key != "latents" and value is not told.get(key):
            raise ValueError(
                f"callback_on_step_end returned {key!r}: only 'latents' can be changed"
            )
    changed = answer.get("latents", latents)
    if isinstance(changed, torch.Tensor) and len(latents) == 1:
        changed = dict.fromkeys(latents, changed)
    if not isinstance(changed, Mapping) or set(changed) != set(latents):
        raise ValueError(
            f"callback_on_step_end must return latents of {', '.join(latents)}, name -> tensor"
        )
    for name, value in changed.items():
        if not isinstance(value, torch.Tensor) or value.shape != latents[name].shape:
            raise ValueError(
                f"callback_on_step_end returned latents of {name!r} of shape "
                f"{tuple(getattr(value, 'shape', ()))}, expected {tuple(latents[name].shape)}"
            )
    check_finite(changed, "callback_on_step_end returned latents")
    return {name: changed[name].to(latents[name]) for name in latents}


def draw_seeds(generator: Any, seeds: Any, count: int) -> list[int]:
    """One seed a sample: those given, or drawn from one generator, or one from each of a list."""
    if seeds is not None:
        is_list = isinstance(seeds, Sequence) and not isinstance(seeds, (str, bytes))
        if generator is not None or not is_list or len(seeds) != count:
            found = f"{len(seeds)} seeds" if is_list else shown(seeds)
            raise ValueError(
                f"expected {count} seeds and no generator, got {found}, "
                f"generator={shown(generator)}"
            )
        return [_seed(seed) for seed in seeds]
    drawn_from = list(generator) if isinstance(generator, (list, tuple)) else [generator]
    for each in drawn_from:
        if each is not None and not isinstance(each, torch.Generator):
            raise ValueError(
                f"generator must be a torch.Generator or a list of them, got {shown(each)}"
            )
    if isinstance(generator, (list, tuple)):
        if len(generator) != count or None in drawn_from:
            raise ValueError(f"expected {count} generators, one a sample, got {len(generator)}")
        return [int(torch.randint(2**62, (1,), generator=g, device=g.device)) for g in generator]
    device = generator.device if generator is not None else "cpu"
    return torch.randint(2**62, (count,), generator=generator, device=device).tolist()


def _seed(seed: Any) -> int:
    if isinstance(seed, bool) or not isinstance(seed, numbers.Integral):
        raise ValueError(f"a seed must be a whole number, got {shown(seed)}")
    return int(seed)


def check_finite(values: Mapping[str, torch.Tensor], what: str) -> None:
    """ValueError for NaN and infinite numbers: they never become a picture, a text or a row."""
    for name, value in values.items():
        if value.is_meta or value.layout != torch.strided:
            kind = "meta" if value.is_meta else str(value.layout)
            raise ValueError(f"{what} of {name!r} must be a dense tensor of numbers, got {kind}")
        if not value.is_floating_point():
            raise ValueError(
                f"{what} of {name!r} must be floating-point numbers, got {value.dtype}"
            )
        if not torch.isfinite(value).all():
            share = 1 - float(torch.isfinite(value).float().mean())
            raise ValueError(
                f"{what} of {name!r}: {share:.1%} of the numbers are not finite. Weights with NaN, "
                "a dtype that overflows (float16), extreme guidance or a scheduler that diverges "
                "do this; nothing is made of them"
            )


def in_order(order: Any, outputs: Sequence[str]) -> list[str]:
    """`order` again; ValueError unless it names every output once."""
    named = isinstance(order, (list, tuple)) and all(isinstance(name, str) for name in order)
    if not named or sorted(order) != sorted(outputs):
        raise ValueError(
            f"order must name every output once, {', '.join(outputs)}; got {shown(order)}"
        )
    return list(order)
