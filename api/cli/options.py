"""Arguments that several verbs share, and how their texts are read."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tilewright.compiler_core.errors import ModelError, UsageError
from tilewright.compiler_core.files.outputs import write_text

if TYPE_CHECKING:
    from tilewright.tuner.verbs.answers import Require

Model = Annotated[Path, typer.Argument(help="The ONNX file.")]
TargetName = Annotated[
    str, typer.Option("--target", help="The chip: a preset (tune targets list) or a TOML file.")
]
Database = Annotated[
    str, typer.Option("--db", help="The search database: a SQLite file, or postgresql://user@host/name.")
]
Objective = Annotated[
    str,
    typer.Option(
        help="What is minimised: latency (us), energy (uJ), memory (peak bytes between kernels) or edp "
        "(energy times latency)."
    ),
]
RunObjective = Annotated[
    str,
    typer.Option(
        "--objective",
        help="What is minimised: latency (us), energy (uJ), memory (peak bytes between kernels) or edp "
        "(energy times latency); several, as latency,energy,peak_bytes, give a front.",
    ),
]
Toolchain = Annotated[
    str | None,
    typer.Option(
        help="The toolchain whose records answer (tune db stats lists them); by default the target's own."
    ),
]
Frozen = Annotated[
    Path | None,
    typer.Option(help="Answer from this lock alone (tune lock); exit code 3 for what it does not hold."),
]
Fallback = Annotated[
    str | None,
    typer.Option(
        help="What may stand in for a missing record, the first that exists: toolchain (a record of an older "
        "one, marked), family (the same op with operands elsewhere), guess, default. Without the option: "
        "TILEWRIGHT_FALLBACK, else toolchain,family,guess."
    ),
]
Dims = Annotated[
    list[str] | None, typer.Option("--dim", help="The size of a symbolic dim, as batch=1; repeatable.")
]
RangedDims = Annotated[
    list[str] | None,
    typer.Option(
        "--dim", help="The size (batch=1) or range of sizes (seq=1..2048) of a symbolic dim; repeatable."
    ),
]
Inputs = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        help="The value of an input that decides the network's structure, as rate=16000 or sizes=[1,8]; "
        "repeatable.",
    ),
]
Required = Annotated[
    str | None,
    typer.Option(
        "--require",
        help="The least that is accepted: answered (no kernel is a guess; a range counts), measured (every "
        "kernel, at this size) or verified (the network as a whole). Anything less is exit code 3.",
    ),
]
Seed = Annotated[int, typer.Option(help="Seed of the search; the same seed measures the same trials.")]
JsonFile = Annotated[
    str | None, typer.Option("--json", help="Write the answer as JSON to this file; - is standard output.")
]
DEFAULT_DATABASE = "tilewright.db"
MOST_DIGITS = 18


def read_ranges(texts: list[str] | None) -> tuple[dict[str, int], dict[str, tuple[int, int]]]:
    """`["batch=2", "seq=1..64"]` as {"batch": 2} and {"seq": (1, 64)}; UsageError on anything else."""
    ranges: dict[str, tuple[int, int]] = {}
    values: list[str] = []
    for text in texts or ():
        name, _, value = text.partition("=")
        low, dots, high = value.partition("..")
        if not dots:
            values.append(text)
            continue
        if not name or not _is_size(low) or not _is_size(high) or int(low) > int(high):
            raise UsageError(f"--dim {text!r} is not NAME=LO..HI with 0 <= LO <= HI, as in --dim seq=1..2048")
        if name in ranges and ranges[name] != (int(low), int(high)):
            first, last = ranges[name]
            raise UsageError(f"--dim {name} is given twice, as {first}..{last} and {value}")
        ranges[name] = int(low), int(high)
    if len(ranges) > 1:
        raise UsageError(f"one dim can be ranged at a time, not all of {', '.join(sorted(ranges))}")
    dims = read_dims(values)
    for name in sorted(ranges.keys() & dims.keys()):
        raise UsageError(f"--dim {name} is given twice, as {dims[name]} and a range")
    return dims, ranges


def read_dims(texts: list[str] | None) -> dict[str, int]:
    """`["batch=2"]` as {"batch": 2}; UsageError on anything else."""
    dims: dict[str, int] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals or not name or not _is_size(value):
            if ".." in value:
                raise UsageError(f"--dim {text!r} is a range; this verb takes one size of {name}")
            raise UsageError(f"--dim {text!r} is not NAME=VALUE with a value from 0 on, as in --dim batch=1")
        if dims.get(name, int(value)) != int(value):
            raise UsageError(f"--dim {name} is given twice, as {dims[name]} and {value}")
        dims[name] = int(value)
    return dims


def read_required(text: str | None) -> "Require | None":
    """The least that is accepted as an answer; UsageError on an unknown word."""
    from tilewright.tuner.verbs.answers import Require

    if text is not None and text not in set(Require):
        raise UsageError(f"--require {text!r} is unknown; choose from {', '.join(Require)}")
    return None if text is None else Require(text)


def _is_size(text: str) -> bool:
    """Whether `text` is a whole number from 0 on, in ASCII digits, that 64 bits hold."""
    return text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS


def read_inputs(texts: list[str] | None) -> dict[str, Any]:
    """`["rate=16000", "sizes=[1,3]"]` as {"rate": 16000, "sizes": [1, 3]}; UsageError on anything else."""
    import json

    inputs: dict[str, Any] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        try:
            given = json.loads(value)
        except (ValueError, RecursionError):
            given = ""
        if not equals or not name or isinstance(given, str | dict):
            raise UsageError(
                f"--input {text[:60]!r} is not NAME=VALUE with a number, true, false or a list, as in"
                " --input rate=16000 or --input sizes=[1,3,8,8]"
            )
        if name in inputs and repr(inputs[name]) != repr(given):
            raise UsageError(f"--input {name} is given twice, as {inputs[name]} and {given}")
        inputs[name] = given
    return inputs


def write_json(value: object, where: str, inputs: Iterable[str | Path] = ()) -> None:
    """`value` as indented JSON into the file `where`, or to standard output for "-"; `inputs` are kept."""
    import json

    text = json.dumps(value, indent=2, allow_nan=False)
    if where == "-":
        typer.echo(text)
    else:
        write_text(text + "\n", where, inputs)


def answer(text: str, value: object, where: str | None, inputs: Iterable[str | Path] = ()) -> None:
    """Print the answer of a verb: `value` as JSON to `where` if given, and `text` for people. With "-"
    standard output is the JSON alone.
    """
    if where is not None:
        write_json(value, where, inputs)
    if where != "-":
        typer.echo(text)


def counted(number: int, what: str) -> str:
    """The number and its noun: "1 stage", "2 stages"."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def sources_text(sources: Mapping[str, int]) -> str:
    """The sources of the kernels of a Program: "kernels: 3 measured, 1 guessed"."""
    return f"kernels: {', '.join(f'{number} {source}' for source, number in sources.items()) or 'none'}"


def read_seconds(text: str | None, option: str) -> float | None:
    """`2h`, `30m`, `90s` or `90` as seconds, None as None; UsageError names the option."""
    if text is None:
        return None
    units = {"h": 3600.0, "m": 60.0, "s": 1.0}
    try:
        seconds = float(text[:-1]) * units[text[-1]] if text[-1:] in units else float(text)
    except ValueError:
        raise UsageError(f"{option} {text!r} is no time; give 90, 90s, 30m or 2h") from None
    if not 0.0 < seconds < float("inf"):
        raise UsageError(f"{option} {text!r} is no time from now on; give 90, 90s, 30m or 2h")
    return seconds


def read_share(text: str | None, option: str) -> float | None:
    """`2%` or `0.02` as 0.02, None as None; UsageError names the option."""
    if text is None:
        return None
    try:
        return float(text.removesuffix("%")) / (100.0 if text.endswith("%") else 1.0)
    except ValueError:
        raise UsageError(f"{option} {text!r} is no share; give 2% or 0.02") from None


@dataclass(frozen=True)
class Kept:
    """Files that a command must not overwrite: its inputs, and what belongs to them: a SQLite file's log, the
    tensors beside a model. The model is read only when somebody gets so far.
    """

    names: tuple[str | Path, ...]

    def __iter__(self) -> Iterator[str | Path]:
        yield from self.names
        yield from (f"{name}{end}" for name in self.names for end in ("-wal", "-shm", "-journal"))
        for model in (Path(name) for name in self.names if str(name).endswith(".onnx")):
            from tilewright.compiler_core.onnx_import.model_files.beside import files_beside

            with suppress(ModelError):
                yield from files_beside(model).values()


def files_of(*names: str | Path | None) -> Kept:
    """Those of a command's arguments that may be files to keep: not absent, not a URL."""
    return Kept(tuple(name for name in names if name is not None and "://" not in str(name)))


def guessed_share(guesses: int, calls: int) -> str:
    """The line that says how much of a Program nobody measured."""
    return f"guesses: {guesses} of {calls} kernels ({guesses / calls:.0%}), neither measured nor verified"
