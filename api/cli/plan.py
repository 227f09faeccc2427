"""`tune plan`: peak memory of the model's own kernel order and of the best one, with proof and memory map."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tilewright.api.cli.options import (
    Inputs,
    JsonFile,
    Model,
    RangedDims,
    files_of,
    read_inputs,
    read_ranges,
    write_json,
)
from tilewright.api.cli.verbs import verb_app
from tilewright.compiler_core.files.outputs import write_text

if TYPE_CHECKING:
    from tilewright.tuner.verbs.plan import MemoryPlan

app = verb_app()


@app.command("plan")
def plan_model(
    model: Model,
    target: Annotated[
        str | None,
        typer.Option(
            help="The chip: a preset or a TOML file. Without one, sizes are in the model's own dtypes."
        ),
    ] = None,
    dim: RangedDims = None,
    given: Inputs = None,
    json_file: JsonFile = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The memory map (SVG) to write.")
    ] = None,
) -> None:
    """Print the memory that MODEL needs between kernels, in its own order and in the solved one, and the
    proof.

    A range (--dim seq=1..2048) is planned at its largest size, which needs the most.
    """
    from tilewright.compiler_core.onnx_import.sizes import sizes_in_range
    from tilewright.tuner.verbs.plan import plan

    dims, ranges = read_ranges(dim)
    inputs = read_inputs(given)
    largest = {
        name: sizes_in_range(model, dims, name, *ends, inputs=inputs)[-1] for name, ends in ranges.items()
    }
    made = plan(model, target, dims=dims | largest, inputs=inputs)
    if output is not None:
        write_text(made.svg, output, files_of(model, target))
    if json_file is not None:
        write_json(made.to_json(), json_file, files_of(model, target))
    if json_file != "-":
        typer.echo(as_text(made))


def as_text(made: "MemoryPlan") -> str:
    """The plan for people, a line a fact."""
    proof, arena, traffic = made.proof, made.arena, made.traffic
    saved = 1 - proof.peak_bytes / made.given_peak_bytes if made.given_peak_bytes else 0.0
    lines = [
        f"model        {made.model}   {len(made.steps)} kernels",
        f"sizes        {made.target or 'dtypes of the model'}",
        f"peak, own    {made.given_peak_bytes:14,d} bytes   the model's own order",
        f"peak, solved {proof.peak_bytes:14,d} bytes   {saved:.1%} less",
        f"bound        {proof.bound_bytes:14,d} bytes   no order needs less",
        f"proof        {proof.status:>14}         gap {proof.gap:.3f} x, "
        f"{_KINDS[type(proof.witness).__name__]} accepted by the checker",
        f"arena        {arena.arena_bytes:14,d} bytes   {arena.gap_bytes:,d} above the most live bytes",
        f"compulsory   {made.compulsory_bytes:14,d} bytes   DRAM traffic of every order, constants aside",
    ]
    if traffic is not None:
        room = f"with {traffic.capacity_bytes:,d} bytes of LLB"
        lines += [
            f"traffic, own {traffic.given_bytes:14,d} bytes   {room}",
            f"   least peak{traffic.solved_bytes:14,d} bytes   {room}, in the order of least peak",
            f"   least     {traffic.least_bytes:14,d} bytes   {room}, in the order of least traffic",
            f"   bound     {traffic.bound_bytes:14,d} bytes   no order moves less",
            f"weights      {traffic.weight_bytes:14,d} bytes   on top; {traffic.prefetched_bytes:,d} "
            "find room a kernel ahead",
        ]
    return "\n".join(lines)


_KINDS = {"SetWitness": "a set of kernels with flows", "SearchWitness": "a search's dead ends"}
