"""Markdown tables."""

import pytest

from medcodi.report.markdown import markdown_table


def test_markdown_table():
    text = markdown_table(["system", "N"], [["a|b\nc", 3], ["real", None]])
    assert text == "| system | N |\n| --- | --- |\n| a\\|b c | 3 |\n| real | None |"
    with pytest.raises(ValueError, match=r"expected 2 cells \(system, N\), got \['a'\]"):
        markdown_table(["system", "N"], [["a"]])
