"""`medcodi prepare SOURCE`: raw data -> prepared folder."""

import typer

from medcodi.cli.prepare import archives, tables, xrv

prepare_app = typer.Typer(no_args_is_help=True, help="Raw data -> prepared folder (Arrow).")
prepare_app.command("folder")(tables.folder)
prepare_app.command("dicom")(archives.dicom)
prepare_app.command("mimic_cxr")(archives.mimic_cxr)
prepare_app.command("nih_cxr14")(archives.nih_cxr14)
prepare_app.command("openi")(archives.openi)
prepare_app.command("table")(tables.table)
prepare_app.command("stony_brook")(archives.stony_brook)
prepare_app.command("xrv")(xrv.xrv)
prepare_app.command("phantom")(tables.phantom)
