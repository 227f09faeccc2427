"""`tune build`: a network as a native library of this CPU."""

from pathlib import Path
from typing import Annotated

import typer

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
    files_of,
    guessed_share,
    read_dims,
    read_inputs,
    read_required,
)
from tilewright.api.cli.verbs import verb_app

app = verb_app()
MISSED = 3


@app.command()
def build(
    model: Model,
    target: TargetName,
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder to write the library into.")],
    objective: Objective = "latency",
    dim: Dims = None,
    given: Inputs = None,
    require: Required = None,
    toolchain: Toolchain = None,
    frozen: Frozen = None,
    fallback: Fallback = None,
    database: Database = DEFAULT_DATABASE,
    json_file: JsonFile = None,
) -> int:
    """Write the network as a library: network.so, weights.bin, manifest.json, a header and an example for C.

    It holds the Program that `tune compile` gives, and is run on random inputs and judged before it is
    published. Run it by tilewright.runtime, which needs numpy alone. Only --target host has libraries.
    """
    from tilewright.api.cli.main import complain
    from tilewright.compiler_core.files.outputs import refuse_inputs, require_folder
    from tilewright.compiler_core.files.scratch import scratch
    from tilewright.tuner.verbs.build import FILES, build_into, publish, require_cpu
    from tilewright.tuner.verbs.lookup import compile_known

    required = read_required(require)
    kept = files_of(model, target, database, frozen)
    require_folder(output)
    for name in FILES:
        refuse_inputs(output / name, kept)
    require_cpu(target)
    compiled = compile_known(
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
    lacking = "" if required is None else compiled.lacks(required)
    if lacking:
        return complain(f"tune build: {lacking}; {output} was not written", exit_code=MISSED)
    guessed = sum(compiled.guesses.values())
    if guessed:
        typer.echo(guessed_share(guessed, compiled.calls), err=json_file == "-")
    with scratch("library") as made:
        built = build_into(made, compiled)
        publish(made, output, kept)
    files, facts = built.facts["files"], built.facts
    text = (
        f"{output}: {facts['calls']} calls of {facts['kernels']} kernels;"
        f" code {files['network.so']['bytes']} bytes, weights {files['weights.bin']['bytes']} bytes\n"
        f"verified: values are off by at most {built.share:.2f} of what they may be"
    )
    body = {key: facts[key] for key in ("model", "calls", "kernels", "files", "memory", "verification")}
    answer(text, body, json_file, [*kept, *(output / name for name in FILES)])
    return 0
