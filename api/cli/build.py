"""`tune build`: a network as a native library of this CPU."""

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
    files_of,
)
from tilewright.api.cli.verbs import verb_app

app = verb_app()


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
    published. Run it by tilewright.runtime, which needs numpy alone. --target is host, or a file that names
    another CPU (docs/library.md).
    """
    from tilewright.compiler_core.files.outputs import refuse_inputs, require_folder
    from tilewright.compiler_core.files.scratch import scratch
    from tilewright.compiler_core.library.c_files import host_names
    from tilewright.tuner.verbs.build import FILES, build_into, publish, require_cpu

    kept = files_of(model, target, database, frozen)
    require_folder(output)
    for name in FILES:
        refuse_inputs(output / name, kept)
    require_cpu(target)
    asked = AskedProgram(model, target, objective, dim, given, require, toolchain, frozen, fallback, database)
    compiled = program_for("build", asked, output, json_file == "-")
    if compiled is None:
        return MISSED
    with scratch("library") as made:
        built = build_into(made, compiled, chooses=frozen is None)
        publish(made, output, kept)
    files, facts = built.facts["files"], built.facts
    text = (
        f"{output}: {facts['calls']} calls of {facts['kernels']} kernels;"
        f" code {files['network.so']['bytes']} bytes, weights {files['weights.bin']['bytes']} bytes\n"
        f"verified: values are off by at most {built.share:.2g} of what they may be"
    )
    if host := host_names(facts.get("host", [])):
        text += f"\nnumpy runs {', '.join(host)} between the kernels: tilewright.runtime has them, C refuses"
    body = {key: facts[key] for key in ("model", "calls", "kernels", "files", "memory", "verification")}
    body["host_ops"] = host
    body["layers"] = list(compiled.layers)
    answer(text, body, json_file, [*kept, *(output / name for name in FILES)])
    return 0
