"""What the archives of images share: their options, and how a run of one is shown."""

import csv
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from medcodi.cli.console import console, names, show_counts, show_table
from medcodi.cli.options import folder_to_write

CHEST = "CHEST,THORAX,LUNG"
MAX_VIEWS = 40  # rows that are printed

Output = Annotated[
    Path, folder_to_write("prepared folder to write; the same call again reads new files only")
]
FieldNames = Annotated[
    str, typer.Option("--names", help="names of the frontal image, lateral image, report")
]
FrontAndTable = Annotated[
    str, typer.Option("--names", help="names of the frontal image and the table")
]
BodyParts = Annotated[str, typer.Option(help="values of BodyPartExamined to take; empty: all")]
Window = Annotated[bool, typer.Option(help="apply the VOI LUT or the first window where present")]
TextSections = Annotated[
    str,
    typer.Option(
        help="sections that may stand for a report, in this order: impression, conclusion, "
        "findings, both (findings and impression, joined), last paragraph; empty: the whole text"
    ),
]
KeepSections = Annotated[
    bool,
    typer.Option(
        "--keep-sections",
        help="findings and impression as fields of their own too: REPORT_findings, "
        "REPORT_impression",
    ),
]
Share = Annotated[float, typer.Option(help="share of the patients in this split")]


@dataclass
class Images:
    """How an image is read."""

    size: Annotated[int, typer.Option(help="pixels of a side of the prepared images")] = 256
    look: Annotated[
        str,
        typer.Option(help="stored (as the header says), min_max, or equalised as MIMIC-CXR-JPG"),
    ] = "stored"
    suspects: Annotated[
        str,
        typer.Option(
            help="black, white, flat images: accept, flag (list), refuse or ignore_window"
        ),
    ] = "flag"


@dataclass
class Studies:
    """What of the headers counts, and which images make a study."""

    window: Window = True
    body_parts: BodyParts = CHEST
    multiple: Annotated[
        str,
        typer.Option(
            help="several images of one view in a study: first, or all as further studies"
        ),
    ] = "first"
    header: Annotated[
        str,
        typer.Option(help="name of a table for projection, sex, age of the headers; empty: none"),
    ] = ""
    view: Annotated[
        list[str] | None,
        typer.Option(help='"TEXT=AP": a text of the table of views settles it; repeatable'),
    ] = None

    def options(self) -> dict[str, Any]:
        """As the sources take them. Raises ValueError for a --view without its text."""
        views = dict(text.rpartition("=")[::2] for text in self.view or [])
        if "" in views:
            given = ", ".join(map(repr, self.view or []))
            raise ValueError(f'--view takes "TEXT=AP", got {given}')
        return {
            "window": self.window,
            "body_parts": names(self.body_parts),
            "multiple": self.multiple,
            "header": self.header,
            "views": views,
        }


@dataclass
class Writing:
    """The arguments of `medcodi.sources.archive.prepare.prepare_archive`."""

    private_dir: Annotated[
        Path | None,
        folder_to_write("key, state and rejected paths; default: OUTPUT.private", "--private"),
    ] = None
    key_file: Annotated[
        Path | None,
        typer.Option("--key", help="file with the key of the hashes; also MEDCODI_PATIENT_KEY"),
    ] = None
    num_workers: Annotated[int | None, typer.Option(help="processes; default: one a core")] = None
    validation: Share = 0.1
    test: Share = 0.1
    overwrite: bool = False


def fields_of(given: str, expected: tuple[str, ...] = ("front", "side", "text")) -> dict[str, str]:
    """`--names` as options of a source. Raises ValueError for another number of names."""
    parts = [name.strip() for name in given.split(",")]
    if len(parts) != len(expected):
        raise ValueError(f"--names takes {len(expected)} names, got {given!r}")
    return dict(zip(expected, parts, strict=True))


def prepare_archive(
    name: str,
    source: Path | None,
    options: dict[str, Any],
    output: Path,
    writing: Writing,
    **more: Any,
) -> None:
    """Run the source called `name`, with `more` of its arguments, and show its counts."""
    from medcodi.sources import get_source

    counts = get_source(name)(source, options, output, **asdict(writing), **more)
    notes = json.loads((output / "prepared.json").read_text(encoding="utf-8"))["notes"]
    if "selection" in notes:
        show_counts("selection", notes["selection"])
    show_counts(f"prepared {output}", counts)
    where = writing.private_dir or output.with_name(f"{output.name}.private")
    _show_views(where / "views.csv")
    console.print(
        f"rejected files and their reasons: {where / 'rejects.csv'} (with paths: keep it private)"
    )


def _show_views(path: Path) -> None:
    """The table of views of the private folder: what was said, what it was taken for, how often."""
    with open(path, newline="", encoding="utf-8") as file:
        head, *rows = csv.reader(file)
    shown = rows[:MAX_VIEWS]
    if len(rows) > MAX_VIEWS:
        left = sum(int(row[-1]) for row in rows[MAX_VIEWS:])
        shown.append([f"({len(rows) - MAX_VIEWS} more, see {path})", "", "", str(left)])
    show_table(f"views of {sum(int(row[-1]) for row in rows)} images", head, shown)
