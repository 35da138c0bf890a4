"""Rows of a table as a modality."""

import pytest

from medcodi.data.table import Column, TableSchema
from medcodi.modalities.tabular import TabularModality

AGE = Column("age", "integer", mean=50, std=10, minimum=0, maximum=100)
SEX = Column("sex", "categorical", ["F", "M"])


@pytest.mark.parametrize(("columns", "figure"), [([AGE], "r2"), ([AGE, SEX], "accuracy")])
def test_the_gate_bounds_a_figure_that_the_table_has(columns, figure):
    schema = TableSchema(columns).to_dicts()
    modality = TabularModality("row", {"kind": "tabular"}, {"schema": schema})
    rows = [{"age": age, "sex": "F"} for age in (40, 60, 55)]
    names = [column.name for column in columns]
    values = modality.collate([{name: row[name] for name in names} for row in rows])
    assert modality.figure == figure
    assert figure in modality.build_autoencoder().eval().reconstruction(values)
