"""A family of five: the four shipped modalities and the signal of `ecg.py`, whose frequency is the
row's heart rate."""

import pytest

from tests.contracts.ecg import heart_beat
from tests.tiny import FieldSpec, prepare_tiny, tiny_recipe


def add_ecg(study):
    rate = (study.values.get("tabular") or {}).get("heart_rate")
    if rate is not None:
        study.values["ecg"] = heart_beat(rate)


@pytest.fixture(scope="session")
def five_recipe(tmp_path_factory):
    """Recipe with one more entry and its bridging pair, and its prepared data. Nothing is
    trained."""
    folder = tmp_path_factory.mktemp("five")
    prepare_tiny(folder / "prepared", extra=[FieldSpec("ecg", "vector", (1, 64))], add=add_ecg)
    pairs = tiny_recipe(folder).shared_space.bridging_pairs
    return tiny_recipe(
        folder,
        name="five",
        modalities={"ecg": {"kind": "signal"}},
        shared_space={"bridging_pairs": [*pairs, ["ecg", "tabular"]]},
    )
