"""`tune report`: a network or a run as one HTML file, from the database alone."""

from pathlib import Path
from typing import Annotated

import typer

from tilewright.api.cli.options import DEFAULT_DATABASE, Database, Dims, Objective, read_dims
from tilewright.api.cli.verbs import verb_app

app = verb_app()


@app.command()
def report(
    subject: Annotated[str, typer.Argument(metavar="MODEL|RUN", help="An ONNX file, or the uid of a run.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The HTML file to write.")],
    target: Annotated[str | None, typer.Option(help="A preset or a TOML file; a run knows its own.")] = None,
    objective: Objective = "latency",
    dim: Dims = None,
    database: Database = DEFAULT_DATABASE,
) -> None:
    """Write convergence, roofline, timeline, memory map, kernels and what was fused as one HTML file."""
    from tilewright.api.pages.one_file import one_file
    from tilewright.api.pages.story import PICTURES_VERSION, Tale, points_of, why
    from tilewright.compiler_core.errors import UsageError
    from tilewright.tuner.verbs.report import report_on

    told = report_on(subject, target, objective=objective, dims=read_dims(dim), database=database)
    assert told.pictures["version"] == PICTURES_VERSION
    tale = Tale(points_of(told.points), told.result, told.pictures, why(str(told.result["stop_reason"])))
    try:
        output.write_text(one_file(told.title, tale), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {output}: {error.strerror}") from None
    typer.echo(f"{output}: {told.title}, {', '.join(tale.drawable)}")
