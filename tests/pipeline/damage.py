"""Damaged pipeline folders, drawn from a seed: what a crash, a bad disk or an ill-meaning author
leaves."""

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

ODD: list[Any] = [
    None,
    [],
    {},
    "",
    "..",
    "../../etc/passwd",
    "/etc/passwd",
    "a/b",
    -1,
    0,
    1,
    2.5,
    1e30,
    10**12,
    True,
    "x" * 5000,
    ["a", 1],
    {"a": {"b": None}},
    "\ud800",
    "AutoPipelineForText2Image",
    "os.system",
]
LITERALS = ["NaN", "Infinity", "[" * 2000 + "]" * 2000, "1" * 5000, "{", '{"a": 1', "", "null", "3"]


def damage(folder: Path, seed: int) -> str:
    """Damage a folder in one way; returns what was done."""
    rng = random.Random(seed)
    return rng.choice([_json_value, _json_value, _json_value, _json_text, _bytes, _file])(
        folder, rng
    )


def _files(folder: Path, pattern: str) -> list[Path]:
    paths = sorted(
        p for p in folder.rglob(pattern) if "tokenizer" not in p.relative_to(folder).parts
    )
    return [p for p in paths if p.name != "config.json" or p.parent.parent == folder]


def _json_file(folder: Path, rng: random.Random) -> Path:
    others = [p for p in _files(folder, "*.json") if p.name != "model_index.json"]
    return folder / "model_index.json" if rng.random() < 0.8 else rng.choice(others)


def _json_value(folder: Path, rng: random.Random) -> str:
    path = _json_file(folder, rng)
    document = json.loads(path.read_text())
    where, owner, key = "", document, rng.choice(list(document))
    while isinstance(owner[key], (dict, list)) and owner[key] and rng.random() < 0.8:
        owner, where = owner[key], f"{where}.{key}"
        key = rng.choice(list(owner)) if isinstance(owner, dict) else rng.randrange(len(owner))
    done = rng.choice(["change", "change", "remove", "rename", "add"])
    if done == "remove" or (done == "rename" and isinstance(owner, list)):
        del owner[key]
    elif done == "rename":
        owner[f"{key}x"] = owner.pop(key)
    elif done == "add" and isinstance(owner, dict):
        owner[rng.choice(["x", "..", "a/b", "_a", ""])] = rng.choice(ODD)
    else:
        owner[key] = rng.choice(ODD)
    path.write_text(json.dumps(document))
    return f"{path.name}{where}.{key}: {done}"


def _json_text(folder: Path, rng: random.Random) -> str:
    path, text = _json_file(folder, rng), rng.choice(LITERALS)
    if rng.random() < 0.5:
        document = json.loads(path.read_text())
        document[rng.choice(list(document))] = "HERE"
        text = json.dumps(document).replace('"HERE"', text)
    path.write_text(text)
    return f"{path.name}: text {text[:40]!r}"


def _bytes(folder: Path, rng: random.Random) -> str:
    path = rng.choice(_files(folder, "*.safetensors") + _files(folder, "*.json"))
    content = bytearray(path.read_bytes())
    done = rng.choice(["cut", "flip", "empty", "noise", "double"])
    if done == "cut":
        del content[rng.randrange(len(content)) :]
    elif done == "flip":
        for _ in range(rng.randrange(1, 4)):
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    elif done == "empty":
        content.clear()
    elif done == "noise":
        content[:] = rng.randbytes(len(content))
    else:
        content *= 2
    path.write_bytes(content)
    return f"{path.relative_to(folder)}: {done}"


def _file(folder: Path, rng: random.Random) -> str:
    path = rng.choice(_files(folder, "*.safetensors") + _files(folder, "*.json"))
    other = rng.choice(_files(folder, "*.safetensors"))
    outside = folder.parent / "outside"
    if not outside.exists():
        outside.write_bytes(path.read_bytes())
    ways: dict[str, Callable[[], Any]] = {
        "missing": lambda: None,
        "a folder": path.mkdir,
        "a pipe": lambda: os.mkfifo(path),
        "a link out": lambda: path.symlink_to(outside),
        "a link to itself": lambda: path.symlink_to(path),
        "a link to nothing": lambda: path.symlink_to("nothing"),
        "another's": lambda: other != path and shutil.copy(other, path),
        "its folder is missing": lambda: shutil.rmtree(path.parent),
    }
    done = rng.choice(list(ways))
    if path.parent != folder or done != "its folder is missing":
        path.unlink()
        ways[done]()
    return f"{path.relative_to(folder)}: {done}"
