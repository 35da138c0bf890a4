"""`medcodi prepare SOURCE`: raw data -> prepared folder."""

import csv
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from medcodi.cli.console import console, show_counts, show_table

prepare_app = typer.Typer(no_args_is_help=True, help="Raw data -> prepared folder (Arrow).")
Output = Annotated[
    Path, typer.Option(help="prepared folder to write; the same call again reads new files only")
]
Size = Annotated[int, typer.Option(help="pixels of a side of the prepared images")]
Window = Annotated[bool, typer.Option(help="apply the VOI LUT or the first window where present")]
Look = Annotated[
    str, typer.Option(help="stored (as the header says), min_max, or equalised as MIMIC-CXR-JPG")
]
Suspects = Annotated[
    str,
    typer.Option(help="black, white, flat images: accept, flag (list), refuse or ignore_window"),
]
Multiple = Annotated[
    str,
    typer.Option(help="several images of one view in a study: first, or all as further studies"),
]
Header = Annotated[
    str, typer.Option(help="name of a table for projection, sex, age of the headers; empty: none")
]
TextSections = Annotated[
    str, typer.Option(help="what may stand for a report, in this order; findings is a further one")
]
OfficialSplit = Annotated[bool, typer.Option(help="the published split instead of one by hash")]
WhichSections = Annotated[
    str,
    typer.Option(
        help="sections that may stand for a report, in this order: impression, conclusion, "
        "findings, last paragraph; empty: the whole text"
    ),
]
Views = Annotated[
    list[str] | None,
    typer.Option("--view", help='"TEXT=AP": a text of the table of views settles it; repeatable'),
]
BodyParts = Annotated[str, typer.Option(help="values of BodyPartExamined to take; empty: all")]
Names = Annotated[str, typer.Option(help="names of the frontal image, lateral image, report")]
Private = Annotated[
    Path | None, typer.Option(help="key, state and rejected paths; default: OUTPUT.private")
]
Key = Annotated[
    Path | None, typer.Option(help="file with the key of the hashes; also MEDCODI_PATIENT_KEY")
]
Workers = Annotated[int | None, typer.Option(help="processes; default: one a core")]
Share = Annotated[float, typer.Option(help="share of the patients in this split")]
CHEST = "CHEST,THORAX,LUNG"
NAMES = "frontal,lateral,report"
MAX_VIEWS = 40  # rows that are printed


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _fields(names: str, expected: tuple[str, ...] = ("front", "side", "text")) -> dict[str, str]:
    given = [name.strip() for name in names.split(",")]
    if len(given) != len(expected):
        raise ValueError(f"--names takes {len(expected)} names, got {names!r}")
    return dict(zip(expected, given, strict=True))


def _choices(
    look: str, suspects: str, multiple: str, header: str, views: list[str] | None
) -> dict[str, Any]:
    """The options that all archives of images share."""
    settled = dict(text.rpartition("=")[::2] for text in views or [])
    if "" in settled:
        raise ValueError(f'--view takes "TEXT=AP", got {", ".join(map(repr, views or []))}')
    return {
        "look": look,
        "suspects": suspects,
        "multiple": multiple,
        "header": header,
        "views": settled,
    }


def _show_views(path: Path) -> None:
    """The table of views of the private folder: what was said, what it was taken for, how often."""
    with open(path, newline="", encoding="utf-8") as file:
        head, *rows = csv.reader(file)
    shown = rows[:MAX_VIEWS]
    if len(rows) > MAX_VIEWS:
        left = sum(int(row[-1]) for row in rows[MAX_VIEWS:])
        shown.append([f"({len(rows) - MAX_VIEWS} more, see {path})", "", "", str(left)])
    show_table(f"views of {sum(int(row[-1]) for row in rows)} images", head, shown)


def _prepare_archive(
    name: str,
    source: Path | None,
    options: dict[str, Any],
    output: Path,
    private: Path | None,
    **more: Any,
) -> None:
    """Run the source called `name`, with `more` of its arguments, and show its counts."""
    import json

    from medcodi.sources import get_source

    counts = get_source(name)(source, options, output, private_dir=private, **more)
    notes = json.loads((output / "prepared.json").read_text(encoding="utf-8"))["notes"]
    if "selection" in notes:
        show_counts("selection", notes["selection"])
    show_counts(f"prepared {output}", counts)
    where = private or output.with_name(f"{output.name}.private")
    _show_views(where / "views.csv")
    console.print(
        f"rejected files and their reasons: {where / 'rejects.csv'} (with paths: keep it private)"
    )


@prepare_app.command("folder")
def prepare_folder(
    source: Annotated[Path, typer.Argument(help="folder with the csv file and the images")],
    mapping: Annotated[
        Path, typer.Option(help="column mapping, as in configs/sources/covid_cxr.yaml")
    ],
    output: Annotated[Path, typer.Option(help="prepared folder to write")],
    overwrite: bool = False,
) -> None:
    """A folder of images and a csv file, by a column mapping."""
    from medcodi.config_io import load_yaml
    from medcodi.sources import get_source

    counts = get_source("folder")(source, load_yaml(mapping), output, overwrite=overwrite)
    show_counts(f"prepared {output}", counts)
    console.print(f"rejected values and their reasons: {output / 'rejects.csv'}")


@prepare_app.command("dicom")
def prepare_dicom(
    source: Annotated[
        Path, typer.Argument(help="folder tree with DICOM files, and reports beside them")
    ],
    output: Output,
    size: Size = 256,
    window: Window = True,
    look: Look = "stored",
    suspects: Suspects = "flag",
    multiple: Multiple = "first",
    header: Header = "",
    view: Views = None,
    modalities: Annotated[
        str, typer.Option(help="values of Modality to take; empty: all")
    ] = "CR,DX,RG,OT",
    body_parts: BodyParts = CHEST,
    sections: Annotated[
        str, typer.Option(help="concept names of a structured report to take; empty: all")
    ] = "",
    text_sections: WhichSections = "",
    names: Names = NAMES,
    private: Private = None,
    key: Key = None,
    num_workers: Workers = None,
    timeout: Annotated[float, typer.Option(help="seconds for one file")] = 120.0,
    validation: Share = 0.1,
    test: Share = 0.1,
    overwrite: bool = False,
) -> None:
    """Any tree of DICOM files: greyscale chest radiographs and structured or text reports, by
    StudyInstanceUID."""
    lists = {
        "modalities": modalities,
        "body_parts": body_parts,
        "sections": sections,
        "text_sections": text_sections,
    }
    options = {
        **_fields(names),
        "size": size,
        "window": window,
        **_choices(look, suspects, multiple, header, view),
        "timeout": timeout,
        **{name: _split(value) for name, value in lists.items()},
    }
    _prepare_archive(
        "dicom",
        source,
        options,
        output,
        private,
        key_file=key,
        num_workers=num_workers,
        validation=validation,
        test=test,
        overwrite=overwrite,
    )


@prepare_app.command("mimic_cxr")
def prepare_mimic_cxr(
    source: Annotated[
        Path,
        typer.Argument(help="folder that holds files/ and the csv files, DICOM or JPG release"),
    ],
    output: Output,
    reports: Annotated[
        Path | None, typer.Option(help="folder that holds files/ of the reports; default: SOURCE")
    ] = None,
    size: Size = 256,
    window: Window = True,
    look: Look = "stored",
    suspects: Suspects = "flag",
    multiple: Multiple = "first",
    header: Header = "",
    view: Views = None,
    body_parts: BodyParts = CHEST,
    select: Annotated[
        str, typer.Option(help="study: triplets; patient: all of patients with all three; any")
    ] = "study",
    text_sections: TextSections = "impression,conclusion,last paragraph",
    official_split: OfficialSplit = False,
    labels: Annotated[
        str, typer.Option(help="name of a table for the CheXpert labels; empty: none")
    ] = "",
    names: Names = NAMES,
    private: Private = None,
    key: Key = None,
    num_workers: Workers = None,
    validation: Share = 0.1,
    test: Share = 0.1,
    overwrite: bool = False,
) -> None:
    """MIMIC-CXR in its published folders: frontal, lateral, impression."""
    options = {
        **_fields(names),
        "size": size,
        "window": window,
        **_choices(look, suspects, multiple, header, view),
        "body_parts": _split(body_parts),
        "select": select,
        "text_sections": _split(text_sections),
        "official_split": official_split,
        "labels": labels,
    }
    _prepare_archive(
        "mimic_cxr",
        source,
        options,
        output,
        private,
        reports_dir=reports,
        key_file=key,
        num_workers=num_workers,
        validation=validation,
        test=test,
        overwrite=overwrite,
    )


@prepare_app.command("nih_cxr14")
def prepare_nih_cxr14(
    source: Annotated[
        Path,
        typer.Argument(help="folder with Data_Entry_2017*.csv or metadata.csv, and the images"),
    ],
    output: Output,
    size: Size = 256,
    look: Look = "stored",
    suspects: Suspects = "flag",
    names: Annotated[
        str, typer.Option(help="names of the frontal image and the table")
    ] = "frontal,tabular",
    private: Private = None,
    num_workers: Workers = None,
    validation: Share = 0.1,
    test: Share = 0.1,
    overwrite: bool = False,
) -> None:
    """ChestX-ray14: frontal radiographs with age, sex, projection and 14 findings."""
    fields = _fields(names, ("front", "table"))
    _prepare_archive(
        "nih_cxr14",
        source,
        {**fields, "size": size, "look": look, "suspects": suspects},
        output,
        private,
        num_workers=num_workers,
        validation=validation,
        test=test,
        overwrite=overwrite,
    )


@prepare_app.command("openi")
def prepare_openi(
    output: Output,
    images: Annotated[
        Path | None, typer.Option(help="folder of the images (PNG or DICOM); default: texts only")
    ] = None,
    texts: Annotated[str, typer.Option(help="impression, findings or both")] = "impression",
    mesh: Annotated[str, typer.Option(help="name of a table for the MeSH terms; empty: none")] = "",
    min_reports: Annotated[int, typer.Option(help="with --mesh: reports that a term needs")] = 40,
    derived_views: Annotated[
        bool, typer.Option(help="views derived from pixels where the headers have none")
    ] = False,
    gold: Annotated[
        Path | None, typer.Option(help="csv of gold findings: filename, 14 findings, normal")
    ] = None,
    findings: Annotated[str, typer.Option(help="with --gold: name of a table for them")] = "",
    size: Size = 256,
    names: Names = NAMES,
    private: Private = None,
    num_workers: Workers = None,
    validation: Share = 0.1,
    test: Share = 0.1,
    overwrite: bool = False,
) -> None:
    """Open-i: the reports inside the installed torchxrayvision, and the images where there are
    any."""
    options = {
        **_fields(names),
        "size": size,
        "texts": texts,
        "mesh": mesh,
        "min_reports": min_reports,
        "derived_views": derived_views,
        "findings": findings,
    }
    _prepare_archive(
        "openi",
        images,
        options,
        output,
        private,
        gold_file=gold,
        num_workers=num_workers,
        validation=validation,
        test=test,
        overwrite=overwrite,
    )


@prepare_app.command("table")
def prepare_table(
    path: Annotated[Path, typer.Argument(help="csv, tsv, parquet or xlsx file")],
    output: Annotated[Path, typer.Option(help="prepared folder to write")],
    corrections: Annotated[
        Path | None,
        typer.Option(help="YAML: patient_id, missing, columns, as in configs/tables/oasis.yaml"),
    ] = None,
    name: Annotated[str, typer.Option(help="name of the table")] = "tabular",
    validation: Share = 0.1,
    test: Share = 0.1,
    overwrite: bool = False,
) -> None:
    """Any table: what its columns are is inferred and told, column by column. What can be read in
    two ways is refused; corrections go into a YAML file."""
    from medcodi.sources import get_source
    from medcodi.sources.tables import load_options

    def tell(decisions: list[Any]) -> None:
        rows = []
        for decision in decisions:
            kind = decision.kind if decision.mapping else f"{decision.kind} (left out)"
            if decision.mapping and decision.mapping.is_discrete:
                shown = decision.mapping.categories
            else:
                shown = decision.examples
            kind = f"AMBIGUOUS {kind}" if decision.ambiguous else kind
            changed = "; ".join(decision.changed)
            cells = [decision.column, kind, decision.why, ", ".join(shown), changed]
            rows.append([escape(cell) for cell in cells])
        names = ["column", "is", "because", "examples", "changed"]
        show_table(f"columns of {path}", names, rows)

    counts = get_source("table")(
        path, load_options(name, corrections), output, validation, test, overwrite, tell
    )
    show_counts(f"prepared {output}", counts)
    console.print(f"rejected values and their reasons: {output / 'rejects.csv'}")


@prepare_app.command("stony_brook")
def prepare_stony_brook(
    source: Annotated[Path, typer.Argument(help="folder with the DICOM tree of COVID-19-NY-SBU")],
    output: Output,
    clinical: Annotated[
        Path | None, typer.Option(help="clinical table; default: the csv of patients in SOURCE")
    ] = None,
    variables: Annotated[
        str, typer.Option(help="paper: the 13; rule: all with few missing values")
    ] = "paper",
    max_missing: Annotated[
        float, typer.Option(help="with --variables rule: largest share of missing values")
    ] = 0.05,
    require_image: Annotated[
        bool, typer.Option(help="leave out cases without a frontal radiograph")
    ] = True,
    impute_categories: Annotated[
        bool, typer.Option(help="a missing category becomes one of its own")
    ] = True,
    impute_numbers: Annotated[
        bool, typer.Option(help="a missing number becomes the mean outside the test set")
    ] = True,
    size: Size = 256,
    window: Window = True,
    body_parts: BodyParts = "CHEST,PORT CHEST,THORAX,LUNG",
    names: Annotated[
        str, typer.Option(help="names of the frontal image and the table")
    ] = "frontal,tabular",
    private: Private = None,
    key: Key = None,
    num_workers: Workers = None,
    validation: Share = 0.2,
    test: Share = 0.2,
    overwrite: bool = False,
) -> None:
    """The Stony Brook COVID-19 cases of the hybrid image and table paper: first frontal radiograph
    and 13 variables."""
    options = {
        **_fields(names, ("front", "table")),
        "size": size,
        "window": window,
        "body_parts": _split(body_parts),
        "variables": variables,
        "max_missing": max_missing,
        "require_image": require_image,
        "impute_categories": impute_categories,
        "impute_numbers": impute_numbers,
    }
    _prepare_archive(
        "stony_brook",
        source,
        options,
        output,
        private,
        clinical=clinical,
        key_file=key,
        num_workers=num_workers,
        validation=validation,
        test=test,
        overwrite=overwrite,
    )


@prepare_app.command("phantom")
def prepare_phantom(
    output: Annotated[Path, typer.Option(help="prepared folder to write")],
    num_studies: int = 4000,
    size: int = 64,
    seed: int = 0,
    num_processes: int = 2,
    visits: Annotated[int, typer.Option(help="studies of each patient")] = 1,
    overwrite: bool = False,
) -> None:
    """The chest phantom: a test body with known truth, not clinical data."""
    from medcodi.sources.phantom import prepare_phantom

    counts = prepare_phantom(
        output, num_studies, size, seed, num_processes, overwrite=overwrite, visits=visits
    )
    show_counts(f"prepared {output}", counts)
