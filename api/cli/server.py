"""Options of the verbs that talk to a server: its URL, and the key."""

import os
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

if TYPE_CHECKING:
    from tilewright.api.client import Client

DEFAULT_SERVER = "http://127.0.0.1:8757"
Server: TypeAlias = Annotated[
    str, typer.Option("--server", envvar="TILEWRIGHT_SERVER", help="URL of the service.")
]
JobId: TypeAlias = Annotated[
    str, typer.Argument(help="The job, as `tune jobs` prints it; its first characters will do.")
]
LEAST_PREFIX = 4
WHOLE_ID = 32
SOME = 4
HEX = frozenset("0123456789abcdef")


def connect(server: str) -> "Client":
    """A client with the key in TILEWRIGHT_KEY, if there is one; keys stay off the command line."""
    from tilewright.api.client import Client

    return Client(server, os.environ.get("TILEWRIGHT_KEY"))


def job_called(client: "Client", text: str) -> str:
    """The id of your job that begins with `text`; UsageError where several do."""
    from tilewright.compiler_core.errors import UsageError

    if not LEAST_PREFIX <= len(text) < WHOLE_ID or not HEX.issuperset(text):
        return text
    found = [job.id for job in client.jobs(limit=SOME, beginning=text).jobs]
    if len(found) > 1:
        raise UsageError(f"job {text!r} may be {', '.join(found)}; give more of it")
    return found[0] if found else text
