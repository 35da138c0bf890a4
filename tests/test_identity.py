"""Hashes of what things were made from."""

from medcodi.identity import differences, fingerprint, plain


def test_a_fingerprint_knows_every_value_and_no_order_of_keys():
    values = {"a": 1, "b": [1, 2], "c": {"d": None}}
    assert fingerprint(values) == fingerprint({"c": {"d": None}, "b": (1, 2), "a": 1})
    assert len(fingerprint(values)) == 16
    for changed in ({**values, "a": 2}, {**values, "b": [2, 1]}, {**values, "e": 0}):
        assert fingerprint(changed) != fingerprint(values)


def test_differences_name_the_place_and_both_values():
    there, here = {"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 1, "c": 4}, "e": 5}
    assert differences(there, here, "x") == [
        "x.a.c is 2 there, 4 here",
        "x.d is 3 there, None here",
        "x.e is None there, 5 here",
    ]
    assert differences(there, there, "x") == []


def test_plain_is_what_json_gives_back():
    assert plain({"a": (1, 2), 3: "b"}) == {"a": [1, 2], "3": "b"}
