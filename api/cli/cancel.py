"""`tune cancel`: end a job."""

from tilewright.api.cli.options import JsonFile, answer
from tilewright.api.cli.server import DEFAULT_SERVER, JobId, Server, connect, job_called
from tilewright.api.cli.verbs import verb_app

app = verb_app()


@app.command()
def cancel(job: JobId, json_file: JsonFile = None, server: Server = DEFAULT_SERVER) -> None:
    """Cancel a waiting job at once, a running one after its batch."""
    with connect(server) as client:
        now = client.cancel(job_called(client, job))
    waiting = " (its runner stops at the next batch)" if now.state == "running" else ""
    answer(f"{now.id} is {now.state}{waiting}", now.model_dump(mode="json"), json_file)
