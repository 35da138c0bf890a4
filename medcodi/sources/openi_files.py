"""The files of Open-i inside the installed torchxrayvision, and gold findings beside them: reports,
views of the images, findings."""

import importlib.util
import re
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd

from medcodi.config_io import unknown_key
from medcodi.data.sections import Report, ReportText
from medcodi.sources.archive.options import VIEW_NAMES
from medcodi.sources.dicom.view import View, view_of_orientation, view_of_position
from medcodi.sources.findings import FINDINGS, NO, NO_FINDING, YES, finding_cells
from medcodi.sources.reading import read_table

TEXTS = {
    "impression": ("impression",),
    "findings": ("findings",),
    "both": ("findings", "impression"),
}
REPORTS, HEADERS, DERIVED = (
    "NLMCXR_reports.tgz",
    "nlmcxr_dicom_metadata.csv.gz",
    "nlmcxr_tsne_pa.csv.gz",
)
MAX_REPORT_BYTES = 1 << 20
VIEW_COLUMNS = ["imageid", "View Position", "Patient Orientation"]


@dataclass
class OpeniReport:
    """`report`: its sections, by their labels in lower case; `images`: ids; `terms`: main MeSH
    terms."""

    report: Report
    images: list[str] = field(default_factory=list)
    terms: list[str] = field(default_factory=list)

    def text(self, texts: str) -> ReportText:
        """The sections of `texts` that say something, as one text. An impression that points to
        the findings gives these."""
        chosen = [self.report.choose([kind]) for kind in TEXTS[texts]]
        words = dict.fromkeys(one.text for one in chosen if one.text)
        notes = tuple(note for one in chosen for note in one.notes)
        names = dict.fromkeys(one.section for one in chosen if one.text)
        return ReportText(" ".join(words), " and ".join(names), notes, self.report.kept)


def installed_data() -> Path:
    """The data folder of the installed torchxrayvision (which is not imported). Raises RuntimeError
    without it."""
    spec = importlib.util.find_spec("torchxrayvision")
    if spec is None:
        raise RuntimeError(
            "the source openi reads its reports from torchxrayvision: pip install 'medcodi[eval]'"
        )
    return Path(spec.origin).parent / "data"


def read_reports(path: Path) -> tuple[dict[str, OpeniReport], list[str]]:
    """(uid -> report, what could not be read) of the .tgz with one XML file a report, in the order
    of their numbers."""
    reports, refused = {}, []
    with tarfile.open(path) as archive:
        for member in archive:
            if not (member.isfile() and member.name.endswith(".xml")):
                continue
            try:
                if member.size > MAX_REPORT_BYTES:
                    raise ValueError(f"{member.size} bytes, the limit is {MAX_REPORT_BYTES}")
                uid, report = _parse(ElementTree.fromstring(archive.extractfile(member).read()))
            except (ElementTree.ParseError, ValueError) as error:
                refused.append(f"{Path(member.name).name}: {error}")
                continue
            reports[uid] = report
    return dict(sorted(reports.items(), key=lambda item: (len(item[0]), item[0]))), refused


def _parse(root: ElementTree.Element) -> tuple[str, OpeniReport]:
    uid = root.find("uId")
    if uid is None or not uid.get("id"):
        raise ValueError("no uId")
    report = Report()
    for node in root.iter("AbstractText"):
        report.add((node.get("Label") or "").lower(), node.text or "")
    terms = {(node.text or "").split("/")[0].strip() for node in root.findall(".//MeSH/major")}
    return uid.get("id"), OpeniReport(
        report,
        [node.get("id", "") for node in root.iter("parentImage")],
        sorted(terms - {""}),
    )


def read_gold(path: Path) -> dict[str, dict[str, str]]:
    """uid -> finding columns, of a csv with `filename`, a column 0 / 1 of each of FINDINGS, and
    `normal`. Raises ValueError for other columns and cells, and an id that stands twice."""
    frame = read_table(path).map(str.strip)
    for column in ("filename", "normal", *FINDINGS):
        if column not in frame.columns:
            raise unknown_key(column, frame.columns, f"the columns of {path}")
    known: dict[str, dict[str, str]] = {}
    for row in frame.to_dict("records"):
        uid, cells = row["filename"], {name: row[name] for name in (*FINDINGS, "normal")}
        wrong = sorted(set(cells.values()) - {"0", "1"})
        if wrong or uid in known:
            told = f"cells are 0 or 1, got {wrong[0]!r}" if wrong else "it stands twice"
            raise ValueError(f"{path}, {uid!r}: {told}")
        present = {name for name in FINDINGS if cells[name] == "1"}
        normal = YES if cells["normal"] == "1" else NO
        known[uid] = {**finding_cells(present), NO_FINDING: normal}
    return known


def read_views(folder: Path, derived: bool) -> dict[str, str]:
    """image id -> one of VIEW_NAMES, from the tables of `folder`: View Position, else Patient
    Orientation, else (with `derived`) the view that was derived from the pixels. Images whose view
    nothing says are not in it."""
    headers = pd.read_csv(folder / HEADERS, dtype=str, keep_default_na=False, usecols=VIEW_COLUMNS)
    views = {}
    for name, position, orientation in headers[VIEW_COLUMNS].itertuples(index=False):
        by_axes = view_of_orientation(re.findall(r"\w+", orientation))
        seen = view_of_position(position) if position.strip() else by_axes
        view, projection = seen or (View.UNKNOWN, "")
        named = projection if projection in VIEW_NAMES else view.name
        views[name] = named if view is not View.UNKNOWN else ""
    if derived:
        table = pd.read_csv(folder / DERIVED, dtype=str, keep_default_na=False)
        for name, view in table[["imageid", "tsne-view"]].itertuples(index=False):
            views[name] = views.get(name) or {"PA": "PA", "L": "LL"}.get(view, "")
    return {name: view for name, view in views.items() if view}
