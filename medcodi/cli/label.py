"""`medcodi label`: findings of radiology reports."""

from pathlib import Path
from typing import Annotated

import typer

from medcodi.cli.console import show_counts


def label(
    reports: Annotated[Path, typer.Argument(help="csv (UTF-8) with the columns id and text")],
    output: Annotated[
        Path,
        typer.Option(
            help="csv to write: id, and 1, 0, -1 (uncertain) or empty for each observation"
        ),
    ],
    vocabulary: Annotated[
        str, typer.Option(help="chexpert, chestxray14 or the path of a YAML file")
    ] = "chexpert",
) -> None:
    """Which findings do radiology reports affirm, deny, hedge or not mention?"""
    from medcodi.labeler.files import label_file

    counts = label_file(reports, output, vocabulary)
    show_counts(
        f"labels in {output} (positive / negative / uncertain)",
        {
            **{
                key: counts[key] for key in ("reports", "without_text", "repeated_ids", "blank_ids")
            },
            **{
                name: " / ".join(map(str, found.values()))
                for name, found in counts["observations"].items()
            },
        },
    )
