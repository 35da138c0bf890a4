"""Which studies are taken. The conditions follow one another and every step is counted, so that a
selection can be compared with a published one.

MedCoDi-M, section 3.1, went from 377,110 images of 227,827 studies to 154,721 images of 78,584
studies, with a report and both views as the condition, put in terms of patients. 154,721 is less
than twice 78,584, so that not each of these studies has both views. `select` therefore knows three
readings: "study" (a triplet in one study), "patient" (every study with a report and an image, of
the patients who have a report and both views in some study), "any" (whatever a study has).
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from medcodi.data.sections import ReportText, read_report
from medcodi.sources.archive.walk import Found
from medcodi.sources.dicom.view import Seen, View
from medcodi.sources.mimic_cxr.layout import ImageFile, image_files, report_files

FRONT, SIDE = View.FRONT.value, View.SIDE.value
SELECT = ("study", "patient", "any")
NO_VIEW = "the view is unknown: the metadata name neither a frontal nor a lateral one"
MAX_REPORT_BYTES = 1 << 20


@dataclass(slots=True)
class StudyFiles:
    """What the tree holds of one study: images by view (front, side, "" where only the file itself
    can say it), its report."""

    patient: str
    images: dict[str, list[ImageFile]] = field(default_factory=dict)
    report: bytes | None = None
    impression: ReportText | None = None

    def has(self, view: str) -> bool:
        return bool(self.images.get(view) or self.images.get(""))

    @property
    def complete(self) -> bool:
        return (
            self.impression is not None
            and self.has(FRONT)
            and self.has(SIDE)
            and self.num_images() > 1
        )

    def num_images(self) -> int:
        return sum(len(files) for files in self.images.values())

    def num_taken(self) -> int:
        """One of each view; of images whose view is not known yet, what there may be."""
        known = [view for view in self.images if view and self.images[view]]
        return min(2, len(known) + len(self.images.get("", [])))


@dataclass
class Selection:
    """`studies`: those that are taken, study -> files. `counts`: how many were left after each
    condition. `refused`: entries that are listed as rejected, path -> reason. `views`: (said, view,
    projection) -> number of the images whose view the metadata say or leave open."""

    studies: dict[str, StudyFiles]
    counts: dict[str, int]
    refused: list[Found]
    views: Counter[tuple[str, str, str]]


def select_studies(
    source: Path,
    reports: Path,
    known_views: dict[str, Seen] | None,
    select: str,
    sections: tuple[str, ...],
) -> Selection:
    """Look at the whole tree (no image is opened, every report is read) and choose. `reports`:
    folder of the reports, often `source`; `known_views`: those of the metadata. Memory: about 1 KiB
    an image."""
    studies: dict[str, StudyFiles] = {}
    refused: list[Found] = []
    counts, views = Counter(images=0), Counter()
    for files in image_files(source):
        seen: set[str] = set()
        for file in files:
            if file.name in seen:  # DICOM and JPG of one image: the DICOM has more bits
                counts["second files of an image"] += 1
                continue
            seen.add(file.name)
            counts["images"] += 1
            study = studies.setdefault(file.study, StudyFiles(file.patient))
            view = _view(file, known_views)
            if file.found.refused:
                refused.append(file.found)
            elif file.patient != study.patient:
                refused.append(file.found.refuse("the study has files of another patient"))
            elif view == View.UNKNOWN.value:
                seen = (known_views or {}).get(file.name, Seen(View.UNKNOWN, said="no metadata"))
                views[seen.said, view, ""] += 1
                refused.append(file.found.refuse(NO_VIEW))
            else:
                study.images.setdefault(view, []).append(file)
    for name, path in report_files(reports).items():
        studies.setdefault(name, StudyFiles(path.split(b"/")[-2][1:].decode())).report = path
    for study in studies.values():
        if study.report is not None:
            found = read_text(reports / study.report.decode(), sections)
            study.impression = found if found.text else None
            counts.update(found.notes)
    rule = _rule(select, studies)
    taken = {name: study for name, study in studies.items() if rule(study)}
    return Selection(
        taken, {**counts, **_steps(studies), "studies taken": len(taken)}, refused, views
    )


def _view(file: ImageFile, known: dict[str, Seen] | None) -> str:
    seen = (known or {}).get(file.name)
    if seen is None:
        return "" if file.is_dicom else View.UNKNOWN.value
    return seen.view.value


def read_text(path: Path, sections: tuple[str, ...]) -> ReportText:
    """The first of `sections` of a report file that says something; without text for a file that
    is too long or no text (bytes that are not UTF-8 are no reason)."""
    with open(path, "rb") as file:
        content = file.read(MAX_REPORT_BYTES + 1)
    if len(content) > MAX_REPORT_BYTES:
        return ReportText("", "", ("report that is too long",))
    return read_report(content.decode("utf-8", "replace")).choose(sections)


def _rule(select: str, studies: dict[str, StudyFiles]) -> Callable[[StudyFiles], bool]:
    if select == "study":
        return lambda study: study.complete
    if select == "patient":
        patients = complete_patients(studies)
        return lambda study: (
            study.patient in patients and study.impression is not None and study.num_images() > 0
        )
    return lambda study: study.impression is not None or study.num_images() > 0


def complete_patients(studies: dict[str, StudyFiles]) -> set[str]:
    """Patients with an impression, a frontal and a lateral image, each in any of their studies."""
    having = [
        {study.patient for study in studies.values() if condition(study)}
        for condition in (
            lambda s: s.impression is not None,
            lambda s: s.has(FRONT),
            lambda s: s.has(SIDE),
        )
    ]
    return having[0] & having[1] & having[2]


def _steps(studies: dict[str, StudyFiles]) -> dict[str, int]:
    """Counts after each condition, each with those before it."""
    left = list(studies.values())
    steps = {"studies": len(left), "patients": len({study.patient for study in left})}
    for what, condition in (
        ("studies with an image", lambda s: s.num_images() > 0),
        ("studies with a report", lambda s: s.report is not None),
        ("studies with an impression", lambda s: s.impression is not None),
        ("studies with a frontal image", lambda s: s.has(FRONT)),
        ("studies with a lateral image too", lambda s: s.complete),
    ):
        left = [study for study in left if condition(study)]
        steps[what] = len(left)
    steps["patients with such a study"] = len({study.patient for study in left})
    steps["images of such studies"] = sum(study.num_images() for study in left)
    patients = complete_patients(studies)
    theirs = [
        s
        for s in studies.values()
        if s.patient in patients and s.impression is not None and s.num_images() > 0
    ]
    steps["patients with all three in some study"] = len(patients)
    steps["studies of these with report and image"] = len(theirs)
    steps["one image a view of these"] = sum(study.num_taken() for study in theirs)
    return steps
