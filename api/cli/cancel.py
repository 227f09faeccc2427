"""`tune cancel`: ask for the end of a job."""

import typer

from tilewright.api.cli.server import DEFAULT_SERVER, JobId, Server, connect
from tilewright.api.cli.verbs import verb_app

app = verb_app()


@app.command()
def cancel(job: JobId, server: Server = DEFAULT_SERVER) -> None:
    """Cancel a waiting job at once, a running one after its batch."""
    with connect(server) as client:
        now = client.cancel(job)
    waiting = " (its runner was told)" if now.state == "running" else ""
    typer.echo(f"{now.id} is {now.state}{waiting}")
