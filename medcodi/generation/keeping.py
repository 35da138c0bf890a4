"""What a generation run keeps of its outputs, from the command line. Legend: R rows."""

from collections.abc import Sequence
from typing import Any

from medcodi.config_io import unknown_key
from medcodi.modalities.parts import Part
from medcodi.pipeline.keeping import StoredParts
from medcodi.pipeline.pipeline import MedCoDiPipeline


class GivenParts:
    """`keep` and `mask` are texts NAME=VALUE, `strength` NAME=NUMBER. A name that is kept several
    times makes several rows. Raises ValueError as the call of a pipeline would."""

    def __init__(
        self,
        pipe: MedCoDiPipeline,
        keep: Sequence[str] = (),
        mask: Sequence[str] = (),
        strength: Sequence[str] = (),
    ) -> None:
        kept = [_pair(text, "keep", "PART", pipe.modalities) for text in keep]
        names = list(dict.fromkeys(name for name, _ in kept))
        for name in names:
            if name not in pipe.modalities:
                raise unknown_key(name, pipe.modalities, "the modalities of this pipeline")
        self.strength = {
            name: _number(name, value)
            for name, value in (_pair(text, "strength", "NUMBER", names) for text in strength)
        }
        can = [name for name, _ in kept if pipe.family.modality(name).parts.has_mask]
        masks = _masks(mask, can)
        self.stored: StoredParts = {}
        for name, value in kept:
            of_name = masks.get(name, [])
            one = of_name.pop(0) if of_name else None
            parts = pipe.family.modality(name).parts
            self.stored.setdefault(name, []).extend(parts.parse(value, one, name in self.strength))
        self.pipe = pipe

    def take(self, rows: Sequence[int]) -> dict[str, list[Part | None]]:
        """name -> parts of `rows`."""
        return {n: [p[r if len(p) > 1 else 0] for r in rows] for n, p in self.stored.items()}

    def __len__(self) -> int:
        return max(map(len, self.stored.values()), default=1)


def _pair(text: str, what: str, value: str, names: Sequence[str]) -> tuple[str, str]:
    name, separator, found = text.partition("=")
    if not separator or not found:
        raise ValueError(
            f"--{what} must read NAME={value}, got {text!r}; names: {', '.join(names)}"
        )
    return name, found


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"--strength must read {name}=NUMBER, got {name}={text}") from None


def _masks(texts: Sequence[str], kept: Sequence[str]) -> dict[str, list[str]]:
    """name -> its masks, in the order in which it is kept; `kept`: what can have a mask."""
    masks: dict[str, list[str]] = {}
    for text in texts:
        name, separator, path = text.partition("=")
        if not separator or name not in kept:  # a path may hold "="
            if len(set(kept)) != 1:
                raise ValueError(
                    f"--mask must read NAME=FILE where several are kept, got {text!r}; kept "
                    f"with a mask: {', '.join(kept) or 'nothing'}"
                )
            name, path = kept[0], text
        masks.setdefault(name, []).append(path)
    for name, paths in masks.items():
        if len(paths) != kept.count(name):
            raise ValueError(
                f"{name!r} is kept {kept.count(name)} times and has {len(paths)} masks: expected "
                "one each"
            )
    return masks


def hashed(parts: dict[str, Any]) -> dict[str, Any]:
    """Parts of one row as `hash_prompts` takes them."""
    found: dict[str, Any] = {}
    for name, part in parts.items():
        if part is not None:
            found |= {f"keep {name}": part.value, f"gap {name}": part.gap}
    return found
