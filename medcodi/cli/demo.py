"""`medcodi serve demo`: the demo page."""

import time
from pathlib import Path
from typing import Annotated

import typer

from medcodi.cli.console import console
from medcodi.cli.turing import serve_app

PHANTOM = "phantom"


@serve_app.command("demo")
def serve_demo(
    pipeline: Annotated[
        str, typer.Option(help="pipeline folder, or the name of a shipped pipeline")
    ] = PHANTOM,
    studies: Annotated[
        str,
        typer.Option(
            help="prepared folder: held-out studies to draw from, training studies to compare "
            "with; `phantom`: fresh phantoms to draw from"
        ),
    ] = "",
    private: Annotated[
        Path | None, typer.Option(help="filter of `medcodi privacy fit`: judges every sample")
    ] = None,
    host: Annotated[
        str, typer.Option(help="address to listen at; others than loopback need a password")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0: any that is free")] = 7860,
    password_file: Annotated[
        Path | None,
        typer.Option(help="file whose first line is the password of the user `medcodi`"),
    ] = None,
) -> None:
    """A page to try a pipeline: prompts, outputs, nearest training study, downloads. Synthetic, not
    for clinical use. Stop with Ctrl-C."""
    from medcodi.demo.server import read_password, serving

    password = read_password(host, password_file)
    with serving(_studio(pipeline, studies, private), host, port, password) as address:
        console.print(f"demo at {address} (stop with Ctrl-C). Synthetic, not for clinical use.")
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            console.print("stopped")


def _studio(pipeline: str, studies: str, private: Path | None):
    from medcodi.data.storage import Storage
    from medcodi.demo.studies import HeldOut, Phantoms, TrainingBank
    from medcodi.demo.studio import Studio
    from medcodi.pipeline import MedCoDiPipeline

    pipe = MedCoDiPipeline.from_pretrained(pipeline)
    modalities = [pipe.family.modality(name) for name in pipe.modalities]
    drawn = bank = privacy = None
    if studies == PHANTOM:
        size = max([m.args.size for m in modalities if m.storage == Storage.IMAGE], default=64)
        drawn = Phantoms(size, pipe.modalities)
    elif studies:
        drawn, bank = HeldOut(studies, pipe.modalities), TrainingBank(studies, modalities)
    if private:
        from medcodi.privacy.filter import PrivacyFilter

        privacy = PrivacyFilter.load(private)
    return Studio(pipe, drawn, bank, privacy)
