"""Workbooks as people make them: merged cells, titles, formulas, several sheets."""

import datetime

import pytest

from medcodi.sources.reading import read_table

openpyxl = pytest.importorskip("openpyxl")


@pytest.fixture
def book(tmp_path):
    """(sheet, read): a sheet with a header and 6 rows, and what reads it."""
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.append(["patient", "day", "dose"])
    for n in range(6):
        sheet.append([f"00{n // 2}", datetime.datetime(2021, 3, n + 1), n + 0.5])

    def read(name=""):
        book.save(tmp_path / "t.xlsx")
        return read_table(tmp_path / "t.xlsx", sheet=name)

    return sheet, read


def test_typed_cells_and_leading_zeros(book):
    _, read = book
    assert read().values.tolist()[0] == ["000", "2021-03-01", "0.5"]


def test_a_cell_merged_over_rows_stands_in_each(book):
    sheet, read = book
    sheet.merge_cells("A2:A3")
    frame = read()
    assert frame["patient"].tolist()[:3] == ["000", "000", "001"]
    assert frame.attrs["notes"] == ["A2:A3 is one cell: each of its rows has '000'"]


def test_a_title_over_all_columns_is_left_out(book):
    sheet, read = book
    sheet.insert_rows(1)
    sheet["A1"] = "Export of ward 7"
    sheet.merge_cells("A1:C1")
    frame = read()
    assert list(frame.columns) == ["patient", "day", "dose"] and len(frame) == 6
    assert "Export of ward 7" in frame.attrs["notes"][0]


def test_cells_merged_across_columns_are_refused(book):
    sheet, read = book
    sheet.merge_cells("B4:C4")
    with pytest.raises(ValueError, match="B4:C4 are merged across columns"):
        read()


def test_a_formula_without_its_value_is_refused(book):
    sheet, read = book
    sheet["C7"] = "=C6*2"
    with pytest.raises(ValueError, match=r"1 formulas have no value in the file \(C7: =C6\*2\)"):
        read()


def test_one_of_several_sheets_has_to_be_named(book):
    sheet, read = book
    other = sheet.parent.create_sheet("labs")
    other.append(["patient", "crp"])
    other.append(["000", True])
    sheet.parent.create_sheet("empty")
    with pytest.raises(ValueError, match=r"it has the sheets \['Sheet', 'labs'\]"):
        read()
    assert read("labs").values.tolist() == [["000", "True"]]
    with pytest.raises(ValueError, match="no sheet 'lab'"):
        read("lab")
