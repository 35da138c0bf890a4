"""Format `imagefolder`: what `datasets.load_dataset(FOLDER)` reads without any code of ours.

data/sample_00000_frontal.png    16-bit greyscale PNG, one a picture
data/metadata.parquet            one row a study: NAME_file_name of every picture, texts, table
columns NAME_COLUMN
README.md                        dataset card
croissant.json                   the same for machines (mlcommons.org/croissant/1.0)
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from medcodi.data.png import encode_image
from medcodi.data.storage import Storage
from medcodi.files import written
from medcodi.generation.formats.base import Facts, GeneratedStudy, StudyFormat, Written, join
from medcodi.generation.formats.card import METADATA, dataset_card
from medcodi.generation.formats.croissant import croissant
from medcodi.modalities.base import Modality


class ImageFolderFormat(StudyFormat):
    name, root = "imagefolder", "data"

    def __init__(self, modalities: Sequence[Modality], facts: Facts) -> None:
        super().__init__(modalities, facts)
        if not any(m.storage == Storage.IMAGE for m in self.modalities):
            raise ValueError(
                f"format {self.name!r} needs an output that is a picture, got "
                f"{', '.join(m.name for m in self.modalities)}"
            )

    def write(self, study: GeneratedStudy, folder: Path, parent: str) -> Written:
        written = Written(
            row={"study_id": study.stem, "seed": str(study.seed), "prompts": study.prompt_hash}
        )
        for modality in self.modalities:
            value = study.stored[modality.name]
            if modality.storage == Storage.IMAGE:
                path = join(parent, f"{study.stem}_{modality.name}.png")
                (folder / path).write_bytes(encode_image(value))
                written.files[modality.name] = path
                written.row[f"{modality.name}_file_name"] = path.removeprefix(f"{self.root}/")
            elif modality.storage == Storage.TEXT and not value.strip():
                written.left_out[modality.name] = "the generated text is empty"
            elif modality.storage == Storage.TABLE:
                shown = {c.name: c.show(value[c.name]) for c in modality.schema.columns}
                written.row |= {f"{modality.name}_{column}": cell for column, cell in shown.items()}
            else:
                written.row[modality.name] = (
                    value if modality.storage == Storage.TEXT else value.reshape(-1).tolist()
                )
        return written

    @property
    def schema(self) -> pa.Schema:
        """Types of the metadata, whatever cells are missing."""
        columns: list[tuple[str, Any]] = [
            ("study_id", pa.string()),
            ("seed", pa.string()),
            ("prompts", pa.string()),
        ]
        for modality in self.modalities:
            if modality.storage == Storage.IMAGE:
                columns.append((f"{modality.name}_file_name", pa.string()))
            elif modality.storage == Storage.TABLE:
                for column in modality.schema.columns:
                    number = pa.int64() if column.type == "integer" else pa.float64()
                    columns.append(
                        (
                            f"{modality.name}_{column.name}",
                            number if column.shows_number else pa.string(),
                        )
                    )
            else:
                columns.append(
                    (
                        modality.name,
                        pa.string() if modality.storage == Storage.TEXT else pa.list_(pa.float32()),
                    )
                )
        return pa.schema(columns)

    def finish(self, folder: Path, samples: list[dict[str, Any]]) -> dict[str, str]:
        table = pa.Table.from_pylist([sample["row"] for sample in samples], schema=self.schema)
        with written(folder / METADATA) as temporary:
            pq.write_table(table, temporary)
        pictures = [m.name for m in self.modalities if m.storage == Storage.IMAGE]
        texts = {
            "README.md": dataset_card(self.facts, table, pictures),
            "croissant.json": croissant(self.facts, table, folder, pictures),
        }
        for name, text in texts.items():
            with written(folder / name) as temporary:
                temporary.write_text(text, encoding="utf-8")
        return {"metadata": METADATA, "card": "README.md", "croissant": "croissant.json"}
