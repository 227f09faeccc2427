"""`tune explain`: tiles, limits and runner-up of the kernels of an answer."""

from typing import TYPE_CHECKING, Annotated

import typer

from tilewright.api.cli.options import (
    DEFAULT_DATABASE,
    Database,
    Dims,
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
    from tilewright.tuner.explain.explain import Explained, Neighbour, RunnerUp, Weighed

app = verb_app()
MOST_TOLD = 3
"""How many waits and differences are printed."""


@app.command()
def explain(
    model: Model,
    target: TargetName,
    kernel: Annotated[
        str | None,
        typer.Option(help="One kernel: its number in the table, its name or a part of it, or its digest."),
    ] = None,
    most: Annotated[int, typer.Option(min=0, help="Without --kernel: the number of kernels to explain.")] = 3,
    objective: Objective = "latency",
    dim: Dims = None,
    given: Inputs = None,
    toolchain: Toolchain = None,
    database: Database = DEFAULT_DATABASE,
    json_file: JsonFile = None,
) -> None:
    """Print a kernel's loop nest, its limits, its runner-up, and why its neighbours are not fused.

    Without --kernel all kernels are listed, and the slowest ones explained.
    """
    from tilewright.tuner.explain.explain import explain as explain_network

    found = explain_network(
        model,
        target,
        kernel=kernel,
        most=most,
        objective=objective,
        dims=read_dims(dim),
        inputs=read_inputs(given),
        database=database,
        toolchain=toolchain,
    )
    if json_file is not None:
        write_json(found.to_json(), json_file, files_of(model, target, database))
    if json_file == "-":
        return
    if not found.kernels:
        typer.echo(f"{found.model}: no kernels; every output is an input, a constant or what the host makes")
        return
    if kernel is None:
        typer.echo("\n".join(table(found.kernels)))
        if found.host_us > 0:
            typer.echo(f"    {found.host_us:>10.2f} us beside them: ops that run on the host")
        typer.echo("")
    typer.echo("\n\n".join("\n".join(as_text(each)) for each in found.explained))


def table(kernels: "tuple[Weighed, ...]") -> list[str]:
    """One line per kernel: its time, its share of the total, and the resource that sets its bound."""
    lines = [f"{'#':>3} {'us':>10} {'calls':>6} {'share':>6} {'bound':>10} {'limited by':<12} kernel"]
    lines += [
        f"{index:>3} {each.latency_us:>10.2f} {each.calls:>6} {each.share:>6.1%} {each.bound_us:>10.2f} "
        f"{each.limited_by:<12} {each.name}"
        for index, each in enumerate(kernels)
    ]
    return lines


def as_text(explained: "Explained") -> list[str]:
    """One kernel for people."""
    limits, kernel = explained.limits, explained.kernel
    lines = [
        f"{kernel.name}   {kernel.workload_digest[:16]}   {kernel.calls} call{'s' * (kernel.calls > 1)}",
        f"  nodes      {', '.join(explained.nodes)}",
        f"  time       {kernel.latency_us:.2f} us a call, {_SOURCES.get(kernel.source, kernel.source)}; "
        f"{kernel.share:.1%} of all kernels",
        f"  bound      {kernel.bound_us:.2f} us, by the {kernel.limited_by}; "
        + ", ".join(f"{each.name} {each.least_us:.2f}" for each in limits.resources)
        + f", launch {limits.launch_us:.2f}",
    ]
    if limits.roofline is not None:
        line = limits.roofline
        lines.append(
            f"  roofline   {line.macs_per_byte:.3g} MAC a byte, the roofs meet at "
            f"{line.ridge_macs_per_byte:.3g}: under the {line.side} roof"
        )
    if limits.busy:
        busy = ", ".join(f"{engine} {share:.0%}" for engine, share in limits.busy)
        waits = ", ".join(f"{cause} {us:.2f} us" for cause, us in limits.waits[:MOST_TOLD])
        lines.append(f"  engines    {busy} of the slowest core's time; it waits for {waits or 'nothing'}")
    lines += ["  tiles", *(f"    {line}" for line in explained.nest)]
    lines += _runner_up(explained.runner_up, kernel.latency_us)
    return lines + [f"  apart      {_apart(each)}" for each in explained.neighbours]


_SOURCES = {
    "network": "measured, as part of the whole network",
    "range": "by the selector of a range",
    "database": "measured",
    "other-placement": "measured with operands in other places",
    "guessed": "a guess: not measured",
}


def _runner_up(other: "RunnerUp | None", latency_us: float) -> list[str]:
    if other is None:
        return ["  runner-up  no other Config of this kernel was measured"]
    knobs = ", ".join(f"{name} {new} for {old}" for name, old, new in other.knobs)
    lines = [f"  runner-up  {other.latency_us:.2f} us with {knobs}"]
    if other.latency_us <= latency_us:
        return [*lines, "             as fast by one reading; the chosen one was confirmed"]
    lost = ", ".join(f"{name} +{us:.2f} us" for name, us in other.grown[:MOST_TOLD])
    return [*lines, f"             lost on {lost or 'nothing in the nominal target file'}"]


def _apart(neighbour: "Neighbour") -> str:
    where = "is read by" if neighbour.reads_it else "reads"
    if neighbour.together_us is None:
        return f"{where} {neighbour.name}: {neighbour.reason}"
    prices = f"{neighbour.together_us:.2f} us together, {neighbour.apart_us:.2f} us apart"
    return f"{where} {neighbour.name}: {prices}"
