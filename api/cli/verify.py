"""`tune verify`: emulate the best Program and compare it with onnxruntime."""

from typing import Annotated

import typer

from api.cli.options import (
    DEFAULT_DATABASE,
    Database,
    Dims,
    JsonFile,
    Model,
    Objective,
    Seed,
    TargetName,
    read_dims,
    write_json,
)
from api.cli.verbs import verb_app
from compiler_core.errors import VerifyError

app = verb_app()


@app.command()
def verify(
    model: Model,
    target: TargetName,
    values: Annotated[bool, typer.Option("--values", help="Print the error of every value.")] = False,
    dtype: Annotated[
        str, typer.Option(help="model: judged; target: its storage and accumulator types, told only.")
    ] = "model",
    objective: Objective = "latency",
    dim: Dims = None,
    seed: Seed = 0,
    database: Database = DEFAULT_DATABASE,
    json_file: JsonFile = None,
) -> None:
    """Run the best known Program of MODEL in numpy, tile by tile, and compare its values with onnxruntime's.

    Exit code 1 when any value, intermediates included, differs by more than 1e-4 of its largest magnitude. In
    the target's dtypes nothing is judged: the error is printed down the network.
    """
    from dataclasses import asdict

    from tuner.verify import verify as verify_network

    verdict = verify_network(
        model, target, dims=read_dims(dim), objective=objective, seed=seed, database=database, dtype=dtype
    )
    told_only = dtype != "model"
    if json_file is not None:
        write_json(asdict(verdict), json_file)
    if json_file != "-":
        worst = max(verdict.values, key=lambda value: value.max_rel)
        if told_only:
            typer.echo(verdict.dtype)
        if values or told_only:
            typer.echo(f"{'max abs':>12} {'max rel':>12} {'cosine':>12}  value")
            for value in verdict.values:
                mark = "" if value.ok or told_only else "  <- differs"
                mark += "  (its kernel alone)" if value.alone else ""
                typer.echo(
                    f"{value.max_abs:12.3e} {value.max_rel:12.3e} {value.cosine:12.9f}  {value.name}{mark}"
                )
        typer.echo(f"{len(verdict.values)} values compared; worst {worst.max_rel:.3e} at {worst.name}")
        if told_only and verdict.first_bad is not None:
            bad = verdict.first_bad
            typer.echo(f"beyond 1e-4 first at {bad.name}: {bad.max_rel:.3e} of its largest magnitude")
    if verdict.first_bad is not None and not told_only:
        bad = verdict.first_bad
        raise VerifyError(
            f"value {bad.name} is the first to differ: {bad.max_rel:.3e} of its largest magnitude"
        )
