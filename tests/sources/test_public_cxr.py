"""The recipe of public radiographs: its mappings agree on the columns, its labels are columns."""

from pathlib import Path

import pytest

from medcodi.config_io import load_recipe, load_yaml
from medcodi.sources.findings import public_schema
from medcodi.sources.mapping import parse_mapping

CONFIGS = Path(__file__).parents[2] / "configs"
MAPPINGS = sorted((CONFIGS / "sources" / "public_cxr").glob("*.yaml"))
KNOWN = {column.name: column for column in public_schema().columns}


@pytest.mark.parametrize("path", MAPPINGS, ids=lambda path: path.stem)
def test_mappings_have_columns_of_the_one_table(path):
    mapping = parse_mapping(load_yaml(path))
    for schema in mapping.schemas.values():
        for column in schema.columns:
            known = KNOWN[column.name]
            assert (column.type, column.categories, column.unit) == (
                known.type,
                known.categories,
                known.unit,
            )


def test_the_recipe_asks_for_what_the_table_has():
    recipe = load_recipe(CONFIGS / "public_cxr.yaml")
    for label in recipe.evaluation.labels.values():
        assert set(label["positive"]) <= set(KNOWN[label["column"]].categories)
    assert {parse_mapping(load_yaml(path)).size for path in MAPPINGS} == {
        recipe.modalities["frontal"]["size"]
    }
