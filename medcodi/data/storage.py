"""Storage formats of the prepared dataset: how one value of a modality stands in Arrow. Legend: H W
pixels."""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from medcodi.config_io import unknown_key
from medcodi.data.png import EncodedImage, decode_image, encode_image
from medcodi.data.table import TableSchema

RESERVED = ("study_id", "patient_id", "truth")


class Storage(StrEnum):
    IMAGE = "image"  # 16-bit greyscale PNG
    TEXT = "text"
    TABLE = "table"  # a struct, one member a column
    VECTOR = "vector"  # fixed-size list of float32


@dataclass
class FieldSpec:
    """How the values of one modality are stored: `storage` is one of Storage; `shape` is that of
    the array of a vector."""

    name: str
    storage: str
    shape: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.storage not in list(Storage):
            raise ValueError(
                f"field {self.name!r}: storage must be one of {', '.join(Storage)}, got "
                f"{self.storage!r}"
            )
        if self.name in RESERVED or not self.name:
            raise ValueError(f"a field cannot be named {self.name!r}: {RESERVED} are taken")
        if (self.storage == Storage.VECTOR) != (self.shape is not None):
            raise ValueError(
                f"field {self.name!r}: 'vector' needs a shape, the others have none; got "
                f"{self.storage!r}, {self.shape}"
            )
        self.shape = tuple(self.shape) if self.shape is not None else None


def arrow_feature(spec: FieldSpec, schema: TableSchema | None) -> Any:
    """The `datasets` feature of a field; `schema` is needed for storage "table"."""
    import datasets  # slow to import: when needed

    if spec.storage == Storage.IMAGE:
        return datasets.Image()
    if spec.storage == Storage.TEXT:
        return datasets.Value("string")
    if spec.storage == Storage.VECTOR:
        return datasets.List(datasets.Value("float32"), length=math.prod(spec.shape))
    return {
        c.name: datasets.Value("string" if c.is_discrete else "float64") for c in schema.columns
    }


def schemas_by_field(
    fields: list[FieldSpec], schema: TableSchema | dict[str, TableSchema] | None
) -> dict[str, TableSchema]:
    """Schema of each table field; checks that names are distinct and that tables have schemas."""
    names = [spec.name for spec in fields]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"a prepared dataset needs fields with distinct names, got {names}")
    tables = [spec.name for spec in fields if spec.storage == Storage.TABLE]
    if isinstance(schema, TableSchema):
        schema = dict.fromkeys(tables, schema)
    schema = schema or {}
    if set(schema) != set(tables):
        raise ValueError(
            f"every table field needs a TableSchema: the table fields are {tables}, got schemas "
            f"for {sorted(schema)}"
        )
    return {name: TableSchema.from_dicts(schema[name].to_dicts()) for name in tables}


def to_storage(spec: FieldSpec, value: Any) -> Any:
    """What Arrow holds for an image, text or vector. Raises ValueError for a value that the storage
    cannot hold."""
    if spec.storage == Storage.TEXT:
        if not isinstance(value, str) or not value.strip():
            raise ValueError(f"expected a text that is not blank, got {value!r:.80}")
        return value
    if spec.storage == Storage.IMAGE and isinstance(value, EncodedImage):
        return {"bytes": value.png, "path": None}
    array = np.asarray(value, np.float32)
    if not np.isfinite(array).all():
        raise ValueError("holds a number that is not finite")
    if spec.storage == Storage.VECTOR:
        if array.shape != spec.shape:
            raise ValueError(f"expected an array of shape {spec.shape}, got {array.shape}")
        return array.reshape(-1)
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(f"expected an image (H, W), got shape {array.shape}")
    if array.min() < 0 or array.max() > 1:
        raise ValueError(f"expected pixels in [0, 1], got {array.min():g} to {array.max():g}")
    return {"bytes": encode_image(array), "path": None}


def to_stored_row(
    schema: TableSchema, row: dict[str, Any], item: str
) -> tuple[dict[str, Any] | None, list[tuple[str, str]]]:
    """Cells as stored (None for a row without any value), and (item, reason) of each cell that the
    schema cannot hold.

    Raises ValueError for a column that the schema does not have.
    """
    cells: dict[str, Any] = dict.fromkeys(schema.names)
    for key in row:
        if key not in cells:
            raise unknown_key(key, cells, item)
    problems = []
    for column in schema.columns:
        value = row.get(column.name)
        if value is None or (isinstance(value, float) and math.isnan(value)):
            continue
        try:
            cells[column.name] = column.read(value)
        except ValueError as error:
            problems.append((f"{item}.{column.name}", str(error)))
    if all(value is None for value in cells.values()):
        return None, [*problems, (item, "every column of the row is missing: the table is absent")]
    return cells, problems


def from_storage(spec: FieldSpec, schema: TableSchema | None, stored: Any) -> Any:
    """The raw value that `to_storage` (or a stored table row) stands for."""
    if spec.storage == Storage.IMAGE:
        return decode_image(stored["bytes"])
    if spec.storage == Storage.VECTOR:
        return np.asarray(stored, np.float32).reshape(spec.shape)
    if spec.storage == Storage.TABLE:
        integers = {c.name for c in schema.columns if c.type == "integer"}
        return {
            n: int(cell) if n in integers and cell is not None and cell.is_integer() else cell
            for n, cell in stored.items()
        }
    return stored


def json_value(value: Any) -> Any:
    """`default` of json.dumps: numpy scalars and arrays, and tensors, become plain numbers and
    lists."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"truth and notes must be JSON-like, got {type(value).__name__}")
