"""`tune compile`: the Program from the database, no measuring."""

from pathlib import Path
from typing import Annotated

import typer

from tilewright.api.cli.options import (
    DEFAULT_DATABASE,
    Database,
    Dims,
    Model,
    Objective,
    TargetName,
    files_of,
    read_dims,
    write_json,
)
from tilewright.api.cli.verbs import verb_app

app = verb_app()


@app.command("compile")
def compile_model(
    model: Model,
    target: TargetName,
    output: Annotated[Path, typer.Option("-o", "--output", help="The JSON file to write.")],
    objective: Objective = "latency",
    dim: Dims = None,
    database: Database = DEFAULT_DATABASE,
) -> None:
    """Write the Program of MODEL as the database knows it; unknown kernels are guessed."""
    from collections import Counter

    from tilewright.compiler_core.checking.verify import require_sound
    from tilewright.compiler_core.lowering.program_json import program_to_json
    from tilewright.tuner.verbs.lookup import compile_known

    compiled = compile_known(model, target, objective=objective, dims=read_dims(dim), database=database)
    graph = compiled.graph
    require_sound(graph, compiled.program, compiled.session.target)
    write_json(program_to_json(compiled.program, graph.names), str(output), files_of(model, target, database))
    sources = Counter(compiled.sources.values())
    typer.echo(f"{output}: {len(compiled.program.stages)} stages; kernels from {dict(sources)}")
