"""`medcodi generate`: its options are the fields of `medcodi.generation.request.Request`."""

import json
import time
from dataclasses import MISSING, Field, fields
from inspect import Parameter, Signature
from typing import Annotated, Any, get_type_hints

import typer

from medcodi.cli.console import console
from medcodi.cli.options import writes_folder
from medcodi.generation.request import Request

OPTIONS = {option.name: option for option in fields(Request)}
REPEATABLE = ("prompts", "labels", "keep", "mask", "strength")
OF_THE_PLACE = ("shard", "device")  # where they are not given, they are asked from the launcher


def generate(num_processes: int | None = None, **asked: Any) -> None:
    """Generate any modalities from any others. The same command again continues a run that was
    stopped.

    Many processes: accelerate launch scripts/generate_dataset.py with the same options. Each makes
    its own studies on its own device, and the last one writes manifest.json. For one batch size the
    files are the same, bit for bit, for any number of processes on one kind of device.
    """
    from medcodi.cli.processes import launched_device, launched_shard
    from medcodi.generation.run import generate_to_folder

    start = time.perf_counter()
    given = {name: value for name, value in asked.items() if value is not None}
    given = {name: (OPTIONS[name].metadata["read"] or _same)(given[name]) for name in given}
    if "shard" not in given:
        given["shard"] = launched_shard(num_processes)
    given.setdefault("device", launched_device())
    request = Request(**given)
    manifest, (index, count) = generate_to_folder(request), request.shard
    if manifest is None:
        console.print(f"shard {index}/{count} is finished; manifest.json follows when all are")
    else:
        samples, outputs = len(manifest["samples"]), ", ".join(manifest["outputs"])
        console.print(f"{samples} samples of {outputs} in {request.output}")
    if count > 1:
        told = {"shard": [index, count], "seconds": round(time.perf_counter() - start, 1)}
        told |= {"finished": manifest and len(manifest["samples"]), "output": str(request.output)}
        typer.echo(json.dumps(told))


def _same(value: Any) -> Any:
    return value


def _parameter(option: Field, hint: Any) -> Parameter:
    """A field of Request as an option: what has to be read from a text is one until then."""
    if option.metadata["read"]:
        hint, default = str | None, None
    else:
        default = Parameter.empty if option.default is MISSING else option.default
    if option.name in REPEATABLE:
        hint, default = list[str] | None, None
    if option.name in OF_THE_PLACE:
        hint, default = str | None, None
    flag = option.metadata["flag"] or f"--{option.name.replace('_', '-')}"
    callback = writes_folder if option.name == "output" else None
    described = Annotated[hint, typer.Option(flag, help=option.metadata["help"], callback=callback)]
    return Parameter(option.name, Parameter.KEYWORD_ONLY, default=default, annotation=described)


PROCESSES = Parameter(
    "num_processes",
    Parameter.KEYWORD_ONLY,
    default=None,
    annotation=Annotated[
        int | None, typer.Option(help="refuse to run in any other number of processes")
    ],
)
_hints = get_type_hints(Request)
generate.__signature__ = Signature(
    [PROCESSES, *(_parameter(option, _hints[name]) for name, option in OPTIONS.items())]
)
