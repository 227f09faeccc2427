"""`tune keys`: API keys of the service. Works on the database: write access is enough to make keys."""

from typing import Annotated

import typer

from tilewright.api.cli.options import JsonFile, answer, files_of, write_json
from tilewright.api.cli.verbs import verb_app

app = verb_app()
Database = Annotated[
    str, typer.Option("--db", envvar="TILEWRIGHT_DATABASE", help="SQLite file, or postgresql://...")
]
DEFAULT = "tilewright.db"


@app.callback()
def keys() -> None:
    """Make, list and revoke the API keys of a service."""


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What it is for.")],
    tenant: Annotated[str, typer.Option(help="Whose jobs it sees.")] = "local",
    scope: Annotated[list[str] | None, typer.Option(help="read, submit or admin; may be repeated.")] = None,
    database: Database = DEFAULT,
    json_file: JsonFile = None,
) -> None:
    """Make a key and print its secret, which is shown only now. Scopes are read and submit by default."""
    from tilewright.compiler_core.errors import UsageError
    from tilewright.db.service.api_keys import ApiKeys, Scope
    from tilewright.db.service.audit import Audit
    from tilewright.db.storage.session import open_database

    wanted = scope or ["read", "submit"]
    if unknown := sorted(set(wanted) - set(Scope)):
        raise UsageError(f"--scope {unknown[0]!r} is unknown; choose from {', '.join(Scope)}")
    opened = open_database(database)
    key, secret = ApiKeys(opened).create(tenant, name, map(Scope, wanted))
    Audit(opened).add(key.tenant, "command line", "create key", f"{key.id} {key.name}")
    opened.close()
    if json_file is not None:
        write_json({"id": key.id, "tenant": key.tenant, "secret": secret}, json_file, files_of(database))
    if json_file == "-":
        return
    typer.echo(secret)
    typer.echo(f"key {key.id} {key.name!r} of tenant {key.tenant}: {', '.join(sorted(key.scopes))}", err=True)


@app.command("list")
def list_keys(database: Database = DEFAULT, json_file: JsonFile = None) -> None:
    """Print every key, revoked ones included; secrets are not kept."""
    from datetime import UTC, datetime

    from tilewright.db.service.api_keys import ApiKeys
    from tilewright.db.storage.session import open_database

    opened = open_database(database)
    found = ApiKeys(opened).list()
    opened.close()
    if json_file is not None:
        rows = [{**vars(key), "scopes": sorted(key.scopes)} for key in found]
        write_json({"keys": rows}, json_file, files_of(database))
    if json_file == "-":
        return
    typer.echo(f"{'key':>4} {'tenant':<16} {'name':<24} {'scopes':<18} {'made':<10} state")
    for key in found:
        made = datetime.fromtimestamp(key.created_at_s, UTC)
        state = "valid" if key.revoked_at_s is None else "revoked"
        scopes = ",".join(sorted(key.scopes))
        typer.echo(f"{key.id:>4} {key.tenant:<16} {key.name:<24} {scopes:<18} {made:%Y-%m-%d} {state}")


@app.command()
def revoke(
    key: Annotated[int, typer.Argument(help="Its number, as `tune keys list` prints it.")],
    database: Database = DEFAULT,
    json_file: JsonFile = None,
) -> None:
    """End a key at once and for good."""
    from tilewright.db.service.api_keys import ApiKeys
    from tilewright.db.service.audit import Audit
    from tilewright.db.storage.session import open_database

    opened = open_database(database)
    ApiKeys(opened).revoke(key)
    Audit(opened).add("", "command line", "revoke key", str(key))
    opened.close()
    answer(f"key {key} is revoked", {"id": key, "state": "revoked"}, json_file, files_of(database))
