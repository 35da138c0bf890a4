"""Phantom studies as the formats get them, without training anything: real modalities, real
pictures, texts and rows."""

from pathlib import Path
from typing import Any

from medcodi.data.table import TableSchema
from medcodi.generation.formats import Facts, GeneratedStudy, StudyFormat, get_format
from medcodi.generation.formats.base import Written, hash_prompts
from medcodi.modalities import ModelFamily
from medcodi.phantom import SCHEMA, make_study
from tests.tiny import tiny_recipe

NAMES = ("frontal", "lateral", "report", "tabular")
FACTS = Facts(
    "tiny",
    "0123456789abcdef",
    "0.1.0",
    "2026-01-31",
    {"num_inference_steps": 2, "guidance_scale": None},
)


def phantom_values(count: int, size: int) -> list[dict[str, Any]]:
    """Stored values of the first `count` phantom studies that have every modality."""
    found: list[dict[str, Any]] = []
    index = 0
    while len(found) < count:
        values = make_study(0, index, size).values
        found += [values] if set(values) == set(NAMES) else []
        index += 1
    return found


def phantom_family(values: list[dict[str, Any]], size: int, **overrides: Any) -> ModelFamily:
    schema = TableSchema.from_dicts(SCHEMA.to_dicts()).fit([v["tabular"] for v in values])
    sizes = {"frontal": {"size": size}, "lateral": {"size": size}}
    merged = {name: sizes.get(name, {}) | overrides.get(name, {}) for name in NAMES}
    return ModelFamily(
        tiny_recipe(Path("unused"), modalities=merged), {"tabular": {"schema": schema.to_dicts()}}
    )


def phantom_studies(family: ModelFamily, values: list[dict[str, Any]]) -> list[GeneratedStudy]:
    studies = []
    for i, stored in enumerate(values):
        given = {
            n: v for n, v in stored.items() if not isinstance(v, str) or v.strip()
        }  # a decoder may leave it blank
        shown = {
            n: family.modality(n).to_user(family.modality(n).collate([v])) for n, v in given.items()
        }
        studies.append(
            GeneratedStudy(
                f"sample_{i:05d}", 1000 + i, hash_prompts({"report": f"prompt {i}"}), stored, shown
            )
        )
    return studies


def make_format(
    name: str, family: ModelFamily, facts: Facts = FACTS, names: tuple[str, ...] = NAMES
) -> StudyFormat:
    return get_format(name)([family.modality(n) for n in names], facts)


def write_all(
    folder: Path,
    name: str,
    values: list[dict[str, Any]],
    size: int,
    facts: Facts = FACTS,
    **overrides: Any,
) -> list[Written]:
    """Write phantom studies in a format below `folder`."""
    family = phantom_family(phantom_values(3, size), size, **overrides)
    writer = make_format(name, family, facts)
    (folder / writer.root).mkdir(parents=True, exist_ok=True)
    return [writer.write(study, folder, writer.root) for study in phantom_studies(family, values)]
