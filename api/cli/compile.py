"""`tune compile`: the Program from the database, no measuring."""

from pathlib import Path
from typing import Annotated

import typer

from tilewright.api.cli.asking import MISSED, AskedProgram, program_for
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
    Required,
    TargetName,
    Toolchain,
    answer,
    counted,
    files_of,
    sources_text,
    write_json,
)
from tilewright.api.cli.verbs import verb_app

app = verb_app()


@app.command("compile")
def compile_model(
    model: Model,
    target: TargetName,
    output: Annotated[Path, typer.Option("-o", "--output", help="The Program (JSON) to write.")],
    objective: Objective = "latency",
    dim: Dims = None,
    given: Inputs = None,
    require: Required = None,
    toolchain: Toolchain = None,
    frozen: Frozen = None,
    fallback: Fallback = None,
    annotated: Annotated[
        Path | None,
        typer.Option(
            "--annotated-onnx",
            help="Also write the model with the kernel and the cost of every node, for Netron.",
        ),
    ] = None,
    database: Database = DEFAULT_DATABASE,
    json_file: JsonFile = None,
) -> int:
    """Write the Program of MODEL from the database; the share of guessed kernels is printed first.

    With --frozen the Program is the one that a lock holds, on every machine the same, or the exit code is 3.
    """
    from collections import Counter

    from tilewright.compiler_core.checking.verify import require_sound
    from tilewright.compiler_core.lowering.formats.program_json import program_to_json
    from tilewright.tuner.explain.annotate import write_annotated
    from tilewright.tuner.verbs.provenance import provenance_of

    asked = AskedProgram(model, target, objective, dim, given, require, toolchain, frozen, fallback, database)
    compiled = program_for("compile", asked, output, json_file == "-")
    if compiled is None:
        return MISSED
    graph = compiled.graph
    require_sound(graph, compiled.program, compiled.opened.target)
    calls, guessed = compiled.calls, sum(compiled.guesses.values())
    kept = files_of(model, target, database, frozen)
    write_json(program_to_json(compiled.program, graph.names, provenance_of(compiled)), str(output), kept)
    if annotated is not None:
        write_annotated(compiled, annotated, kept)
    sources = Counter(compiled.sources.values())
    stages = counted(len(compiled.program.stages), "stage")
    text = f"{output}: {stages}; {sources_text(sources)}"
    body = {
        "stages": len(compiled.program.stages),
        "calls": calls,
        "guesses": guessed,
        "range": None if compiled.selected is None else str(compiled.selected),
        "kernels_from": dict(sources),
        "layers": list(compiled.layers),
    }
    answer(text, body, json_file, [*kept, output])
    return 0
