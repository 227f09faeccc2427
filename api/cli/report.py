"""`tune report`: a network or a run as one HTML file, from the database alone."""

from pathlib import Path
from typing import Annotated

import typer

from tilewright.api.cli.options import (
    DEFAULT_DATABASE,
    Database,
    Dims,
    Inputs,
    JsonFile,
    Objective,
    Toolchain,
    answer,
    files_of,
    read_dims,
    read_inputs,
)
from tilewright.api.cli.verbs import verb_app

app = verb_app()


@app.command()
def report(
    subject: Annotated[
        str,
        typer.Argument(
            metavar="MODEL|RUN", help="An ONNX file, or a run by the first characters of its uid."
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The HTML file to write.")],
    target: Annotated[
        str | None, typer.Option(help="The chip, for a MODEL: a preset or a TOML file.")
    ] = None,
    objective: Objective = "latency",
    dim: Dims = None,
    given: Inputs = None,
    toolchain: Toolchain = None,
    database: Database = DEFAULT_DATABASE,
    pictures: Annotated[
        Path | None, typer.Option(help="Also write each picture as an SVG file into this folder.")
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Write convergence, roofline, timeline, memory map, kernels and fusion groups as one HTML file."""
    from tilewright.api.pages.html_report import report as html_report
    from tilewright.compiler_core.files.outputs import refuse_inputs

    made = html_report(
        subject,
        target,
        objective=objective,
        dims=read_dims(dim),
        inputs=read_inputs(given),
        database=database,
        toolchain=toolchain,
    )
    refuse_inputs(output, files_of(subject, target, database))
    made.save(output)
    if pictures is not None:
        made.save_pictures(pictures)
    body = {"title": made.title, "drawings": list(made.drawings)}
    kept = files_of(subject, target, database, output)
    answer(f"{output}: {made.title}, {', '.join(made.drawings)}", body, json_file, kept)
