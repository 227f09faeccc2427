"""`tune verify`: run the best Program and judge everything that it computes."""

from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from tilewright.api.cli.options import (
    DEFAULT_DATABASE,
    Database,
    Inputs,
    JsonFile,
    Model,
    Objective,
    RangedDims,
    TargetName,
    Toolchain,
    files_of,
    guessed_share,
    read_inputs,
    read_ranges,
    write_json,
)
from tilewright.api.cli.verbs import verb_app
from tilewright.compiler_core.errors import VerifyError

if TYPE_CHECKING:
    from tilewright.tuner.verbs.verify import Verdict

app = verb_app()
FAR = 1e-4
"""In the target's dtypes the first value with an error above this share of its magnitude is named."""


@app.command()
def verify(
    model: Model,
    target: TargetName,
    values: Annotated[bool, typer.Option("--values", help="Print the error of every value.")] = False,
    dtype: Annotated[
        str,
        typer.Option(
            help="model: the model's own types, judged. target: the chip's storage and accumulator types; "
            "errors are printed, nothing is judged."
        ),
    ] = "model",
    objective: Objective = "latency",
    dim: RangedDims = None,
    given: Inputs = None,
    seed: Annotated[int, typer.Option(help="Seed of the inputs, which are drawn at random.")] = 0,
    toolchain: Toolchain = None,
    database: Database = DEFAULT_DATABASE,
    json_file: JsonFile = None,
) -> None:
    """Run the best known Program of MODEL, tile by tile, and judge every value that it computes.

    Each op is compared with the same op in float64 on the same operands. Its error must lie within the
    tolerance of its dtype, or within 4 times the error of plain evaluation in that dtype. The imported
    network is compared in the same way with the file, as onnxruntime and onnx's reference evaluator run it.
    Exit code 1 when any value is wrong, intermediate values included.

    Networks above 2 GMAC are run by machine code of this CPU, smaller ones in numpy. A range (--dim
    seq=1..2048) is verified at both ends and at sizes between.
    """
    from tilewright.compiler_core.onnx_import.sizes import sizes_in_range
    from tilewright.tuner.sizes.representatives import representatives
    from tilewright.tuner.verbs.verify import verify as verify_network

    dims, ranges = read_ranges(dim)
    inputs = read_inputs(given)
    judged = partial(
        verify_network,
        model,
        target,
        inputs=inputs,
        objective=objective,
        toolchain=toolchain,
        seed=seed,
        database=database,
        dtype=dtype,
    )
    chosen: list[dict[str, int]] = [{}]
    for name, ends in ranges.items():
        sizes = sizes_in_range(model, dims, name, *ends, inputs=inputs)
        chosen = [{name: size} for size in representatives(sizes)]
    verdicts = []
    for index in chosen:
        for name, size in index.items():
            typer.echo(f"{name} = {size}", err=json_file == "-")
        verdicts.append(judged(dims=dims | index))
        if json_file != "-":
            _print(verdicts[-1], values or dtype != "model")
    if json_file is not None:
        forms = [asdict(verdict) for verdict in verdicts]
        write_json(forms if ranges else forms[0], json_file, files_of(model, target, database))
    for verdict in verdicts:
        bad = verdict.first_bad
        if bad is not None and not verdict.ok:
            raise VerifyError(f"value {bad.name} is the first that is wrong: {bad.why}")


def _print(verdict: "Verdict", values: bool) -> None:
    """The errors down the network where they are asked for, then the worst and where values go bad."""
    told_only = verdict.dtype != "model"
    for line in verdict.misdeclared:
        typer.echo(f"warning: {line}")
    if verdict.guesses:
        typer.echo(guessed_share(verdict.guesses, verdict.calls))
    if told_only:
        typer.echo(verdict.dtype)
    if values:
        typer.echo(f"{'max abs':>12} {'max rel':>12} {'cosine':>12}  value")
        for value in verdict.values:
            mark = "" if value.ok or told_only else "  <- wrong"
            typer.echo(
                f"{value.max_abs:12.3e} {value.max_rel:12.3e} {value.cosine:12.9f}  {value.name}{mark}"
            )
    if not verdict.values:
        typer.echo("0 values compared: nothing runs, every output is an input or a constant")
        return
    worst = max(verdict.values, key=lambda value: value.max_rel)
    if told_only:
        typer.echo(f"{len(verdict.values)} values compared; furthest {worst.max_rel:.3e} at {worst.name}")
        far = next((value for value in verdict.values if value.max_rel > FAR), None)
        if far is not None:
            typer.echo(f"beyond {FAR:g} first at {far.name}: {far.max_rel:.3e} of its largest magnitude")
        return
    _print_judgement(verdict)


def _print_judgement(verdict: "Verdict") -> None:
    """Print the numbers of right values and of values compared with the file, and the least noticeable
    errors.
    """
    right = sum(value.ok for value in verdict.values)
    typer.echo(
        f"{right} of {len(verdict.values)} values right; {verdict.compared} also as the model's file has them"
    )
    if verdict.untold:
        typer.echo(f"the rest of the file has no reference: {verdict.untold}")
    if verdict.left_open:
        count = "1 value depends" if verdict.left_open == 1 else f"{verdict.left_open} values depend"
        typer.echo(f"{count} on NaN in an order or on integer overflow: not judged against the file there")
    moved = verdict.furthest
    if moved is not None:
        typer.echo(f"outputs moved by at most {moved.max_rel:.3e} of their magnitude: {moved.name}")
    for dtype, value in verdict.caught.items():
        typer.echo(
            f"smallest error still noticed in {dtype}: {value.caught:.3e} of the magnitude, at {value.name}"
        )
