"""What a worker does with a file of which tables and folders know more than its header says: who,
which study, which view. The file may also be a plain image (JPG, PNG). Imports little: every worker
starts with it."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from medcodi.data.duplicates import fingerprint
from medcodi.data.png import encode_image
from medcodi.sources.archive.identity import keyed_hash
from medcodi.sources.archive.options import Record, RejectedError
from medcodi.sources.archive.work import Job, full_path, guarded, open_file, read_image
from medcodi.sources.dicom.view import view_of_position
from medcodi.sources.images import fit_square, read_picture
from medcodi.sources.suspects import MADE_GREY, plain_image


@dataclass(frozen=True, slots=True)
class Hint:
    """`view`: a ViewPosition as DICOM writes it, FRONT or SIDE, "" where only the header can say
    it; `said`: what the tables say, in words; `person`: sex and age where the tables know them;
    `film`: width and height that a plain image had before it was squashed."""

    patient: str
    study: str
    view: str = ""
    said: str = ""
    person: tuple[tuple[str, Any], ...] = ()
    film: tuple[int, int] | None = None


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
    hint = job.hint
    if path.lower().endswith(b".dcm"):
        ds = open_file(job, path)
        ds.PatientID, ds.StudyInstanceUID = hint.patient, hint.study
        if hint.view:
            ds.ViewPosition = hint.view
        record = read_image(job, ds)
        record.said = hint.said or record.said
    else:
        record = _read_plain(job, path)
    record.person |= dict(hint.person)
    return record


def _read_plain(job: HintedJob, path: bytes) -> Record:
    """A JPG or PNG, whose greys are looked at as those of a DICOM file."""
    hint, options = job.hint, job.options
    view, projection = view_of_position(hint.view)
    try:
        image, coloured = read_picture(Path(full_path(job, path)))
        limits = options.grey_limits
        seen = plain_image(image, options.look, options.suspects, limits, coloured)
    except RejectedError as error:
        error.said, error.view = hint.said, view.value
        raise
    except ValueError as error:
        raise RejectedError("the image cannot be read", error, hint.said, view.value) from None
    width, height = hint.film or image.shape[::-1]
    prepared = fit_square(
        seen.image, options.size, height / width * image.shape[1] / image.shape[0]
    )
    hashed = [keyed_hash(job.key, what, getattr(hint, what)) for what in ("study", "patient")]
    return Record(
        "picture",
        *hashed,
        view=view.value,
        projection=projection,
        said=hint.said,
        rank=[0.0, 0.0, -float(image.size), 0.0, 0.0, path.decode("utf-8", "backslashreplace")],
        flags=["view from tables", "no DICOM file"]
        + [MADE_GREY] * (coloured > limits.max_coloured),
        greys=seen.greys.to_dict(),
        suspect=seen.notes,
        mark=fingerprint(prepared).hex(),
        png=encode_image(prepared),
    )
