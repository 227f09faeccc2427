"""`tune keys`: API keys of the service, and keys that sign records. Works on the database: write access is
enough to make keys, and to trust them.
"""

from typing import Annotated

import typer

from tilewright.api.cli.options import JsonFile, answer, files_of, write_json
from tilewright.api.cli.verbs import verb_app

app = verb_app()
Database = Annotated[
    str, typer.Option("--db", envvar="TILEWRIGHT_DATABASE", help="SQLite file, or postgresql://...")
]
DEFAULT = "tilewright.db"
MOST_RUNS = 100_000
LONGEST_NUMBER = 19


@app.callback()
def keys() -> None:
    """Make, list and revoke the API keys of a service, and the keys that records are signed with."""


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="A name for the key, such as its purpose.")],
    tenant: Annotated[str, typer.Option(help="The tenant whose jobs it may see.")] = "local",
    scope: Annotated[
        list[str] | None, typer.Option(help="read, submit or admin; repeatable; by default read and submit.")
    ] = None,
    database: Database = DEFAULT,
    json_file: JsonFile = None,
) -> None:
    """Make an API key and print its secret, which is shown this once."""
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
    """Print every key, revoked ones included; secrets are not kept. Trusted signing keys come last."""
    from datetime import UTC, datetime

    from tilewright.db.service.api_keys import ApiKeys
    from tilewright.db.sharing.trust import Trust
    from tilewright.db.storage.session import open_database

    opened = open_database(database, read_only=True)
    found, trusted = ApiKeys(opened).list(), Trust(opened).listed()
    opened.close()
    if json_file is not None:
        rows = [{**vars(key), "scopes": sorted(key.scopes)} for key in found]
        signers = [dict(vars(key)) for key in trusted]
        write_json({"keys": rows, "trusted": signers}, json_file, files_of(database))
    if json_file == "-":
        return
    typer.echo(f"{'key':>4} {'tenant':<16} {'name':<24} {'scopes':<18} {'made':<10} state")
    for key in found:
        made = datetime.fromtimestamp(key.created_at_s, UTC)
        state = "valid" if key.revoked_at_s is None else "revoked"
        scopes = ",".join(sorted(key.scopes))
        typer.echo(f"{key.id:>4} {key.tenant:<16} {key.name:<24} {scopes:<18} {made:%Y-%m-%d} {state}")
    for signer in trusted:
        state = "trusted" if signer.revoked_at_s is None else f"revoked {signer.reason}".rstrip()
        typer.echo(f"{signer.signer} {signer.name:<24} {signer.share:.0%} measured again, {state}")


@app.command()
def make(
    name: Annotated[str, typer.Argument(help="A name for the key on this machine.")],
    json_file: JsonFile = None,
) -> None:
    """Make a key that signs records, keep it in a private file, and print its public half for others."""
    from tilewright.db.sharing.signing import make_key

    key, path = make_key(name)
    text = f"{key.signer}\nkey {path}; `tune db push SERVER --sign {name}` signs what was measured here"
    answer(text, {"name": name, "public": key.signer, "file": str(path)}, json_file)


@app.command()
def trust(
    public: Annotated[str, typer.Argument(help="The public half, 64 hexadecimal digits.")],
    name: Annotated[str, typer.Argument(help="The name of its owner.")],
    device: Annotated[
        list[str] | None,
        typer.Option(
            help="A device whose records it may sign, as `tune keys devices` prints it; repeatable."
        ),
    ] = None,
    recheck: Annotated[
        str, typer.Option(help="The share of its records that is measured again here first.")
    ] = "5%",
    change: Annotated[
        bool,
        typer.Option("--change", help="Give a key that is trusted already this name, share and devices."),
    ] = False,
    database: Database = DEFAULT,
    json_file: JsonFile = None,
) -> int:
    """Trust a signing key: its records are answers, once a random share of them was measured here and held.

    Exit code 1 when one does not hold; the key is revoked.
    """
    from tilewright.api.cli.options import read_share
    from tilewright.api.cli.sharing import as_json, told
    from tilewright.db.service.audit import Audit
    from tilewright.db.sharing.trust import SHARE, Trust, TrustedKey
    from tilewright.db.storage.session import open_database
    from tilewright.tuner.verbs.share import vouch_all

    share = read_share(recheck, "--recheck")
    opened = open_database(database)
    key = TrustedKey(public.lower(), name, tuple(device or ()), SHARE if share is None else share)
    Trust(opened).trust(key, change)
    Audit(opened).add("", "command line", "trust key", f"{public[:16]} {name}")
    opened.close()
    found = vouch_all(database)
    lines = [f"{name} is trusted, {key.share:.0%} of its records are measured again", *map(told, found)]
    answer("\n".join(lines), {"trusted": key.signer, "keys": as_json(found)}, json_file, files_of(database))
    return 1 if any(each.revoked for each in found) else 0


@app.command()
def devices(database: Database = DEFAULT, json_file: JsonFile = None) -> None:
    """Print the devices that measured the runs of a database, for `tune keys trust --device`."""
    from tilewright.db.repository import Repository
    from tilewright.db.sharing.signing import device_digest
    from tilewright.db.storage.session import open_database

    repository = Repository(open_database(database, read_only=True))
    names = {row.digest: row.name for row in repository.targets()}
    found = {device_digest(row.asked): row.asked for row in repository.runs(MOST_RUNS, budgeted=False)}
    rows = [
        {
            "device": digest,
            "name": asked.device,
            "target": names.get(asked.target_digest, asked.target_digest[:12]),
            "toolchain": asked.toolchain,
            "protocol": asked.protocol,
        }
        for digest, asked in sorted(found.items())
    ]
    lines = ["  ".join(row.values()) for row in rows]
    answer("\n".join(lines) or "no runs yet", {"devices": rows}, json_file, files_of(database))


@app.command()
def revoke(
    key: Annotated[
        str,
        typer.Argument(help="The number of an API key, or the name or digits of a signing one (keys list)."),
    ],
    database: Database = DEFAULT,
    json_file: JsonFile = None,
) -> None:
    """Revoke a key, at once and for good. Records that a signing key vouched for are claims again."""
    from tilewright.db.service.api_keys import ApiKeys
    from tilewright.db.service.audit import Audit
    from tilewright.db.sharing.trust import Trust
    from tilewright.db.storage.session import open_existing

    opened = open_existing(database)
    if key.isascii() and key.isdigit() and len(key) < LONGEST_NUMBER:
        number = int(key)
        ApiKeys(opened).revoke(number)
        said, body = f"key {number} is revoked", {"id": number, "state": "revoked"}
    else:
        signer = Trust(opened).called(key)
        records = Trust(opened).revoke(signer.signer, "by hand")
        said = f"key {signer.name} is revoked; {records} records count no more"
        body = {"signer": signer.signer, "state": "revoked", "records": records}
    Audit(opened).add("", "command line", "revoke key", key[:64])
    opened.close()
    answer(said, body, json_file, files_of(database))
