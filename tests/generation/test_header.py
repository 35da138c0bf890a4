"""What a manifest says of a run."""

import pytest

from medcodi.generation.header import today


def test_the_day_can_be_fixed(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    assert today() == "1970-01-02"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "now")
    with pytest.raises(ValueError, match="SOURCE_DATE_EPOCH must be seconds since 1970, got 'now'"):
        today()
