"""What the manifest tells of a filter's refusals."""

from medcodi.generation.refusals import tally


def test_the_tally_adds_up():
    entries = [{"refused": ["a", "b"]}, {}, {"refused": ["a"]}]
    assert tally(entries) == {
        "drawn": 6,
        "kept": 3,
        "acceptance_rate": 0.5,
        "reasons": {"a": 2, "b": 1},
    }
