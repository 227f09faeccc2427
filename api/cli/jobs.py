"""`tune jobs`: the jobs of a server."""

from typing import Annotated

import typer

from tilewright.api.cli.options import JsonFile, write_json
from tilewright.api.cli.server import DEFAULT_SERVER, Server, connect
from tilewright.api.cli.verbs import verb_app

app = verb_app()


@app.command()
def jobs(
    state: Annotated[
        str | None, typer.Option(help="Only jobs that are queued, running, succeeded, failed or cancelled.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=500)] = 20,
    json_file: JsonFile = None,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Print your jobs on a server, newest first."""
    with connect(server) as client:
        page = client.jobs(state, limit=limit)
    if json_file is not None:
        write_json(page.model_dump(mode="json"), json_file)
    if json_file == "-":
        return
    typer.echo(f"{'job':<32} {'state':<10} {'model':<24} {'target':<16} {'created':<19}")
    for job in page.jobs:
        typer.echo(
            f"{job.id:<32} {job.state:<10} {job.model_name:<24.24} {job.target:<16.16} "
            f"{job.created_at:%Y-%m-%d %H:%M:%S} {job.error}".rstrip()
        )
