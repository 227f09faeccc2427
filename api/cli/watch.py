"""`tune watch`: follow a job to its end."""

import typer

from tilewright.api.cli.options import JsonFile, write_json
from tilewright.api.cli.server import DEFAULT_SERVER, JobId, Server, connect, job_called
from tilewright.api.cli.verbs import verb_app

app = verb_app()


@app.command()
def watch(job: JobId, json_file: JsonFile = None, server: Server = DEFAULT_SERVER) -> int:
    """Print the events of a job, one line each, until it ends. Exit code 1 when it failed.

    With --json - the lines go to standard error, and all events are one JSON value at the end.
    """
    state, events = "", []
    with connect(server) as client:
        job = job_called(client, job)
        client.job(job)
        for event in client.watch(job):
            if event.kind == "state":
                state = event.body["state"]
            events.append({"number": event.number, "kind": event.kind, "body": event.body})
            said = " ".join(f"{name}={value}" for name, value in event.body.items() if value != "")
            typer.echo(f"{event.kind:<9} {said}", err=json_file == "-")
    if json_file is not None:
        write_json({"job": job, "state": state, "events": events}, json_file)
    return 1 if state == "failed" else 0
