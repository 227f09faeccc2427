"""`tune serve`: the REST service and the dashboard, with a runner beside it."""

from pathlib import Path
from typing import Annotated

import typer

from tilewright.api.cli.verbs import verb_app

app = verb_app()


@app.command()
def serve(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; beyond loopback an API key must exist.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port to listen on; by default 8757.")
    ] = None,
    database: Annotated[
        str | None, typer.Option("--db", help="The database: a SQLite file, or postgresql://...")
    ] = None,
    runner: Annotated[bool, typer.Option(help="Also run jobs, in a process beside the server.")] = True,
    workers: Annotated[int | None, typer.Option(min=1, help="Worker processes of the runner.")] = None,
    ray: Annotated[str | None, typer.Option(help="local, none, or HOST:PORT of a farm.")] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file of settings (docs/service.md).")] = None,
) -> int:
    """Serve jobs, lookups and the dashboard. Without options: on loopback, with ./tilewright.db."""
    import os

    from tilewright.api.observability.metrics_files import counting_together
    from tilewright.api.settings import load_settings

    settings = load_settings(
        os.environ, config, host=host, port=port, database=database, workers=workers, ray=ray
    )
    with counting_together(os.environ):
        from tilewright.api.serve import serve as serve_until_stopped

        return serve_until_stopped(settings, runner)
