"""Columns that answer yes and no."""

from medcodi.data.table import Column, TableSchema
from medcodi.modalities.finding_columns import findings_of

YES, NO, PERHAPS = 1, 0, -1


def test_columns_that_answer_are_findings():
    columns = [
        Column("edema", "categorical", ["no", "yes"]),
        Column("icu", "categorical", ["false", "true"]),
        Column("effusion", "categorical", ["-1.0", "0.0", "1.0"]),
        Column("nodule", "ordinal", ["absent", "possible", "present"]),
        Column("mass", "integer", minimum=0, maximum=1),
        Column("hernia", "integer", minimum=-1, maximum=1),
    ]
    assert findings_of(TableSchema(columns)) == {
        "edema": {YES: "yes", NO: "no"},
        "icu": {YES: "true", NO: "false"},
        "effusion": {YES: "1.0", NO: "0.0", PERHAPS: "-1.0"},
        "nodule": {YES: "present", NO: "absent", PERHAPS: "possible"},
        "mass": {YES: 1.0, NO: 0.0},
        "hernia": {YES: 1.0, NO: 0.0, PERHAPS: -1.0},
    }


def test_other_columns_are_none():
    columns = [
        Column("sex", "categorical", ["F", "M"]),
        Column("age", "integer", minimum=0, maximum=90),
        Column("grade", "categorical", ["0", "1", "yes"]),
        Column("rate", "continuous", minimum=0, maximum=1),
    ]
    assert findings_of(TableSchema(columns)) == {}
