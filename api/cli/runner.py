"""`tune runner`: work on the jobs of a database, beside or far from the server that takes them."""

from pathlib import Path
from typing import Annotated

import typer

from tilewright.api.cli.verbs import verb_app

app = verb_app()


@app.command()
def runner(
    database: Annotated[
        str | None, typer.Option("--db", help="The database: a SQLite file, or postgresql://...")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Its name in logs; by default host and process.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Worker processes on this machine.")] = None,
    ray: Annotated[str | None, typer.Option(help="local, none, or HOST:PORT of a farm.")] = None,
    host: Annotated[bool, typer.Option("--host", help="Take jobs for this CPU, and run them on it.")] = False,
    metrics_port: Annotated[int | None, typer.Option(help="Serve /metrics on this port.")] = None,
    metrics_host: Annotated[str, typer.Option(help="Address for --metrics-port.")] = "127.0.0.1",
    config: Annotated[Path | None, typer.Option(help="A TOML file of settings (docs/service.md).")] = None,
) -> int:
    """Take jobs and run them until SIGTERM; another runner finishes a job that is left.

    Jobs for the CPU itself (tune submit --target host) wait for a runner with --host on a CPU of that kind.
    """
    import os

    from tilewright.api.observability import metrics
    from tilewright.api.runner_child import run_runner
    from tilewright.api.settings import load_settings

    settings = load_settings(os.environ, config, database=database, workers=workers, ray=ray)
    if metrics_port is not None:
        metrics.listen(metrics_port, metrics_host)
    return run_runner(settings, name, host=host)
