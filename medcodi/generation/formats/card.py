"""Dataset card (Hugging Face) of a generated set."""

import json

import pyarrow as pa

from medcodi.generation.formats.base import NOT_CLINICAL, Facts

METADATA = "data/metadata.parquet"
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))

CARD = """---
pretty_name: {title}
tags: [synthetic, medical, chest-x-ray, medcodi]
size_categories: ["{size}"]
configs:
- config_name: default
  data_files:
  - split: train
    path: data/**
---

# {title}

**{not_clinical}** {count} studies that a model made. No row is a patient, and nothing in here was
checked by a clinician. A generative model can repeat what it was trained on: measure memorisation
before you publish this set. No licence is chosen here: that is up to whoever publishes it, within
the terms of the training data.

- Made by medcodi {version}, model `{model}`, weights `{hash}`, on {created}.
- Settings: `{settings}`. Seeds and prompt hashes are columns; every file's sha256 is in
  `manifest.json`.
- Pictures ({pictures}) are 16-bit greyscale PNG.

```python
from datasets import load_dataset
studies = load_dataset("FOLDER", split="train")
```

| column | type |
| --- | --- |
{columns}
"""


def title(facts: Facts) -> str:
    return f"Synthetic studies of {facts.model}"


def dataset_card(facts: Facts, table: pa.Table, pictures: list[str]) -> str:
    """`table` is the metadata, `pictures` the modalities with files."""
    size = next((label for bound, label in SIZES if table.num_rows < bound), "n>1M")
    columns = "\n".join(
        f"| `{field.name.removesuffix('_file_name')}` | {_shown(field)} |" for field in table.schema
    )
    return CARD.format(
        title=title(facts),
        size=size,
        not_clinical=NOT_CLINICAL,
        count=table.num_rows,
        version=facts.version,
        model=facts.model,
        hash=facts.model_hash,
        created=facts.created,
        settings=json.dumps(facts.settings, sort_keys=True),
        pictures=", ".join(pictures),
        columns=columns,
    )


def _shown(field: pa.Field) -> str:
    return "picture" if field.name.endswith("_file_name") else str(field.type)
