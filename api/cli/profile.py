"""`tune profile`: a trace of the simulated timeline for Perfetto, and a picture of it."""

from pathlib import Path
from typing import Annotated

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
    answer,
    counted,
    files_of,
    read_dims,
    read_inputs,
    sources_text,
)
from tilewright.api.cli.verbs import verb_app

app = verb_app()


@app.command("profile")
def profile_model(
    model: Model,
    target: TargetName,
    output: Annotated[Path, typer.Option("-o", "--output", help="The Chrome trace (JSON) to write.")],
    svg: Annotated[Path | None, typer.Option("--svg", help="Draw the timeline into this file.")] = None,
    objective: Objective = "latency",
    dim: Dims = None,
    given: Inputs = None,
    toolchain: Toolchain = None,
    database: Database = DEFAULT_DATABASE,
    json_file: JsonFile = None,
) -> None:
    """Trace the best known Program of MODEL: one track per engine, with kernels, tiles, bytes, and causes of
    stalls.
    """
    import json

    from tilewright.compiler_core.files.outputs import write_text
    from tilewright.tuner.verbs.profile import profile

    made = profile(
        model,
        target,
        objective=objective,
        dims=read_dims(dim),
        inputs=read_inputs(given),
        database=database,
        toolchain=toolchain,
    )
    trace = made.trace()
    texts = {output: json.dumps(trace, allow_nan=False)}
    if svg is not None:
        texts[svg] = made.svg()
    for path, text in texts.items():
        write_text(text + "\n", path, files_of(model, target, database))
    entry = {
        "latency_us": made.timing.latency_us,
        "stages": len(made.program.stages),
        "events": len(trace["traceEvents"]),
        "kernels_from": dict(made.sources),
    }
    text = (
        f"{output}: {made.timing.latency_us:.2f} us, {counted(len(made.program.stages), 'stage')}, "
        f"{counted(len(trace['traceEvents']), 'event')}; {sources_text(made.sources)}"
    )
    answer(text, entry, json_file, files_of(model, target, database, output, svg))
