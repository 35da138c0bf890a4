"""README.md of a pipeline folder: the model card (Mitchell et al. 2019) with the metadata block of
the Hugging Face hub."""

import dataclasses
import json
import math

import yaml

import medcodi
from medcodi.modalities.family import ModelFamily
from medcodi.pipeline.facts import Facts, Figure
from medcodi.pipeline.index import Index

LIMITS = """- Synthetic output. Not for clinical use; it says nothing about any patient.
- The model knows what its training data hold: their scanners, their hospitals, their reports, their
  errors. Findings that are rare there are drawn badly or not at all.
- A generative model can repeat what it was trained on. Measure memorisation before you publish the
  weights or samples of a model that saw patients.
- Guidance above 1 makes samples more typical than real studies are."""

NO_LICENCE = (
    "Not chosen: it is up to whoever publishes the weights, within the terms of the training data."
)

CARD = """{metadata}
# {name}

Any-to-any generation of studies: every subset of {modalities} from every other, jointly, also from
nothing. Made by medcodi {version}.

```python
from medcodi.pipeline import MedCoDiPipeline

pipe = MedCoDiPipeline.from_pretrained("FOLDER")
out = pipe(outputs=["{first}"])
```

## Modalities

| name | kind | latents | guidance |
| --- | --- | --- | --- |
{rows}

## Training

| | |
| --- | --- |
{training}

<details><summary>Recipe</summary>

```yaml
{recipe}```

</details>

## Figures

{figures}

## Limits

{limits}

## Licence

{licence}
"""


def model_card(family: ModelFamily, index: Index) -> str:
    """Text of README.md."""
    facts = index.facts
    metadata = {
        "library_name": "medcodi",
        "pipeline_tag": "image-to-image",
        "tags": ["medcodi", "diffusers", "medical", "chest-x-ray", "synthetic", "any-to-any"],
        **({"license": facts.licence} if facts.licence else {}),
    }
    recipe = dataclasses.asdict(index.recipe)
    parts = {key: recipe[key] for key in ("seed", "modalities", "shared_space", "diffusion")}
    modalities = [family.modality(name) for name in index.names]
    shapes = [" x ".join(map(str, family.latent_shape(m.group))) for m in modalities]
    rows = [
        f"| {m.name} | {m.kind} | {shape} | {m.args.guidance_scale:g} |"
        for m, shape in zip(modalities, shapes, strict=True)
    ]
    added = [f"- {sentence}" for sentence in (facts.limits, facts.privacy) if sentence]
    return CARD.format(
        metadata=f"---\n{yaml.safe_dump(metadata, sort_keys=False)}---\n",
        name=index.recipe.name,
        modalities=", ".join(index.names),
        version=medcodi.__version__,
        first=index.names[0],
        rows="\n".join(rows),
        training=_training(facts, index),
        recipe=yaml.safe_dump(json.loads(json.dumps(parts)), sort_keys=False),
        figures=_figures(facts.figures),
        limits="\n".join([LIMITS, *added]),
        licence=facts.licence or NO_LICENCE,
    )


def _training(facts: Facts, index: Index) -> str:
    told = {
        "data": facts.data or "not said",
        "medcodi commit": facts.commit or "not known",
        "hours": ", ".join(f"{stage} {h:.2f}" for stage, h in facts.hours.items()) or "not known",
        "hours in all": f"{math.fsum(facts.hours.values()):.2f}" if facts.hours else "not known",
        "weights": f"`{index.model_hash}`",
    }
    return "\n".join(f"| {key} | {value} |" for key, value in told.items())


def _figures(figures: list[Figure]) -> str:
    if not figures:
        return "None were measured. `eval/run.py` measures a run."
    rows = []
    for f in figures:
        interval = " to ".join(f"{x:.4g}" for x in f.interval) if f.interval else "-"
        rows.append(f"| {f.name} | {f.value:.4g} | {interval} | {f.count} |")
    return "\n".join(["| figure | value | 95 % interval | N |", "| --- | --- | --- | --- |", *rows])
