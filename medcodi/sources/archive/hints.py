"""What a worker does with a file of which tables and folders know more than its header says: who,
which study, which view. The file may also be a plain image (JPG, PNG). Imports little: every worker
starts with it."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from medcodi.data.png import encode_image
from medcodi.sources.archive.identity import keyed_hash
from medcodi.sources.archive.options import Record, RejectedError
from medcodi.sources.archive.work import Job, full_path, guarded, open_file, read_image
from medcodi.sources.dicom.view import view_of_position
from medcodi.sources.images import fit_square, read_grey


@dataclass(frozen=True, slots=True)
class Hint:
    """`view`: a ViewPosition as DICOM writes it, "" where only the header can say it."""

    patient: str
    study: str
    view: str = ""


@dataclass
class HintedJob(Job):
    """`hints`: of all files, in the run; a worker gets the one of its file as `hint`."""

    hints: dict[bytes, Hint] = field(default_factory=dict)
    hint: Hint | None = None

    def for_file(self, path: bytes) -> "HintedJob":
        return replace(self, hints={}, hint=self.hints[path])


def read_hinted(job: HintedJob, path: bytes) -> Record:
    """The Record of one image; the hint stands for what the header says of patient, study and
    (where it has one) view."""
    return guarded(_read, job, path)


def _read(job: HintedJob, path: bytes) -> Record:
    if path.lower().endswith(b".dcm"):
        ds = open_file(job, path)
        ds.PatientID, ds.StudyInstanceUID = job.hint.patient, job.hint.study
        if job.hint.view:
            ds.ViewPosition = job.hint.view
        return read_image(job, ds)
    try:
        image = read_grey(Path(full_path(job, path)))
    except ValueError as error:
        raise RejectedError("the image cannot be read", error) from None
    hashed = [keyed_hash(job.key, what, getattr(job.hint, what)) for what in ("study", "patient")]
    rank = [0.0, 0.0, -float(image.size), 0.0, 0.0, path.decode("utf-8", "backslashreplace")]
    view, png = (
        view_of_position(job.hint.view).value,
        encode_image(fit_square(image, job.options.size)),
    )
    return Record(
        "picture",
        *hashed,
        view=view,
        rank=rank,
        flags=["view from tables", "no DICOM file"],
        png=png,
    )
