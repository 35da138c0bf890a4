"""`medcodi prepare xrv`."""

from pathlib import Path
from typing import Annotated

import typer

from medcodi.cli.console import names, show_counts
from medcodi.cli.options import folder_to_write
from medcodi.cli.prepare.options import Share


def xrv(
    dataset: Annotated[
        str, typer.Argument(help="class of torchxrayvision, such as NIH_Dataset or CheX_Dataset")
    ],
    images: Annotated[Path, typer.Argument(help="its folder of images")],
    output: Annotated[Path, folder_to_write("prepared folder to write")],
    csv: Annotated[
        Path | None, typer.Option(help="its table; default: the one that torchxrayvision ships")
    ] = None,
    argument: Annotated[
        list[str] | None,
        typer.Option(help="further argument of the class, NAME=VALUE; repeatable"),
    ] = None,
    size: Annotated[int, typer.Option(help="pixels of a side of the prepared images")] = 256,
    fields: Annotated[
        str, typer.Option("--names", help="names of the frontal image, lateral image, table")
    ] = "frontal,lateral,tabular",
    validation: Share = 0.1,
    test: Share = 0.1,
    overwrite: bool = False,
) -> None:
    """A data set of torchxrayvision: radiographs with age, sex, projection and findings."""
    from medcodi.sources.dicom.view import View
    from medcodi.sources.xrv import prepare_xrv

    chosen = names(fields)
    if len(set(chosen)) != 3:
        raise ValueError(f"--names takes three different names, got {fields!r}")
    arguments = {"csvpath": str(csv)} if csv else {}
    for text in argument or []:
        key, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"--argument takes NAME=VALUE, got {text!r}")
        arguments[key] = value
    counts = prepare_xrv(
        dataset,
        images,
        output,
        {View.FRONT: chosen[0], View.SIDE: chosen[1]},
        chosen[2],
        arguments,
        size,
        validation=validation,
        test=test,
        overwrite=overwrite,
    )
    show_counts(f"prepared {output}", counts)
