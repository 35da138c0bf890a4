"""`medcodi label`: findings of radiology reports."""

from pathlib import Path
from typing import Annotated

import typer

from medcodi.cli.console import show_counts
from medcodi.cli.options import file_to_write


def label(
    reports: Annotated[
        Path | None, typer.Argument(help="csv (UTF-8) with the columns id and text")
    ] = None,
    output: Annotated[
        Path | None,
        file_to_write("csv to write: id, and 1, 0, -1 (uncertain) or empty for each observation"),
    ] = None,
    vocabulary: Annotated[
        str, typer.Option(help="chexpert, chestxray14 or the path of a YAML file")
    ] = "chexpert",
    self_test: Annotated[
        bool, typer.Option("--self-test", help="read sentences with known answers instead")
    ] = False,
    corpus: Annotated[
        str | None,
        typer.Option(
            help="with --self-test: YAML file of such sentences; default: the shipped one"
        ),
    ] = None,
) -> None:
    """Which findings do radiology reports affirm, deny, hedge or not mention?"""
    if self_test:
        if reports is not None or output is not None:
            raise ValueError("--self-test reads a corpus: it takes neither REPORTS nor --output")
        _self_test(corpus or "chexpert", vocabulary)
        return
    if corpus is not None:
        raise ValueError("--corpus belongs to --self-test")
    if reports is None or output is None:
        raise ValueError("medcodi label needs REPORTS and --output, or --self-test")
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


def _self_test(name: str, vocabulary: str) -> None:
    """Run the corpus `name`: with the vocabulary that it names, or another one that has its
    observations. ValueError lists what is read otherwise."""
    from medcodi.labeler import Labeler
    from medcodi.labeler.corpus import load_corpus, run_corpus

    corpus = load_corpus(name)
    used = corpus.vocabulary if vocabulary == "chexpert" else vocabulary
    counts, failures = run_corpus(corpus, Labeler.from_vocabulary(used))
    rows = {kind: f"{right} of {number}" for kind, (right, number) in counts.items()}
    show_counts(f"read as expected, vocabulary {used}", rows)
    if failures:
        lines = [f"[{one.kind}] {one.text!r}: {one.read}, not {one.expected}" for one in failures]
        raise ValueError(f"{len(failures)} texts are read otherwise: {'; '.join(lines)}")
