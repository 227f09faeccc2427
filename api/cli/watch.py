"""`tune watch`: follow a job to its end."""

import json

import typer

from tilewright.api.cli.server import DEFAULT_SERVER, AsJson, JobId, Server, connect
from tilewright.api.cli.verbs import verb_app

app = verb_app()


@app.command()
def watch(job: JobId, as_json: AsJson = False, server: Server = DEFAULT_SERVER) -> int:
    """Print what happens in a job, one line an event, until it ends. Exit code 1 when it failed."""
    state = ""
    with connect(server) as client:
        client.job(job)
        for event in client.watch(job):
            if event.kind == "state":
                state = event.body["state"]
            if as_json:
                typer.echo(json.dumps({"number": event.number, "kind": event.kind, "body": event.body}))
            else:
                said = " ".join(f"{name}={value}" for name, value in event.body.items() if value != "")
                typer.echo(f"{event.kind:<9} {said}")
    return 1 if state == "failed" else 0
