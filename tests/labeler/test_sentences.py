"""Sentences as radiologists write them, with the answers known, through the command: 1, 0, -1 and
empty in the file."""

import csv

from typer.testing import CliRunner

from medcodi.cli.app import app

# What is named here is stated; all other observations are not mentioned. No Finding counts only
# where it is named.
SENTENCES = (
    (
        "The lungs are well expanded and clear. No focal consolidation, effusion, or pneumothorax.",
        "no Consolidation, no Pleural Effusion, no Pneumothorax, No Finding",
    ),
    ("Bibasilar atelectasis, right greater than left.", "Atelectasis"),
    (
        "New right internal jugular central venous catheter with tip in the mid SVC. No "
        "pneumothorax.",
        "Support Devices, no Pneumothorax, No Finding",
    ),
    ("Mild cardiomegaly is unchanged.", "Cardiomegaly"),
    ("The cardiac silhouette is mildly enlarged.", "Cardiomegaly"),
    (
        "Heart size is normal. Mediastinal and hilar contours are unremarkable.",
        "no Cardiomegaly, no Enlarged Cardiomediastinum, No Finding",
    ),
    ("Moderate pulmonary edema has improved.", "Edema"),
    (
        "Left lower lobe opacity may represent atelectasis or pneumonia.",
        "Lung Opacity, maybe Atelectasis, maybe Pneumonia",
    ),
    (
        "Retrocardiac opacity, likely atelectasis, though infection cannot be excluded.",
        "Lung Opacity, maybe Atelectasis, maybe Pneumonia",
    ),
    ("No large pleural effusion is seen.", "no Pleural Effusion"),
    ("Trace left pleural effusion cannot be excluded.", "maybe Pleural Effusion"),
    ("Blunting of the left costophrenic angle suggests a small effusion.", "Pleural Effusion"),
    ("No displaced rib fractures are identified.", "no Fracture"),
    ("Median sternotomy wires are intact.", "Support Devices"),
    ("Endotracheal tube terminates 4 cm above the carina.", "Support Devices"),
    ("There is no free air beneath the diaphragm.", "No Finding"),
    ("The previously seen right apical pneumothorax is no longer visualized.", "no Pneumothorax"),
    ("No evidence of acute cardiopulmonary process.", "No Finding"),
    ("No acute cardiopulmonary abnormality.", "No Finding"),
    ("A 6 mm nodule projects over the right upper lobe.", "Lung Lesion"),
    ("Calcified granuloma in the left lung.", "Lung Lesion"),
    ("No suspicious pulmonary nodules or masses.", "no Lung Lesion"),
    ("Widened mediastinum.", "Enlarged Cardiomediastinum"),
    ("The mediastinum is not widened.", "no Enlarged Cardiomediastinum"),
    ("Biapical pleural thickening is stable.", "Pleural Other"),
    ("Findings concerning for multifocal pneumonia.", "maybe Pneumonia"),
    ("Low lung volumes.", "No Finding"),
    ("Vascular congestion without frank edema.", "Edema"),
    ("Pulmonary vascularity is normal.", "No Finding"),
    ("Congestive heart failure with moderate cardiomegaly.", "Cardiomegaly, Edema"),
    ("Congestive heart failure.", "maybe Cardiomegaly, Edema"),
    (
        "There is a dual lead pacemaker with leads in the right atrium and right ventricle.",
        "Support Devices",
    ),
    (
        "Patchy opacities in the lung bases most likely reflect atelectasis.",
        "Lung Opacity, maybe Atelectasis",
    ),
    (
        "No consolidation or edema, but there is a small right pleural effusion.",
        "no Consolidation, no Edema, Pleural Effusion",
    ),
    (
        "Neither pneumothorax nor pleural effusion is present.",
        "no Pneumothorax, no Pleural Effusion",
    ),
    ("Pleural effusions have resolved; the lungs are clear.", "no Pleural Effusion, No Finding"),
    ("Right upper lobe collapse.", "Atelectasis"),
    ("Compression deformity of a mid thoracic vertebral body.", "Fracture"),
    (
        "Increased interstitial markings may reflect mild edema versus atypical infection.",
        "Lung Opacity, maybe Edema, maybe Pneumonia",
    ),
    (
        "Airspace disease in the right middle lobe compatible with pneumonia.",
        "Lung Opacity, Pneumonia",
    ),
    ("No definite focal airspace opacity to suggest pneumonia.", "no Lung Opacity, no Pneumonia"),
    ("Questionable small left apical pneumothorax.", "maybe Pneumothorax"),
    ("No change in large left effusion.", "Pleural Effusion"),
    ("PICC line tip at the cavoatrial junction.", "Support Devices"),
    ("Stable postoperative changes with surgical clips in the right axilla.", "Support Devices"),
    ("Resolving right lower lobe pneumonia.", "Pneumonia"),
    ("Cardiomegaly without failure.", "Cardiomegaly"),
    ("There are low lung volumes with bronchovascular crowding but no pneumonia.", "no Pneumonia"),
    (
        "No pleural effusion or pneumothorax. Heart is mildly enlarged.",
        "no Pleural Effusion, no Pneumothorax, Cardiomegaly",
    ),
    ("Pulmonary edema has cleared.", "no Edema"),
    ("Costophrenic angles are sharp.", "No Finding"),
    (
        "The left hemidiaphragm is obscured, which could be due to atelectasis, consolidation, or "
        "effusion.",
        "maybe Atelectasis, maybe Consolidation, maybe Pleural Effusion",
    ),
    ("IMPRESSION: 1. No pneumonia. 2. Unchanged cardiomegaly.", "no Pneumonia, Cardiomegaly"),
    (
        "There is no pleural effusion, pneumothorax, or focal consolidation concerning for "
        "pneumonia.",
        "no Pleural Effusion, no Pneumothorax, no Consolidation, no Pneumonia",
    ),
    ("No acute osseous abnormality; degenerative changes of the spine.", "No Finding"),
    (
        "Left retrocardiac consolidation is consistent with pneumonia in the appropriate clinical "
        "setting.",
        "Consolidation, Pneumonia",
    ),
    ("Enteric tube courses below the diaphragm.", "Support Devices"),
    ("Mild prominence of the cardiomediastinal silhouette.", "Enlarged Cardiomediastinum"),
    (
        "Lungs: Clear. Pleura: No effusion. Heart: Normal size.",
        "no Pleural Effusion, no Cardiomegaly, No Finding",
    ),
    ("Kerley B lines are present.", "Edema"),
    ("Subcutaneous emphysema along the right chest wall.", "No Finding"),
    ("The right lung base opacity has resolved.", "no Lung Opacity"),
    ("No new consolidation; persistent right basilar opacity.", "no Consolidation, Lung Opacity"),
    ("Improved aeration of the lungs with decreased effusions.", "Pleural Effusion"),
    ("Suspected small pericardial effusion.", "No Finding"),
    ("Not significantly changed right pleural effusion.", "Pleural Effusion"),
    ("No radiographic evidence for pneumonia or CHF.", "no Pneumonia, no Edema"),
    ("Hazy opacification of the left hemithorax.", "Lung Opacity"),
    ("Mild fluid overload.", "Edema"),
    (
        "Patchy bibasilar airspace opacities, atelectasis versus aspiration.",
        "Lung Opacity, maybe Atelectasis",
    ),
)


def expected(answer: str) -> dict[str, str]:
    found = {}
    for part in answer.split(", "):
        word = next((w for w in ("no ", "maybe ") if part.startswith(w)), "")
        found[part.removeprefix(word)] = {"no ": "0", "maybe ": "-1", "": "1"}[word]
    return found


def test_the_file_holds_the_answers(tmp_path):
    reports, labels = tmp_path / "reports.csv", tmp_path / "labels.csv"
    with reports.open("w", newline="") as file:
        csv.writer(file).writerows(
            [("id", "text"), *((i, text) for i, (text, _) in enumerate(SENTENCES))]
        )
    call = ["label", str(reports), "--output", str(labels), "--vocabulary", "chexpert"]
    assert CliRunner().invoke(app, call).exit_code == 0
    with labels.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row.pop("id") for row in rows] == [str(i) for i in range(len(SENTENCES))] and len(
        rows[0]
    ) == 14
    wrong = []
    for (text, answer), row in zip(SENTENCES, rows, strict=True):
        wanted = expected(answer)
        stated = {k: v for k, v in row.items() if v and (k != "No Finding" or k in wanted)}
        if stated != wanted:
            wrong.append((text, stated, wanted))
    assert not wrong
