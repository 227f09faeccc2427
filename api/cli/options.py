"""Arguments that several verbs share, and how their texts are read."""

from pathlib import Path
from typing import Annotated

import typer

from compiler_core.errors import UsageError

Model = Annotated[Path, typer.Argument(help="The ONNX file.")]
TargetName = Annotated[str, typer.Option("--target", help="A preset (tune targets list) or a TOML file.")]
Database = Annotated[str, typer.Option("--db", help="SQLite file, or postgresql://user@host/name.")]
Objective = Annotated[str, typer.Option(help="What to make small: latency, energy, memory or edp.")]
Dims = Annotated[
    list[str] | None, typer.Option("--dim", help="A value for a symbolic dim, as batch=1; repeatable.")
]
Seed = Annotated[int, typer.Option(help="One seed in, the same trials out.")]
JsonFile = Annotated[str | None, typer.Option("--json", help="Write JSON to a file, or to - .")]
DEFAULT_DATABASE = "tilewright.db"


def read_dims(texts: list[str] | None) -> dict[str, int]:
    """`["batch=2"]` as {"batch": 2}; UsageError on anything else."""
    dims: dict[str, int] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals or not name or not value.isdigit() or int(value) < 1:
            raise UsageError(f"--dim {text!r} is not NAME=VALUE with a value from 1 on, as in --dim batch=1")
        if dims.get(name, int(value)) != int(value):
            raise UsageError(f"--dim {name} is given twice, as {dims[name]} and {value}")
        dims[name] = int(value)
    return dims


def write_json(value: object, where: str) -> None:
    """`value` as indented JSON into the file `where`, or to standard output for "-"."""
    import json

    text = json.dumps(value, indent=2, allow_nan=False)
    if where == "-":
        typer.echo(text)
        return
    try:
        Path(where).write_text(text + "\n")
    except OSError as error:
        raise UsageError(f"cannot write {where}: {error.strerror}") from None
