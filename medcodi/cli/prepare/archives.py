"""`medcodi prepare dicom | mimic_cxr | nih_cxr14 | openi | stony_brook`: archives of images."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from medcodi.cli.console import names
from medcodi.cli.options import grouped
from medcodi.cli.prepare.options import (
    BodyParts,
    FieldNames,
    FrontAndTable,
    Images,
    KeepSections,
    Output,
    Studies,
    TextSections,
    Window,
    Writing,
    fields_of,
    prepare_archive,
)

NAMES = "frontal,lateral,report"
FRONT_AND_TABLE = "frontal,tabular"
OF_THE_PAPER = Writing(validation=0.2, test=0.2)


@grouped
def dicom(
    source: Annotated[
        Path, typer.Argument(help="folder tree with DICOM files, and reports beside them")
    ],
    output: Output,
    images: Images,
    studies: Studies,
    writing: Writing,
    modalities: Annotated[
        str, typer.Option(help="values of Modality to take; empty: all")
    ] = "CR,DX,RG,OT",
    sections: Annotated[
        str, typer.Option(help="concept names of a structured report to take; empty: all")
    ] = "",
    text_sections: TextSections = "",
    keep_sections: KeepSections = False,
    field_names: FieldNames = NAMES,
    timeout: Annotated[float, typer.Option(help="seconds for one file")] = 120.0,
) -> None:
    """Any tree of DICOM files: greyscale chest radiographs and structured or text reports, by
    StudyInstanceUID."""
    options = {
        **fields_of(field_names),
        **asdict(images),
        **studies.options(),
        "modalities": names(modalities),
        "sections": names(sections),
        "text_sections": names(text_sections),
        "keep_sections": keep_sections,
        "timeout": timeout,
    }
    prepare_archive("dicom", source, options, output, writing)


@grouped
def mimic_cxr(
    source: Annotated[
        Path,
        typer.Argument(help="folder that holds files/ and the csv files, DICOM or JPG release"),
    ],
    output: Output,
    images: Images,
    studies: Studies,
    writing: Writing,
    reports: Annotated[
        Path | None, typer.Option(help="folder that holds files/ of the reports; default: SOURCE")
    ] = None,
    select: Annotated[
        str, typer.Option(help="study: triplets; patient: all of patients with all three; any")
    ] = "study",
    text_sections: TextSections = "impression,conclusion,last paragraph",
    keep_sections: KeepSections = False,
    official_split: Annotated[
        bool, typer.Option(help="the published split instead of one by hash")
    ] = False,
    labels: Annotated[
        str, typer.Option(help="name of a table for the CheXpert labels; empty: none")
    ] = "",
    field_names: FieldNames = NAMES,
) -> None:
    """MIMIC-CXR in its published folders: frontal, lateral, impression."""
    options = {
        **fields_of(field_names),
        **asdict(images),
        **studies.options(),
        "select": select,
        "text_sections": names(text_sections),
        "keep_sections": keep_sections,
        "official_split": official_split,
        "labels": labels,
    }
    prepare_archive("mimic_cxr", source, options, output, writing, reports_dir=reports)


@grouped
def nih_cxr14(
    source: Annotated[
        Path,
        typer.Argument(help="folder with Data_Entry_2017*.csv or metadata.csv, and the images"),
    ],
    output: Output,
    images: Images,
    writing: Writing,
    field_names: FrontAndTable = FRONT_AND_TABLE,
) -> None:
    """ChestX-ray14: frontal radiographs with age, sex, projection and 14 findings."""
    options = {**fields_of(field_names, ("front", "table")), **asdict(images)}
    prepare_archive("nih_cxr14", source, options, output, writing)


@grouped
def openi(
    output: Output,
    images: Images,
    writing: Writing,
    folder: Annotated[
        Path | None,
        typer.Option("--images", help="folder of the images (PNG or DICOM); default: texts only"),
    ] = None,
    texts: Annotated[str, typer.Option(help="impression, findings or both")] = "impression",
    keep_sections: KeepSections = False,
    mesh: Annotated[str, typer.Option(help="name of a table for the MeSH terms; empty: none")] = "",
    min_reports: Annotated[int, typer.Option(help="with --mesh: reports that a term needs")] = 40,
    derived_views: Annotated[
        bool, typer.Option(help="views derived from pixels where the headers have none")
    ] = False,
    gold: Annotated[
        Path | None, typer.Option(help="csv of gold findings: filename, 14 findings, normal")
    ] = None,
    findings: Annotated[str, typer.Option(help="with --gold: name of a table for them")] = "",
    field_names: FieldNames = NAMES,
) -> None:
    """Open-i: the reports inside the installed torchxrayvision, and the images where there are
    any."""
    options = {
        **fields_of(field_names),
        **asdict(images),
        "texts": texts,
        "keep_sections": keep_sections,
        "mesh": mesh,
        "min_reports": min_reports,
        "derived_views": derived_views,
        "findings": findings,
    }
    prepare_archive("openi", folder, options, output, writing, gold_file=gold)


@grouped
def stony_brook(
    source: Annotated[Path, typer.Argument(help="folder with the DICOM tree of COVID-19-NY-SBU")],
    output: Output,
    images: Images,
    writing: Writing = OF_THE_PAPER,
    clinical: Annotated[
        Path | None, typer.Option(help="clinical table; default: the csv of patients in SOURCE")
    ] = None,
    window: Window = True,
    body_parts: BodyParts = "CHEST,PORT CHEST,THORAX,LUNG",
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
    field_names: FrontAndTable = FRONT_AND_TABLE,
) -> None:
    """The Stony Brook COVID-19 cases of the hybrid image and table paper: first frontal radiograph
    and 13 variables."""
    options = {
        **fields_of(field_names, ("front", "table")),
        **asdict(images),
        "window": window,
        "body_parts": names(body_parts),
        "variables": variables,
        "max_missing": max_missing,
        "require_image": require_image,
        "impute_categories": impute_categories,
        "impute_numbers": impute_numbers,
    }
    prepare_archive("stony_brook", source, options, output, writing, clinical=clinical)
