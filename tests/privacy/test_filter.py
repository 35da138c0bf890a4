"""Planted copies are dropped, strangers stay; a filter that was saved judges alike."""

import numpy as np
import pytest

from medcodi.data.storage import FieldSpec
from medcodi.data.writer import PreparedWriter
from medcodi.metrics.networks.fitting import FitSettings
from medcodi.phantom import SCHEMA, generate
from medcodi.privacy.filter import LINKED, PrivacyFilter
from medcodi.sources.phantom import STORAGE

SIZE = 32
SETTINGS = FitSettings("tiny", num_epochs=1, min_steps=100, batch_size=32, learning_rate=3e-3)


@pytest.fixture(scope="module")
def studies():
    return [s for s in generate(260, seed=2, size=SIZE, visits=2) if len(s.values) == 4]


@pytest.fixture(scope="module")
def prepared(studies, tmp_path_factory):
    folder = tmp_path_factory.mktemp("privacy") / "prepared"
    fields = [FieldSpec(name, storage) for name, storage in STORAGE.items() if name != "lateral"]
    with PreparedWriter(folder, fields, SCHEMA, validation=0.2, test=0.2) as writer:
        for study in studies:
            study.values.pop("lateral")
            writer.add(study)
    return folder


@pytest.fixture(scope="module")
def privacy(prepared):
    return PrivacyFilter.fit(prepared, settings=SETTINGS, false_match_rate=0.05)


@pytest.fixture(scope="module")
def parts(prepared):
    from medcodi.data.prepared import PreparedDataset

    sets = (PreparedDataset.load(prepared, split) for split in ("train", "validation", "test"))
    train, *held_out = ([part[i] for i in range(len(part))] for part in sets)
    return train, [study for part in held_out for study in part]


def values(studies, *names):
    return {name: [study.values[name] for study in studies] for name in names}


def test_copies_are_dropped_and_strangers_stay(privacy, parts):
    train, strangers = parts
    copies = privacy.judge(values(train[:40], "frontal", "report", "tabular"))
    kept = privacy.judge(values(strangers, "frontal", "report", "tabular"))
    assert copies.keep.mean() < 0.1 and kept.keep.mean() > 0.8
    assert all(bool(reason) != keep for reason, keep in zip(kept.reasons, kept.keep, strict=True))


@pytest.mark.parametrize("name", ["frontal", "tabular"])
def test_a_copy_scores_above_a_stranger(name, privacy, parts):
    train, strangers = parts
    copies = privacy.judge(values(train[:40], name)).scores[name]
    others = privacy.judge(values(strangers, name)).scores[name]
    assert np.median(copies) > np.quantile(others, 0.9)


def test_exact_flipped_and_brighter_copies_are_found(privacy, parts):
    images = np.stack(values(parts[0][:40], "frontal")["frontal"])
    for changed in (images, images[:, :, ::-1]):  # an exact copy, also of the mirror image
        assert not privacy.judge({"frontal": list(changed.copy())}).keep.any()
    brighter = privacy.judge({"frontal": list(np.clip(1.05 * images, 0, 1))}).keep.mean()
    assert brighter < 0.6


def test_absent_values_are_not_judged(privacy, parts):
    verdict = privacy.judge({"report": [None, parts[1][0].values["report"]]})
    assert verdict.keep[0] and np.isnan(verdict.scores["report"][0])


def test_two_alerts_with_one_study_are_a_link(privacy, parts, monkeypatch):
    for guard in privacy.guards.values():
        monkeypatch.setattr(guard, "threshold", 2.0 if guard.storage != "text" else 100.0)
    verdict = privacy.judge(values(parts[0][:30], "frontal", "tabular"))
    assert LINKED in verdict.reasons


def test_a_saved_filter_judges_alike(privacy, parts, tmp_path):
    again = PrivacyFilter.load(privacy.save(tmp_path / "filter"))
    shown = values(parts[1][:20], "frontal", "report", "tabular")
    before, after = privacy.judge(shown), again.judge(shown)
    assert before.reasons == after.reasons and again.about == privacy.about
    for name, score in before.scores.items():
        assert np.allclose(score, after.scores[name], atol=1e-6)


def test_what_cannot_be_judged_is_said(privacy, prepared, parts, tmp_path):
    with pytest.raises(ValueError, match="fitted on images of 32 x 32 pixels, got 16 x 16"):
        privacy.judge({"frontal": [np.zeros((16, 16), np.float32)]})
    with pytest.raises(ValueError, match="judges frontal, report, tabular; got ecg"):
        privacy.judge({"ecg": [1]})
    with pytest.raises(ValueError, match="unknown key 'frontl'"):
        PrivacyFilter.fit(prepared, names=["frontl"])
    with pytest.raises(ValueError, match="false_match_rate must lie in"):
        PrivacyFilter.fit(prepared, names=["report"], false_match_rate=0.5)
    with pytest.raises(FileNotFoundError, match="holds no privacy filter"):
        PrivacyFilter.load(tmp_path)
