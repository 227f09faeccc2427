"""`tune lock`: the answers of today in a file, so that a whole fleet serves exactly these."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tilewright.api.cli.options import (
    DEFAULT_DATABASE,
    Database,
    Dims,
    Inputs,
    JsonFile,
    Objective,
    Toolchain,
    answer,
    counted,
    files_of,
    read_dims,
    read_inputs,
)
from tilewright.api.cli.verbs import verb_app
from tilewright.compiler_core.errors import UsageError

if TYPE_CHECKING:
    from tilewright.db.exchange.lock_file import Lock

app = verb_app()
DIFFERENT = 1


@app.command()
def lock(
    models: Annotated[
        list[Path], typer.Argument(metavar="MODEL...", help="ONNX files; or one lock, with --diff.")
    ],
    target: Annotated[
        list[str] | None, typer.Option("--target", help="A chip: a preset or a TOML file; repeatable.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The lock to write, or - for standard output.")
    ] = None,
    diff: Annotated[
        Path | None,
        typer.Option(help="Write nothing; print what differs from this lock. Exit code 1 if anything does."),
    ] = None,
    guesses: Annotated[
        bool, typer.Option("--guesses", help="Lock kernels without a record too, as guesses.")
    ] = False,
    objective: Objective = "latency",
    dim: Dims = None,
    given: Inputs = None,
    toolchain: Toolchain = None,
    database: Database = DEFAULT_DATABASE,
    json_file: JsonFile = None,
) -> int:
    """Write down what the database answers for MODELS on a target: digests, and the Config of every kernel.

    `tune lookup` and `tune compile` serve exactly that with --frozen, from the lock alone, or exit with 3.
    Exit code 3 also where a kernel would be a guess. The same answers make the same bytes.
    """
    if output is not None and diff is not None:
        raise UsageError("give one of -o and --diff: a lock is written, or compared with")
    if output is None and diff is None:
        raise UsageError("give -o FILE to write a lock, or --diff FILE to compare with one")
    if str(output) == json_file == "-":
        raise UsageError("-o - and --json - both want standard output; give one of them a file")
    if diff is not None and not target:
        if len(models) != 1:
            raise UsageError("give one lock to compare with --diff, or models and a --target")
        return _compared(diff, models[0], json_file)
    from tilewright.tuner.verbs.lock import lock as lock_networks

    if not target:
        raise UsageError("give a --target to lock the answers for")
    found = lock_networks(
        models,
        target,
        objective=objective,
        dims=read_dims(dim),
        inputs=read_inputs(given),
        database=database,
        toolchain=toolchain,
        guesses=guesses,
    )
    if diff is not None:
        return _differences(diff, found, json_file, [*models, *target, database])
    from tilewright.compiler_core.files.outputs import write_text

    assert output is not None, "one of the two is given"
    kept = files_of(*models, *target, database)
    if str(output) == "-":
        typer.echo(found.text(), nl=False)
        return 0
    write_text(found.text(), output, kept)
    kernels = sum(len(network.kernels) for network in found.networks.values())
    text = f"{output}: {counted(len(found.networks), 'network')}, {counted(kernels, 'kernel')}"
    body = {"networks": len(found.networks), "kernels": kernels}
    answer(text, body, json_file, [*kept, output])
    return 0


def _compared(old: Path, new: Path, json_file: str | None) -> int:
    from tilewright.db.exchange.lock_file import read_lock

    return _differences(old, read_lock(new), json_file, [new])


def _differences(old: Path, new: "Lock", json_file: str | None, read: list[Path | str]) -> int:
    from dataclasses import asdict

    from tilewright.db.exchange.lock_diff import diff_locks
    from tilewright.db.exchange.lock_file import read_lock

    changes = diff_locks(read_lock(old), new)
    lines = [
        line for each in changes for line in (f"{each.kind:<8} {each.name}", *(f"  {x}" for x in each.lines))
    ]
    text = "\n".join(lines) or f"{old}: the same answers"
    answer(text, [asdict(each) for each in changes], json_file, files_of(old, *read))
    return DIFFERENT if changes else 0
