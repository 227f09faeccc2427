"""`tune lookup`: the database's answers for a network."""

from typing import TYPE_CHECKING

import typer

from tilewright.api.cli.asking import MISSED, layer_lines, layers_of
from tilewright.api.cli.options import (
    DEFAULT_DATABASE,
    Database,
    Dims,
    Fallback,
    Frozen,
    Inputs,
    JsonFile,
    Model,
    Objective,
    TargetName,
    Toolchain,
    files_of,
    read_dims,
    read_inputs,
    write_json,
)
from tilewright.api.cli.verbs import verb_app

if TYPE_CHECKING:
    from tilewright.tuner.verbs.answers import NetworkAnswer

app = verb_app()


@app.command()
def lookup(
    model: Model,
    target: TargetName,
    objective: Objective = "latency",
    dim: Dims = None,
    given: Inputs = None,
    toolchain: Toolchain = None,
    frozen: Frozen = None,
    fallback: Fallback = None,
    database: Database = DEFAULT_DATABASE,
    json_file: JsonFile = None,
) -> int:
    """Print hit or miss for every kernel of MODEL, and why a miss. Exit code 3 on any miss.

    With --frozen a lock answers, no database: exactly what it holds, or exit code 3.
    """
    from dataclasses import asdict

    from tilewright.tuner.verbs.lookup import lookup as lookup_network

    answer = lookup_network(
        model,
        target,
        objective=objective,
        dims=read_dims(dim),
        inputs=read_inputs(given),
        database=database,
        toolchain=toolchain,
        frozen=frozen,
        fallback=fallback,
    )
    if json_file is not None:
        write_json(asdict(answer), json_file, files_of(model, target, database, frozen))
    if json_file != "-":
        typer.echo(f"network  {_whole(answer)}  {answer.graph_digest[:16]}{_layer(answer.layer)}")
        if answer.selected is not None:
            typer.echo(f"range    {answer.selected}")
        if answer.retired:
            typer.echo(f"retired  {answer.retired}")
        if answer.imported:
            typer.echo(f"network  {answer.imported}")
        if answer.reason:
            typer.echo(f"range    miss  {answer.reason}")
        if answer.host_us > 0:
            typer.echo(f"host     {answer.host_us:.2f} us of it: ops that run on the host")
        for kernel in answer.kernels:
            found = f"{kernel.match:<16}{kernel.latency_us:10.2f} us"
            layer = _layer(kernel.layer)
            typer.echo(f"{kernel.count:3d} x {kernel.workload_digest[:16]}  {found}  {kernel.name}{layer}")
            if not kernel.hit and not answer.reason:
                typer.echo(f"{'':22}miss  {kernel.reason}")
        for line in layer_lines(layers_of(answer), answer.troubles):
            typer.echo(f"layer    {line}")
    return 0 if answer.complete or frozen is not None else MISSED


def _layer(name: str) -> str:
    """The layer behind an answer, where it is not the user's own database."""
    from tilewright.db.layers.opening import OWN

    return "" if name in ("", OWN) else f"  [{name}]"


def _whole(answer: "NetworkAnswer") -> str:
    if answer.network_latency_us is not None:
        return f"hit {answer.network_latency_us:.2f} us"
    if not answer.kernels:
        return "no kernels"
    took = "" if answer.simulated_us is None else f" {answer.simulated_us:.2f} us, simulated"
    return (
        f"answered by a range{took}" if answer.selected is not None else f"miss{took and f'; a guess{took}'}"
    )
