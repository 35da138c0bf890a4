"""Dataset card (Hugging Face) and Croissant file of a generated set."""

import hashlib
import json
from pathlib import Path
from typing import Any

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


# The JSON-LD context of the Croissant format specification 1.0
OWN_TERMS = (
    "citeAs",
    "column",
    "equivalentProperty",
    "extract",
    "field",
    "fileProperty",
    "fileObject",
    "fileSet",
    "format",
    "includes",
    "isLiveDataset",
    "jsonPath",
    "key",
    "md5",
    "parentField",
    "path",
    "recordSet",
    "references",
    "regex",
    "repeated",
    "replace",
    "samplingRate",
    "separator",
    "source",
    "subField",
    "transform",
)
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "dct": "http://purl.org/dc/terms/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    **{term: f"cr:{term}" for term in OWN_TERMS},
}


def croissant(facts: Facts, table: pa.Table, folder: Path, pictures: list[str]) -> str:
    """Croissant 1.0 description: the parquet file, one file set a kind of picture, the rows and the
    pictures as record sets."""
    where = (
        "data/*/" if "/" in table[f"{pictures[0]}_file_name"][0].as_py() else "data/"
    )  # large runs: data/part_00000/
    hashed = hashlib.sha256((folder / METADATA).read_bytes()).hexdigest()
    files: list[dict[str, Any]] = [
        {
            "@type": "cr:FileObject",
            "@id": "metadata",
            "name": "metadata",
            "contentUrl": METADATA,
            "encodingFormat": "application/x-parquet",
            "sha256": hashed,
        },
    ]
    studies = [
        _field(
            "studies",
            f.name,
            _type(f.type),
            {"extract": {"column": f.name}, "fileObject": {"@id": "metadata"}},
            repeated=pa.types.is_list(f.type),
        )
        for f in table.schema
    ]
    records = [
        {
            "@type": "cr:RecordSet",
            "@id": "studies",
            "name": "studies",
            "key": {"@id": "studies/study_id"},
            "field": studies,
        }
    ]
    for name in pictures:
        files.append(
            {
                "@type": "cr:FileSet",
                "@id": f"{name}-files",
                "name": f"{name}-files",
                "encodingFormat": "image/png",
                "includes": f"{where}*_{name}.png",
            }
        )
        source = {"extract": {"fileProperty": "content"}, "fileSet": {"@id": f"{name}-files"}}
        records.append(
            {
                "@type": "cr:RecordSet",
                "@id": name,
                "name": name,
                "field": [_field(name, "picture", "sc:ImageObject", source)],
            }
        )
    return json.dumps(
        {
            "@context": CONTEXT,
            "@type": "sc:Dataset",
            "conformsTo": "http://mlcommons.org/croissant/1.0",
            "name": title(facts),
            "description": f"{NOT_CLINICAL} Studies that model {facts.model} ({facts.model_hash}) "
            "made.",
            "license": "not chosen: see README.md",
            "url": f"urn:medcodi:{facts.model_hash}",
            "version": "1.0.0",
            "datePublished": facts.created,
            "creator": {"@type": "sc:Organization", "name": f"medcodi {facts.version}"},
            "citeAs": f"{title(facts)}, generated by medcodi {facts.version}",
            "distribution": files,
            "recordSet": records,
        },
        indent=1,
    )


def _field(
    record: str, name: str, data_type: str, source: dict[str, Any], repeated: bool = False
) -> dict[str, Any]:
    described = {
        "@type": "cr:Field",
        "@id": f"{record}/{name}",
        "name": name,
        "dataType": data_type,
        "source": source,
    }
    return {**described, "repeated": True} if repeated else described


def _type(arrow: pa.DataType) -> str:
    arrow = arrow.value_type if pa.types.is_list(arrow) else arrow
    if pa.types.is_integer(arrow):
        return "sc:Integer"
    return "sc:Float" if pa.types.is_floating(arrow) else "sc:Text"
