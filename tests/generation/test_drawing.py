"""Refused samples are drawn again from seeds that depend on their first one alone."""

from types import SimpleNamespace

import pytest

from medcodi.generation.drawing import draw_accepted, tally


class OddIsACopy:
    """Refuses odd values."""

    def judge(self, stored):
        return SimpleNamespace(reasons=["odd" if value % 2 else "" for value in stored["x"]])


def draw(rows, seeds):
    return {"x": list(seeds)}, list(seeds)


def test_what_is_refused_is_drawn_again_and_nothing_else():
    drawn = draw_accepted(draw, [2, 3, 4, 7], OddIsACopy())
    assert [one.sample % 2 for one in drawn] == [0, 0, 0, 0]
    assert [one.seed for one in drawn] == [one.sample for one in drawn]
    assert drawn[0].sample == 2 and drawn[2].sample == 4 and not drawn[0].refused
    assert set(drawn[1].refused) == {"odd"}
    alone = draw_accepted(draw, [3], OddIsACopy())
    assert alone[0].seed == drawn[1].seed  # whoever else is in the batch


def test_without_a_filter_every_first_draw_is_kept():
    assert [one.sample for one in draw_accepted(draw, [1, 2, 3], None)] == [1, 2, 3]


def test_a_filter_that_accepts_nothing_stops():
    nothing = SimpleNamespace(judge=lambda stored: SimpleNamespace(reasons=["a copy"] * 2))
    with pytest.raises(RuntimeError, match=r"refused one sample 5 times \(a copy\)"):
        draw_accepted(lambda rows, seeds: ({"x": rows}, rows), [1, 2], nothing, max_draws=5)


def test_the_tally_adds_up():
    entries = [{"refused": ["a", "b"]}, {}, {"refused": ["a"]}]
    assert tally(entries) == {
        "drawn": 6,
        "kept": 3,
        "acceptance_rate": 0.5,
        "reasons": {"a": 2, "b": 1},
    }
