"""TabularSynthesizer: types come back, the given stays, constraints hold, bad input is named."""

import resource

import numpy as np
import pandas as pd
import pytest

from medcodi.tabular import TabularSynthesizer, sampling

ROWS = 400
FOREST = {"trees": 2}
CONSTRAINTS = [
    {"less_equal": ["visit", "last"]},
    {"only_if": {"column": "packs", "when": {"smoker": [True]}}},
    {"sum": {"total": "total", "parts": ["left", "right"]}},
]


def table(seed=0, rows=ROWS):
    rng = np.random.default_rng(seed)
    sex, smoker = rng.choice(["F", "M"], rows), rng.random(rows) < 0.4
    age = rng.normal(65, 16, rows).clip(18, 99).round().astype(int)
    visit = pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 300, rows), "D")
    frame = pd.DataFrame(
        {
            "id": [f"P{i:05d}" for i in range(rows)],
            "sex": sex,
            "age": np.where(age > 89, ">89", age.astype(str)),
            "height": (165 + 14 * (sex == "M") + rng.normal(0, 5, rows)).round(1),
            "visit": visit,
            "last": visit + pd.to_timedelta(rng.integers(0, 60, rows), "D"),
            "seen": visit.strftime("%d.%m.%Y"),
            "smoker": smoker,
            "packs": np.where(smoker, rng.integers(1, 30, rows), np.nan),
            "left": rng.integers(0, 20, rows),
            "right": rng.integers(0, 20, rows),
            "site": "A",
            "note": [f"seen again, number {i % 300}" for i in range(rows)],
        }
    )
    return frame.assign(total=frame["left"] + frame["right"])


@pytest.fixture(scope="module")
def fitted():
    synthesizer = TabularSynthesizer(constraints=CONSTRAINTS, forest=FOREST, progress=False)
    return synthesizer.fit(table())


def test_types_and_forms_come_back(fitted):
    real, made = table(), fitted.sample(300, seed=1)
    assert list(made) == [name for name in real if name != "note"]
    assert (made.dtypes == real[list(made)].dtypes).all()
    assert made["id"].is_unique and not set(made["id"]) & set(real["id"])
    assert set(made["site"]) == {"A"} and set(made["sex"]) == {"F", "M"}
    assert made["seen"].str.fullmatch(r"\d\d\.\d\d\.20\d\d").all()
    assert made["age"].str.fullmatch(r">89|\d+").all() and (made["age"] == ">89").any()
    assert made["visit"].between(real["visit"].min(), real["visit"].max()).all()
    assert "text" in fitted.report["columns"]["note"]
    assert made.groupby("sex")["height"].mean().diff().iloc[1] > 7


def test_constraints_hold_in_every_row(fitted):
    made = fitted.sample(3000, seed=2)
    assert (made["visit"] <= made["last"]).all() and made["packs"][~made["smoker"]].isna().all()
    assert (made["total"] == made["left"] + made["right"]).all()


def gappy(rows, seed=0):
    """The table with missing cells in every column that a constraint names."""
    frame = table(seed, rows).drop(columns=["note", "seen", "id"])
    rng = np.random.default_rng(seed)
    for name in ("visit", "last", "smoker", "left", "total", "height"):
        frame[name] = frame[name].astype(object).mask(rng.random(rows) < 0.15)
    frame.loc[frame["smoker"].isna(), "packs"] = np.nan
    return frame.astype({"visit": "datetime64[ns]", "last": "datetime64[ns]", "height": float})


def holds(made):
    visit, last = made["visit"], made["last"]
    numbers = made[["total", "left", "right"]].astype(float)
    adds = numbers["total"] == numbers["left"] + numbers["right"]
    return (
        ((visit <= last) | visit.isna() | last.isna())
        & (made["packs"].isna() | made["smoker"].eq(True).fillna(False))
        & (adds | numbers.isna().any(axis=1))
        & (made["height"].isna() | (made["height"] > 0))
    )


@pytest.mark.parametrize("rows", [2000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_constraints_hold_with_missing_values(rows):
    real = gappy(ROWS)
    assert holds(real).all()
    rules = [*CONSTRAINTS, {"positive": ["height"]}, {"combinations": ["sex", "smoker"]}]
    synthesizer = TabularSynthesizer(constraints=rules, forest=FOREST, progress=False)
    made = synthesizer.fit(real).sample(rows, seed=1)
    assert len(made) == rows and holds(made).all()
    for name in ("visit", "smoker", "left"):
        assert abs(made[name].isna().mean() - 0.15) < 0.08


def test_durations_come_back():
    rng = np.random.default_rng(0)
    stay = pd.Series(pd.to_timedelta(rng.integers(1, 400, 300), "h"))
    frame = pd.DataFrame({"ward": rng.choice(["a", "b"], 300), "stay": stay.mask(stay.index < 30)})
    synthesizer = TabularSynthesizer(forest=FOREST, progress=False).fit(frame)
    made = synthesizer.sample(200)["stay"]
    assert made.dtype == frame["stay"].dtype and 0.02 < made.isna().mean() < 0.25
    assert made.dropna().between(stay.min(), stay.max()).all()
    assert (made.dropna().dt.total_seconds() % 3600 == 0).all()
    given = synthesizer.sample(3, given={"stay": pd.Timedelta("5h")})
    assert set(given["stay"]) == {pd.Timedelta("5h")}


def test_numbers_of_a_frame_are_numbers(caplog):
    """`prepare table` asks whether 99 stands for no value; a frame has NaN for that."""
    rng = np.random.default_rng(0)
    score = np.where(rng.random(300) < 0.1, 99, rng.integers(0, 14, 300))
    frame = pd.DataFrame({"sex": rng.choice(["F", "M"], 300), "score": score})
    synthesizer = TabularSynthesizer(forest=FOREST, progress=False).fit(frame)
    assert "'99'" in caplog.text and "'99'" in synthesizer.report["columns"]["score"]
    made = synthesizer.sample(500)["score"]
    assert made.isin(set(score)).all() and 0.04 < (made == 99).mean() < 0.18
    rules = {"score": {"missing": ["99"]}}
    told = TabularSynthesizer(rules, forest=FOREST, progress=False).fit(frame).sample(300)["score"]
    assert told.isna().any() and told.max() < 14
    with pytest.raises(ValueError, match="nothing is guessed"):
        TabularSynthesizer(progress=False).fit(frame.astype(str))


def test_values_below_detection_come_back():
    rng = np.random.default_rng(0)
    level = rng.lognormal(0, 1.5, 400).round(1)
    frame = pd.DataFrame(
        {"x": rng.normal(size=400), "level": np.where(level < 0.5, "<0.5", level.astype(str))}
    )
    made = TabularSynthesizer(forest=FOREST, progress=False).fit(frame).sample(400)["level"]
    assert abs((made == "<0.5").mean() - (frame["level"] == "<0.5").mean()) < 0.1
    assert made[made != "<0.5"].astype(float).between(0.5, level.max()).all()


@pytest.mark.slow
def test_three_hundred_codes_in_six_thousand_rows():
    rng = np.random.default_rng(0)
    shares = 1 / np.arange(1, 301)
    code = rng.choice(300, 6000, p=shares / shares.sum())
    frame = pd.DataFrame(
        {
            "code": [f"I{c // 10:02d}.{c % 10}" for c in code],
            "days": code % 17 + rng.poisson(2, 6000),
        }
    )
    rules = {"code": {"type": "categorical"}}
    made = TabularSynthesizer(rules, progress=False).fit(frame).sample(6000)
    share = [f["code"].value_counts(normalize=True) for f in (frame, made)]
    gap = share[0].sub(share[1], fill_value=0).abs().sum() / 2
    assert gap < 0.08  # two real tables of this size: about .09
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 2 << 20  # KiB


def test_seeds(fitted):
    assert fitted.sample(50, seed=3).equals(fitted.sample(50, seed=3))
    assert not fitted.sample(50, seed=3).equals(fitted.sample(50, seed=4))


def test_what_is_given_is_kept(fitted):
    one = fitted.sample(40, given={"sex": "F", "age": ">89", "visit": pd.Timestamp("2020-02-03")})
    assert set(one["sex"]) == {"F"} and set(one["age"]) == {">89"}
    assert set(one["visit"]) == {pd.Timestamp("2020-02-03")} and (one["last"] >= one["visit"]).all()
    given = pd.DataFrame({"height": np.linspace(150, 190, 60), "smoker": [True, False] * 30})
    rows = fitted.sample(given=given)
    assert np.allclose(rows["height"], given["height"]) and rows["smoker"].equals(given["smoker"])
    tall = fitted.sample(200, given={"height": 190.0})["sex"]
    assert (tall == "M").mean() > 0.8


def shop(rows=400, seed=0):
    """Types that depend on whether a cell of a block is missing, and a key in two columns."""
    rng = np.random.default_rng(seed)
    whole = pd.Series(rng.integers(0, 900, rows))
    return pd.DataFrame(
        {
            "number": range(50, 50 + rows),
            "code": rng.integers(0, 400, rows),
            "ward": rng.choice(["a", "b"], rows),
            "done": pd.Series(rng.random(rows) < 0.5).astype("boolean").mask(whole < 20),
            "stay": pd.to_timedelta(rng.integers(1, 90, rows), "h"),
            "count": whole.astype("Int64").mask(whole < 5),
        }
    ).drop_duplicates(["code", "ward"], ignore_index=True)


@pytest.mark.parametrize("rules", [[], [{"unique": ["code", "ward"]}]])
def test_rows_by_blocks_are_the_rows_of_one_call(rules, monkeypatch):
    monkeypatch.setattr(sampling, "CHUNK", 64)
    made_of = TabularSynthesizer(constraints=rules, forest=FOREST, progress=False).fit(shop())
    whole = made_of.sample(300, seed=3)
    assert not rules or not whole.duplicated(["code", "ward"]).any()
    for rows in (7, 64, 130, 1000):
        blocks = list(made_of.sample_batches(300, seed=3, rows=rows))
        assert [len(block) for block in blocks[:-1]] == [rows] * (len(blocks) - 1)
        assert all((block.dtypes == whole.dtypes).all() for block in blocks)
        pd.testing.assert_frame_equal(pd.concat(blocks, ignore_index=True), whole)


def test_given_rows_come_in_blocks(fitted):
    given = pd.DataFrame({"height": np.linspace(150, 190, 60), "smoker": [True, False] * 30})
    blocks = list(fitted.sample_batches(given=given, seed=2, rows=25))
    whole = fitted.sample(given=given, seed=2)
    pd.testing.assert_frame_equal(pd.concat(blocks, ignore_index=True), whole)


def test_keys_that_run_out_are_refused_with_the_block(monkeypatch):
    monkeypatch.setattr(sampling, "CHUNK", 32)
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"code": rng.permutation(60), "x": rng.normal(size=60).round(1)})
    rules = {"constraints": [{"unique": ["code"]}], "columns": {"code": {"type": "integer"}}}
    synthesizer = TabularSynthesizer(**rules, forest=FOREST, progress=False).fit(frame)
    blocks = synthesizer.sample_batches(96, rows=8)
    assert len(next(blocks)) == 8
    with pytest.raises(ValueError, match=r"cannot hold \(unique \(code\)"):
        list(blocks)
    with pytest.raises(ValueError, match=r"cannot hold \(unique \(code\).*keys .* run out"):
        synthesizer.sample(96)


def test_missing_cells_are_filled_and_others_stay(fitted):
    frame = table(seed=5, rows=60)
    frame.loc[:20, "height"], frame.loc[10:30, "sex"] = np.nan, None
    full = fitted.impute(frame)
    assert full[["height", "sex"]].notna().all().all()
    for name in frame:
        there = frame[name].notna()
        assert full[name][there].equals(frame[name][there])


def test_gaps_are_what_fit_took_for_gaps():
    """Spellings of no value, and of one category, are those of the data."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "ward": rng.choice(["a", "b", "B", "NA"], 300, p=[0.4, 0.4, 0.1, 0.1]),
            "pain": rng.choice(["1", "2", "3", "99", "-"], 300),
        }
    )
    rules = {"pain": {"missing": ["99"]}}
    synthesizer = TabularSynthesizer(rules, forest=FOREST, progress=False).fit(frame)
    full = synthesizer.impute(frame)
    gaps = frame.isin(["NA", "99", "-"])
    assert full["ward"][~gaps["ward"]].equals(frame["ward"][~gaps["ward"]])
    assert set(full["ward"][gaps["ward"]]) <= {"a", "b"}
    assert set(full["pain"]) == {"1", "2", "3"}


def test_categories_keep_their_levels_and_order():
    rng = np.random.default_rng(0)
    grades = ["low", "mid", "high", "never"]
    frame = pd.DataFrame(
        {
            "grade": pd.Categorical(rng.choice(grades[:3], 200), grades, ordered=True),
            "code": pd.Categorical(rng.choice([1, 2, 3], 200)),
            "band": pd.cut(rng.normal(50, 9, 200), [0, 45, 55, 99]),
        }
    )
    synthesizer = TabularSynthesizer(forest=FOREST, progress=False).fit(frame)
    made = synthesizer.sample(60)
    assert made["grade"].dtype == frame["grade"].dtype
    assert made["code"].dtype == frame["code"].dtype
    assert list(made["band"].cat.categories) == ["(0, 45]", "(45, 55]", "(55, 99]"]
    assert made["band"].cat.ordered and made.notna().all().all()
    gaps = frame.head(20).assign(grade=frame["grade"].head(20).where(frame.index[:20] > 4))
    gaps["grade"] = gaps["grade"].cat.remove_unused_categories()
    assert synthesizer.impute(gaps).notna().all().all()


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("datetime64[ns, Europe/Berlin]", pd.date_range("2020-03-01", periods=90, tz="UTC")),
        ("datetime64[us]", pd.date_range("2020-01-01 10:00", periods=90, freq="37min")),
        ("Int64", [*range(40), *range(40), *[None] * 10]),
        ("boolean", [True, False, None] * 30),
        ("float32", np.linspace(0, 1, 90)),
    ],
)
def test_types_of_pandas_come_back(kind, values):
    frame = pd.DataFrame({"x": pd.Series(values).astype(kind), "g": ["a", "b", "b"] * 30})
    synthesizer = TabularSynthesizer(forest={"trees": 1}, progress=False).fit(frame)
    assert synthesizer.sample(40)["x"].dtype == frame["x"].dtype
    frame["x"] = frame["x"].mask(frame.index < 5)
    full = synthesizer.impute(frame)["x"]
    assert full.dtype == frame["x"].dtype and full.notna().all()


def test_columns_may_be_named_by_numbers():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({0: rng.choice(["a", "b"], 100), 1: rng.normal(size=100)})
    frame.loc[:9, 0] = None
    synthesizer = TabularSynthesizer(forest=FOREST, progress=False).fit(frame)
    assert (
        list(synthesizer.impute(frame)) == [0, 1] and synthesizer.impute(frame).notna().all().all()
    )


def test_parts_of_a_given_total_stay_in_their_range(fitted):
    made = fitted.sample(300, given={"total": 6})
    assert (made["left"] + made["right"] == 6).all()
    assert made["left"].between(0, 19).all() and made["right"].between(0, 19).all()


def test_a_failed_fit_leaves_nothing(fitted):
    synthesizer = TabularSynthesizer(forest={"trees": 1}, progress=False).fit(table(rows=50))
    with pytest.raises(ValueError, match="two rows or more"):
        synthesizer.fit(table(rows=1))
    with pytest.raises(ValueError, match="not fitted"):
        synthesizer.sample(3)


def test_saved_and_loaded_it_samples_the_same(fitted, tmp_path):
    fitted.save(tmp_path / "model")
    loaded = TabularSynthesizer.load(tmp_path / "model", progress=False)
    assert loaded.sample(30, seed=7).equals(fitted.sample(30, seed=7))
    with pytest.raises(FileNotFoundError):
        TabularSynthesizer.load(tmp_path / "none")
    weights = tmp_path / "model" / "forest.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(ValueError, match="no saved TabularSynthesizer"):
        TabularSynthesizer.load(tmp_path / "model")
    (tmp_path / "model" / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="no saved TabularSynthesizer"):
        TabularSynthesizer.load(tmp_path / "model")


def test_missing_has_its_own_mechanism():
    rng = np.random.default_rng(0)
    group = rng.choice(["a", "b"], 600)
    lost = rng.random(600) < np.where(group == "a", 0.5, 0.05)
    frame = pd.DataFrame({"group": group, "x": np.where(lost, np.nan, rng.normal(0, 1, 600))})
    made = TabularSynthesizer(forest=FOREST, progress=False).fit(frame).sample(1500)
    share = made["x"].isna().groupby(made["group"]).mean()
    assert abs(share["a"] - 0.5) < 0.1 and share["b"] < 0.15


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda f: f[:1], "two rows or more, got 1"),
        (lambda f: f[["id", "site"]], "no column is left"),
        (lambda f: f.assign(x=np.nan)[["x"]], "no column is left"),
        (lambda f: pd.concat([f, f[["sex"]]], axis=1), "several columns are named 'sex'"),
        (
            lambda f: f.assign(height=[*f["height"][:-1], np.inf]),
            "'height': expected a finite number, got 'inf'",
        ),
        (
            lambda f: f.assign(seen="03/04/2020").assign(
                seen=lambda g: np.where(g.index % 2, g["seen"], "05/06/2020")
            ),
            "two ways",
        ),
        (lambda f: f.to_dict(), "expected a DataFrame, got dict"),
        (
            lambda f: f.assign(last=f["visit"] - pd.Timedelta(days=1)),
            "no row keeps all constraints",
        ),
        (
            lambda f: f.assign(total=f["total"].where(f.index > 3, 55)),
            r"sum \(total, left, right\): 4",
        ),
    ],
)
def test_frames_that_cannot_be_fitted(change, match):
    with pytest.raises(ValueError, match=match):
        TabularSynthesizer(constraints=CONSTRAINTS, forest=FOREST, progress=False).fit(
            change(table())
        )


def test_rows_that_break_a_constraint_can_be_dropped_or_repaired():
    frame = table().assign(total=lambda f: f["total"].where(f.index > 3, 55))
    tiny = {"trees": 1}
    for choice in ("drop", "repair"):
        made = TabularSynthesizer(
            constraints=CONSTRAINTS, on_broken=choice, forest=tiny, progress=False
        ).fit(frame)
        assert made.report["rows that break a constraint"] == {"sum (total, left, right)": 4}
        left = {"repair": 0}.get(choice)
        assert made.report.get("rows that could not be repaired") == left


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda s: s.sample(3, given={"sex": "X"}), "'X' is not one of"),
        (lambda s: s.sample(3, given={"sexx": "F"}), "did you mean 'sex'"),
        (lambda s: s.sample(), "needs n"),
        (lambda s: s.sample(0), "at least 1"),
        (lambda s: s.sample(-1, given={"sex": "F"}), "at least 1"),
        (lambda s: s.sample_batches(0), "at least 1"),
        (lambda s: s.sample_batches(5, rows=0), "rows must be at least 1"),
        (lambda s: s.sample_batches(5, given={"sex": "X"}), "'X' is not one of"),
        (lambda s: s.sample(3, given={"site": "A"}), "'site' is not modelled"),
        (lambda s: s.sample(2, given=pd.DataFrame({"sex": ["F"]})), "given has 1 rows, n is 2"),
        (
            lambda s: s.sample(2, given={"visit": "2020-05-01", "last": "2020-04-01"}),
            r"less_equal \(visit, last\)",
        ),
        (lambda s: TabularSynthesizer().sample(3), "not fitted"),
        (lambda s: TabularSynthesizer(on_broken="x"), "'x' in on_broken"),
        (lambda s: TabularSynthesizer(columns={"a": {"typ": "drop"}}), "did you mean 'type'"),
    ],
)
def test_wrong_calls(fitted, call, match):
    with pytest.raises(ValueError, match=match):
        call(fitted)
