"""Label prompts: columns of a table where it has them, else sentences of a report."""

import pytest
import torch

from medcodi.data.table import Column, TableSchema
from medcodi.modalities import ModelFamily
from medcodi.pipeline.labels import label_prompts
from medcodi.sources.findings import public_schema
from tests.networks import tiny_assets
from tests.tiny import tiny_recipe


def family(tmp_path, schema=None):
    recipe = tiny_recipe(tmp_path)
    assets = tiny_assets(recipe)
    if schema is not None:
        assets["tabular"] = {"schema": schema.to_dicts()}
    return ModelFamily(recipe, assets)


def test_columns_of_findings_take_what_they_can_say(tmp_path):
    """The rest is said by the report, in its own words."""
    found = family(tmp_path, public_schema())
    names = found.names
    assert label_prompts("Edema, no pleural effusion", found, names) == {
        "tabular": [{"Edema": "yes", "Effusion": "no"}]
    }
    texts = ["possible edema, no hernia", "large left effusion"]
    assert label_prompts(texts, found, names) == {
        "report": ["Possible edema.", "Large left effusion."],
        "tabular": [{"Hernia": "no"}, None],
    }


def test_an_uncertain_column_takes_possible(tmp_path):
    schema = TableSchema([Column("Edema", "categorical", ["-1", "0", "1"])])
    found = label_prompts("possible edema", family(tmp_path, schema), ["tabular"])
    assert found == {"tabular": [{"Edema": "-1"}]}


def test_without_such_columns_the_report_says_it(tmp_path):
    found = family(tmp_path)  # the phantom's table has no findings
    assert label_prompts("Edema, no effusion", found, found.names) == {
        "report": ["Edema. No effusion."]
    }
    both = label_prompts("nodule, no acute kidney injury", found, found.names)
    assert both == {"report": ["Nodule."], "tabular": [{"acute_kidney_injury": "no"}]}


@pytest.mark.parametrize(
    ("labels", "names", "match"),
    [
        ("efusion", ["tabular"], "label 'efusion' is nothing .* say; nearest: 'Effusion'"),
        ("possible edema", ["tabular"], "label 'possible edema' is nothing .* nearest: 'Edema'"),
        ("kidney stone", ["report", "tabular"], "label 'kidney stone' is nothing .* Effusion"),
        ("no effusion, hydrothorax", ["tabular"], "label 'hydrothorax': .*'Effusion' .* twice"),
        ("Edema", ["frontal"], "label 'Edema': this pipeline has no modality that says findings"),
        ({"Edema": 1}, ["tabular"], "labels must be a text .* or a list of them, got dict"),
        ([], ["tabular"], "labels must be a text .* or a list of them, got list"),
        ([None], ["tabular"], "labels must be a text such as .*, got NoneType"),
    ],
)
def test_errors(tmp_path, labels, names, match):
    with pytest.raises(ValueError, match=match):
        label_prompts(labels, family(tmp_path, public_schema()), names)


def test_a_call_with_labels_is_the_call_with_what_they_say(tiny_pipeline):
    settings = {"outputs": ["frontal"], "num_inference_steps": 2, "seeds": [7]}
    said = tiny_pipeline({"report": "Edema. No effusion."}, **settings).latents["frontal"]
    by_labels = tiny_pipeline(labels="Edema, no effusion", **settings).latents["frontal"]
    assert torch.equal(by_labels, said)
    row = {"tabular": {"was_ventilated": "yes"}}
    both = tiny_pipeline(row, labels="Edema, no effusion", **settings).latents["frontal"]
    assert not torch.equal(both, said)
    with pytest.raises(ValueError, match="labels are a prompt of 'report' here, which is given"):
        tiny_pipeline("Clear.", labels="Edema", **settings)
    with pytest.raises(ValueError, match=r"\['report'\] cannot be prompt and output at once"):
        tiny_pipeline(labels="Edema", outputs=["report"])
