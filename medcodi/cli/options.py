"""Options that several commands share: a dataclass whose fields are the options, one a field; and
where a command may write, which is looked at before it begins its work."""

import functools
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Any, get_type_hints

import typer

from medcodi.files import check_file, check_folder


def writes_file(path: Path | None) -> Path | None:
    """Callback of an option: raises ValueError where no file can be written."""
    if path is not None:
        check_file(path)
    return path


def writes_folder(path: Path | None) -> Path | None:
    """Callback of an option: raises ValueError where no folder can be written to."""
    if path is not None:
        check_folder(path)
    return path


def file_to_write(text: str) -> Any:
    """An option that names a file to write, with its help."""
    return typer.Option(help=text, callback=writes_file)


def folder_to_write(text: str, *flags: str) -> Any:
    """An option that names a folder to write, with its help."""
    return typer.Option(*flags, help=text, callback=writes_folder)


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """`command` for typer: a parameter whose type is a dataclass becomes one option a field, and
    `command` gets the dataclass. The parameter's default, an instance, gives the defaults of its
    options; without one they are those of the class.

    Raises ValueError for two options of one name.
    """
    groups: dict[str, type] = {}
    parameters = []
    hints = get_type_hints(command, include_extras=True)
    for name, parameter in signature(command).parameters.items():
        if is_dataclass(hints[name]):
            groups[name] = hints[name]
            default = hints[name]() if parameter.default is Parameter.empty else parameter.default
            parameters += _options(default)
        else:
            kind = Parameter.KEYWORD_ONLY
            parameters.append(parameter.replace(kind=kind, annotation=hints[name]))

    @functools.wraps(command)
    def run(**given: Any) -> None:
        for name, group in groups.items():
            given[name] = group(**{one.name: given.pop(one.name) for one in fields(group)})
        command(**given)

    run.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run


def _options(group: Any) -> list[Parameter]:
    """The fields of an instance as parameters, its values as their defaults."""
    hints = get_type_hints(type(group), include_extras=True)
    return [
        Parameter(
            one.name,
            Parameter.KEYWORD_ONLY,
            default=getattr(group, one.name),
            annotation=hints[one.name],
        )
        for one in fields(group)
    ]
