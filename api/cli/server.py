"""What the verbs that talk to a server have in common: where it is, and with which key."""

import os
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

if TYPE_CHECKING:
    from tilewright.api.client import Client

DEFAULT_SERVER = "http://127.0.0.1:8757"
Server: TypeAlias = Annotated[
    str, typer.Option("--server", envvar="TILEWRIGHT_SERVER", help="URL of the service.")
]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON.")]
JobId: TypeAlias = Annotated[str, typer.Argument(help="Number of the job, as `tune jobs` prints it.")]


def connect(server: str) -> "Client":
    """A client with the key in TILEWRIGHT_KEY, if there is one; keys stay off the command line."""
    from tilewright.api.client import Client

    return Client(server, os.environ.get("TILEWRIGHT_KEY"))
