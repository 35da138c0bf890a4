"""Evaluation on a tiny real pipeline, and the page: self-contained, complete, honest."""

import json
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from medcodi.quickstart.charts import curve, strip
from medcodi.quickstart.evaluate import (
    as_values,
    coupling_gradients,
    evaluate_phantom,
    held_out_studies,
)
from medcodi.quickstart.page import build_page, collect_metrics
from medcodi.quickstart.samples import png_uri, truth_text


@pytest.fixture(scope="module")
def evaluated(tiny_run, tiny_prepared, tmp_path_factory):
    from medcodi.pipeline import MedCoDiPipeline

    pipe = MedCoDiPipeline.from_pretrained(tiny_run.run_dir / "pipeline")
    pipe.set_progress_bar_config(disable=True)
    folder = tmp_path_factory.mktemp("quickstart")
    figures = evaluate_phantom(
        pipe, tiny_prepared, num_studies=8, num_inference_steps=2, run_dir=folder, num_resamples=20
    )
    return folder, figures


class Reader(HTMLParser):
    """Tags that are left open, and everything that the page would fetch."""

    def __init__(self):
        super().__init__()
        self.open, self.fetched, self.images = [], [], 0

    def handle_starttag(self, tag, attributes):
        self.images += tag == "img"
        self.fetched += [v for k, v in attributes if k in ("src", "srcset", "data", "xlink:href")]
        self.fetched += [
            v for k, v in attributes if k == "href" and tag in ("link", "image", "use")
        ]
        if tag not in ("meta", "img", "br", "line", "circle", "path", "polyline"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_figures_are_strict_json_with_every_route_and_floor(evaluated):
    folder, figures = evaluated
    written = json.loads((folder / "figures.json").read_text(), parse_constant=pytest.fail)
    assert written == {key: value for key, value in figures.items() if key != "samples"}
    assert {row["route"] for row in written["follow"]} == {
        "T>F",
        "T>L",
        "F>L",
        "F>T",
        "FL>T",
        "FT>table",
    }
    for row in written["follow"]:
        assert set(row["floors"]) == {"shuffled", "nearest_neighbour", "constant"} and row["n"] <= 8
        assert len(row["interval"]) == 2 and "ceiling" in row
    assert len(written["coherence"]) == 2 * 6 and all(
        "difference" in row for row in written["coherence"]
    )
    assert written["settings"]["num_studies"] == 8


def test_coupling_is_what_lets_an_output_see_its_partner(evaluated, tiny_pipeline):
    """Off it is exactly zero; on it is not, once the zero-initialised projection has left zero."""
    rows = evaluated[1]["coupling"]
    assert len(rows) == 12 and all(row["independent"] == 0 for row in rows)
    assert all(row["coupled"] > 0 for row in rows)
    assert coupling_gradients(tiny_pipeline, batch_size=2)[0].keys() == rows[0].keys()


def test_readers_are_kept_and_held_out_studies_are_complete(evaluated, tiny_prepared):
    assert (evaluated[0] / "readers" / "lateral" / "model.safetensors").is_file()
    studies = held_out_studies(tiny_prepared, 5)
    assert len(studies) == 5 and all(len(s.values) == 4 for s in studies)
    assert [s.study_id for s in held_out_studies(tiny_prepared, 3)] == [
        s.study_id for s in studies[:3]
    ]


def test_missing_modalities_are_refused(tiny_pipeline, tiny_prepared):
    tiny_pipeline.diffusions.pop("lateral")
    with pytest.raises(ValueError, match="the pipeline lacks"):
        evaluate_phantom(tiny_pipeline, tiny_prepared)


def test_the_page_is_one_file_that_fetches_nothing(evaluated):
    folder, figures = evaluated
    path = build_page(folder, figures)
    text = path.read_text()
    reader = Reader()
    reader.feed(text)
    assert reader.open == [] and reader.images > 40
    assert all(uri.startswith("data:image/png;base64,") for uri in reader.fetched)
    assert not re.search(r"https?://|url\(|@import|<script", text)


def test_the_page_says_what_it_is_and_shows_everything(evaluated):
    folder, figures = evaluated
    text = build_page(
        folder, figures | {"timing": {"seconds": {}, "total": 60.0, "peak_memory_gib": 1.5}}
    ).read_text()
    assert (
        "a test body, not clinical data. Not for clinical use." in text
        and "none was selected" in text
    )
    for row in figures["follow"]:
        assert row["metric"] in text
    for sheet in figures["samples"]:
        assert sheet["title"].replace(">", "&gt;") in text
    assert "$" not in text and "nan" not in re.sub(r'"data:[^"]+"', "", text).lower().split()


def test_curves_come_from_the_stages(tiny_run):
    metrics = collect_metrics(tiny_run.run_dir)
    assert {"stage1", "stage3", "stage2/frontal"} <= set(metrics)
    assert "stage1" in curve("stage1", metrics["stage1"]) and curve("empty", []) == ""
    rows = [
        {"step": 1, "split": "train", "loss": -1.0},
        {"step": 2, "split": "train", "loss": math.nan},
    ]
    assert "log" not in curve("x", rows)  # a negative loss has no logarithm


def test_small_parts():
    assert as_values(["a", "b"]) == ["a", "b"] and as_values([]) == []
    assert png_uri(np.full((4, 4), 2.0)).startswith("data:image/png;base64,")
    truth = {
        "ctr": 0.5,
        "effusion_left": 0.3,
        "effusion_right": 0.0,
        "consolidation": "left_lower",
        "edema": 0,
    }
    assert truth_text(truth) == "CTR 0.50, left effusion 0.30, left lower consolidation"
    assert "dot" not in strip(None, [None, None], {"shuffled": None}, None, 0, 1)
