"""Reports as a user gives them."""

import logging

from medcodi.pipeline import MedCoDiPipeline


def test_words_that_the_model_never_saw_are_told(caplog):
    report = MedCoDiPipeline.from_pretrained("phantom").family.modality("report")
    with caplog.at_level(logging.WARNING):
        assert report.from_user("Large left pleural effusion.") == ["Large left pleural effusion."]
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        values = report.from_user(["LARGE LEFT EFFUSION.", None, "Massive left effusion."])
    assert values == ["LARGE LEFT EFFUSION.", None, "Massive left effusion."]  # as they came
    (record,) = caplog.records
    said = "report: the model may not follow 'LARGE', 'LEFT', 'EFFUSION', 'Massive': the reports"
    assert record.getMessage().startswith(said)
