"""Options that commands share, through a real typer application."""

from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from medcodi.cli.options import grouped


@dataclass
class Reading:
    size: Annotated[int, typer.Option(help="pixels of a side")] = 256
    sure: Annotated[bool, typer.Option("--certain")] = False


LARGE = Reading(size=512)


@grouped
def read(source: str, reading: Reading, name: str = "x") -> None:
    """Read a source."""
    typer.echo(f"{source} {name} {reading}")


@grouped
def read_large(reading: Reading = LARGE) -> None:
    typer.echo(f"{reading}")


def run(command, *arguments):
    app = typer.Typer()
    app.command()(command)
    return CliRunner().invoke(app, list(arguments))


def test_a_command_gets_its_group():
    told = run(read, "folder", "--size", "64", "--certain", "--name", "y")
    assert told.stdout == "folder y Reading(size=64, sure=True)\n"
    assert run(read, "folder").stdout == "folder x Reading(size=256, sure=False)\n"


def test_a_command_may_have_defaults_of_its_own():
    assert run(read_large).stdout == "Reading(size=512, sure=False)\n"
    assert run(read_large, "--size", "8").stdout == "Reading(size=8, sure=False)\n"


def test_help_names_the_options_of_a_group():
    told = " ".join(run(read, "--help").stdout.split())
    assert "--size" in told and "pixels of a side" in told and "Read a source." in told


def test_two_options_of_one_name_are_refused():
    def twice(first: Reading, size: int = 1) -> None:
        """Nothing."""

    with pytest.raises(ValueError, match="duplicate parameter name: 'size'"):
        grouped(twice)
