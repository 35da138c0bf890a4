"""`medcodi turing make`: choose the items of a study and encode them so that nothing but their
content can tell them apart.

Every image, real or synthetic, takes one path: grey, square, one side in pixels, 8 bits, PNG
without compression, so that all files have the same length (a compressed file of a smooth image
would be shorter). Texts: Unicode NFC, white space collapsed. Identifiers are random; a real study
and a generated value appear in one item only.
"""

import io
import itertools
import json
import os
import random
import secrets
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from medcodi.data.user_images import to_greys
from medcodi.files import staged
from medcodi.turing.server import ITEMS, RATINGS, STUDY, VERSION
from medcodi.turing.sources import (
    GeneratedStudy,
    RealStudy,
    Values,
    read_generated,
    read_real,
    read_values,
)
from medcodi.turing.store import RatingStore
from medcodi.turing.tasks import LABELS, RATING, TASKS, TEXT, Arm, Route, Task, arm_of

TRUTH = "truth.json"
EMPTY_TEXT = "(no text)"  # a generator may write nothing: the reader sees and rates that
CODE_LETTERS = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"  # none that look alike


@dataclass
class Item:
    task: Task
    route: Route
    real: RealStudy | None
    generated: GeneratedStudy | None

    @property
    def synthetic(self) -> bool:
        return self.generated is not None

    def values(self) -> Values:
        """role -> picture or text, of the roles that this item shows."""
        values = self.real.read() if self.real else {}
        if self.generated:
            values |= read_values({role: self.generated.files[role] for role in self.route.judged})
        return {
            role: values[role] for role in LABELS if role in (*self.route.given, *self.route.judged)
        }


def make_study(
    real: Path,
    generated: Sequence[Path],
    output: Path,
    names: dict[str, str],
    split: str = "test",
    num_items: int = 20,
    num_readers: int = 3,
    size: int | None = None,
    seed: int | None = None,
    arm: str = RATING.key,
) -> list[str]:
    """Write a study folder with five tasks of `num_items` items, half of them synthetic; returns
    the readers' codes.

    `names`: role -> name in the data; `arm`: how readers answer (tasks.py); `size`: side of the
    images in pixels, by default that of the smallest. Without a `seed` one is drawn; either way it
    is kept with the truth, because who knows it can work out the items. Raises ValueError where the
    studies do not suffice, saying for what, and where `output` exists: it may hold ratings.
    """
    how = arm_of(arm)
    if num_items < 2 or num_items % 2:
        raise ValueError(
            f"the number of items of a task must be even and at least 2, got {num_items}"
        )
    if num_readers < 1 or (size is not None and not 16 <= size <= 4096):
        raise ValueError(
            f"expected at least one reader and a size of 16 to 4096 pixels, got {num_readers} and "
            f"{size}"
        )
    seed = secrets.randbits(62) if seed is None else seed
    rng = random.Random(seed)
    studies, made = (
        read_real(real, split, names),
        [g for folder in generated for g in read_generated(folder, names)],
    )
    rng.shuffle(studies)
    rng.shuffle(made)
    items = choose_items(studies, made, num_items)
    rng.shuffle(items)
    codes = ["".join(rng.choice(CODE_LETTERS) for _ in range(8)) for _ in range(num_readers)]
    with staged(output) as folder:
        _write(folder, items, how, size, seed, rng)
        store = RatingStore(folder / RATINGS, len(how.labels))
        for code in codes:
            store.add_reader(code, rng.getrandbits(62))
        store.close()
    return codes


def choose_items(
    studies: list[RealStudy], made: list[GeneratedStudy], num_items: int
) -> list[Item]:
    """Synthetic items that were made from a real study first: these are scarce. Then all others
    from what is left."""
    half, left = num_items // 2, list(studies)
    by_key: dict[str, list[GeneratedStudy]] = {}
    for one in made:
        by_key.setdefault(one.key, []).append(one)
    items = []
    for task in sorted(TASKS, key=lambda task: not task.routes[0].given):
        chosen = [
            _synthetic(task, route, left, made, by_key)
            for route in itertools.islice(_turns(task), half)
        ]
        found = sum(item is not None for item in chosen)
        if found < half:
            raise ValueError(
                f"task {task.title!r} needs {half} generated items ({_routes(task)}), found "
                f"{found}; generate more "
                "(`medcodi generate --studies ... --given ...`) or lower the number of items"
            )
        items += chosen
    for task in TASKS:
        if len(left) < half:
            raise ValueError(
                f"task {task.title!r} needs {half} more real studies, {len(left)} are left; lower "
                "the number"
            )
        items += [
            Item(task, route, left.pop(), None) for route in itertools.islice(_turns(task), half)
        ]
    return items


def _turns(task: Task) -> Iterable[Route]:
    return itertools.cycle(task.routes)


def _routes(task: Task) -> str:
    return " or ".join(
        f"{' + '.join(r.judged)} from {' + '.join(r.given) or 'anything'}" for r in task.routes
    )


def _synthetic(
    task: Task,
    turn: Route,
    left: list[RealStudy],
    made: list[GeneratedStudy],
    by_key: dict[str, list[GeneratedStudy]],
) -> Item | None:
    """An item of the route whose turn it is, else of the task's others."""
    for route in sorted(task.routes, key=lambda route: route is not turn):
        if not route.given:
            free = _free(made, route)
            if free:
                free.used |= set(route.judged)
                return Item(task, route, None, free)
            continue
        for study in left:
            free = _free(
                (g for key in study.key_of(route.given) for g in by_key.get(key, ())), route
            )
            if free:
                free.used |= set(route.judged)
                left.remove(study)
                return Item(task, route, study, free)
    return None


def _free(made: Iterable[GeneratedStudy], route: Route) -> GeneratedStudy | None:
    return next(
        (g for g in made if set(route.judged) <= set(g.files) and not g.used & set(route.judged)),
        None,
    )


def _write(
    folder: Path, items: list[Item], arm: Arm, size: int | None, seed: int, rng: random.Random
) -> None:
    (folder / ITEMS).mkdir()
    side = size or min(
        max(v.size) for item in items for role, v in item.values().items() if role != TEXT
    )
    shown: dict[str, Any] = {}
    truth: dict[str, Any] = {}
    for item in items:
        key = f"{rng.getrandbits(64):016x}"
        parts = []
        for role, value in item.values().items():
            if role == TEXT:
                parts.append({"label": LABELS[role], "text": clean_text(value)})
                continue
            parts.append({"label": LABELS[role], "image": f"{key}_{len(parts)}.png"})
            (folder / ITEMS / parts[-1]["image"]).write_bytes(encode(value, side))
        shown[key] = {"task": item.task.key, "parts": parts}
        truth[key] = {
            "task": item.task.key,
            "synthetic": item.synthetic,
            "given": item.route.given,
            "judged": item.route.judged,
            "study": item.real.study_id if item.real else None,
            "source": item.generated.source if item.generated else None,
        }
    described = {
        "version": VERSION,
        "arm": arm.key,
        "side": side,
        "items": dict(sorted(shown.items())),
    }
    (folder / STUDY).write_text(json.dumps(described, indent=1), encoding="utf-8")
    (folder / TRUTH).write_text(
        json.dumps({"seed": seed, "items": dict(sorted(truth.items()))}, indent=1)
    )
    (folder / TRUTH).chmod(0o600)
    for path in (folder / ITEMS).iterdir():
        os.utime(path, (0, 0))  # the order of writing stays untold


def clean_text(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split()) or EMPTY_TEXT


def encode(picture: Image.Image, side: int) -> bytes:
    """8-bit grey PNG of `side` x `side` pixels without compression: its length depends on the side
    alone."""
    pixels = np.round(to_greys(picture, side) * 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=0)
    return buffer.getvalue()
