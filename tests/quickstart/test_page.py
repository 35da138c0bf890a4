"""Evaluation on a tiny real pipeline, and the page: self-contained, complete, honest."""

import copy
import json
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from medcodi.config import EvaluationConfig
from medcodi.config_io import build_dataclass
from medcodi.evaluation import EvaluationContext
from medcodi.evaluation.follow import ROUTES
from medcodi.evaluation.suite import run_suite
from medcodi.quickstart.charts import curve, strip
from medcodi.quickstart.page import build_page, collect_metrics
from medcodi.quickstart.samples import all_sheets, png_uri, truth_text

SMALL = {
    "num_studies": 8,
    "num_training_studies": 40,
    "num_inference_steps": 1,
    "num_resamples": 20,
    "batch_size": 8,
}


@pytest.fixture(scope="module")
def evaluated(tiny_run, tmp_path_factory):
    recipe = copy.deepcopy(tiny_run)
    recipe.evaluation = build_dataclass(EvaluationConfig, SMALL, "evaluation")
    context = EvaluationContext(recipe, tmp_path_factory.mktemp("quickstart"))
    return context, run_suite(context, ("follow", "joint")), all_sheets(context)


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


def test_every_route_and_setting_stands_beside_its_floors(evaluated):
    context, document, _ = evaluated
    written = json.loads((context.output / "report.json").read_text(), parse_constant=pytest.fail)
    assert written == document
    rows = document["tables"]["follow"]["result"]["rows"]
    assert list(dict.fromkeys(row["system"] for row in rows)) == list(ROUTES)
    for row in rows:
        assert {"generated", "shuffled", "constant", "nearest study", "real"} <= set(row["cells"])
        assert row["n"] <= 8
    rows = document["tables"]["joint"]["result"]["rows"]
    pairs = [(row["system"], row["cells"]["pair"]) for row in rows]
    assert list(dict.fromkeys(pairs)) == [
        ("unconditional", "F and L"),
        ("unconditional", "F and T"),
        ("T>FL", "F and L"),
        ("L>FT", "F and T"),
        ("F>LT", "L and T"),
    ]
    assert all({"joint", "independent", "difference"} <= set(row["cells"]) for row in rows)


def test_a_table_that_failed_is_no_page(evaluated, tmp_path):
    _, document, sheets = evaluated
    broken = {"follow": {"status": "failed", "message": "ValueError: no reader"}}
    broken = document | {"tables": document["tables"] | broken}
    with pytest.raises(ValueError, match="follow was not measured: ValueError: no reader"):
        build_page(tmp_path, broken, sheets)


def test_the_page_is_one_file_that_fetches_nothing(evaluated):
    context, document, sheets = evaluated
    path = build_page(context.output, document, sheets)
    text = path.read_text()
    reader = Reader()
    reader.feed(text)
    assert reader.open == [] and reader.images > 40
    assert all(uri.startswith("data:image/png;base64,") for uri in reader.fetched)
    assert not re.search(r"https?://|url\(|@import|<script", text)


def test_the_page_says_what_it_is_and_shows_everything(evaluated):
    context, document, sheets = evaluated
    timing = {"seconds": {}, "total": 60.0, "peak_memory_gib": 1.5}
    text = " ".join(build_page(context.output, document, sheets, timing).read_text().split())
    assert "a test body, not clinical data. Not for clinical use." in text
    assert "none was selected" in text
    for key in ("follow", "joint"):
        for row in document["tables"][key]["result"]["rows"]:
            assert row["cells"]["figure"] in text
    for sheet in sheets:
        assert sheet["title"] in text
    assert len(sheets) == len(ROUTES) + 1
    assert (
        "{{" not in text
        and "None" not in text
        and "nan" not in re.sub(r'"data:[^"]+"', "", text).lower().split()
    )


def test_curves_come_from_the_stages(tiny_run):
    metrics = collect_metrics(tiny_run.run_dir)
    assert {"stage1", "stage3", "stage2/frontal"} <= set(metrics)
    assert curve(metrics["stage1"]).paths[1][0] == "train" and curve([]) is None
    rows = [
        {"step": 1, "split": "train", "loss": -1.0},
        {"step": 2, "split": "train", "loss": math.nan},
    ]
    assert curve(rows).note == "loss"  # a negative loss has no logarithm


def test_small_parts():
    assert png_uri(np.full((4, 4), 2.0)).startswith("data:image/png;base64,")
    truth = {
        "ctr": 0.5,
        "effusion_left": 0.3,
        "effusion_right": 0.0,
        "consolidation": "left_lower",
        "edema": 0,
    }
    assert truth_text(truth) == "CTR 0.50, left effusion 0.30, left lower consolidation"
    paths = strip(None, [None, None], {"shuffled": None}, None, 0, 1).paths
    assert [mark for mark, _ in paths] == ["axis"]
