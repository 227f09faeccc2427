"""`tune db push`, `pull`, `vouch` and `diff`: records of others, and what of them counts."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tilewright.api.cli.options import DEFAULT_DATABASE, Database, JsonFile, answer, counted, files_of

if TYPE_CHECKING:
    from tilewright.tuner.verbs.share import Vouched

ServerUrl = Annotated[str, typer.Argument(metavar="SERVER", help="URL of the service.")]
Sign = Annotated[
    str | None, typer.Option("--sign", help="Sign what was measured here with this key (tune keys make).")
]


VERDICTS = ("new", "gone", "faster", "slower", "other Config")
MOST_SHOWN = 20


def register(app: typer.Typer) -> None:
    """Adds the commands to those of `tune db`."""
    for command in (diff, push, pull, vouch):
        app.command()(command)


def diff(
    first: Annotated[str, typer.Argument(metavar="A", help="A file, postgresql://..., or a layer by name.")],
    second: Annotated[str, typer.Argument(metavar="B", help="The database or layer to compare it with.")],
    json_file: JsonFile = None,
) -> int:
    """Compare the answers of two databases: what is new in B, gone, faster, slower or of another Config, and
    which records contradict each other. Layers go by their names, as in `tune db diff own bank`. Exit code 1
    where there are contradictions; `tune db merge` keeps both sides of each.
    """
    from collections import Counter

    from tilewright.api.cli.diff import as_text, of_databases
    from tilewright.tuner.explain.diff_others import conflicts, diff_databases

    found, against = diff_databases(first, second), conflicts(first, second)
    counts = Counter(row.verdict for row in found.rows)
    named = [f"{counts[verdict]} {verdict}" for verdict in VERDICTS]
    lines = as_text(of_databases(found))
    if found.rows:
        lines.append(", ".join([f"{found.same} the same", *named]))
    lines += [f"contradiction: {line}" for line in against[:MOST_SHOWN]]
    if len(against) > MOST_SHOWN:
        lines.append(f"and {len(against) - MOST_SHOWN} contradictions more; --json - has all")
    body = {**found.to_json(), "counts": dict(counts), "contradictions": against}
    body["rows"] = [
        {**row, "verdict": each.verdict} for row, each in zip(body["rows"], found.rows, strict=True)
    ]
    answer("\n".join(lines), body, json_file, files_of(first, second))
    return 1 if against else 0


def push(
    server: ServerUrl,
    sign: Sign = None,
    database: Database = DEFAULT_DATABASE,
    json_file: JsonFile = None,
) -> None:
    """Send all records to a service, which adds those that it lacks. --sign signs what was measured here.

    The API key is taken from TILEWRIGHT_KEY and needs the scope admin.
    """
    import tempfile
    from pathlib import Path

    from tilewright.api.cli.server import connect
    from tilewright.db.exchange.export import export_records
    from tilewright.db.sharing.signing import read_key
    from tilewright.db.sharing.trust import Trust
    from tilewright.db.storage.session import open_database, open_existing

    key = None if sign is None else read_key(sign)
    opened = open_database(database, read_only=True) if key is None else open_existing(database)
    signed = 0 if key is None else Trust(opened).sign(key)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "records.jsonl"
        export_records(opened, path)
        with connect(server) as client:
            taken = client.push(path)
    said = f"{counted(signed, 'trial')} signed; " if key is not None else ""
    against = f", {taken.conflicts} in conflict (both are kept)" if taken.conflicts else ""
    text = f"{server}: {said}{taken.new} entries new there, {taken.known} known{against}"
    answer(text, {"signed": signed, **taken.model_dump()}, json_file, files_of(database))


def pull(server: ServerUrl, database: Database = DEFAULT_DATABASE, json_file: JsonFile = None) -> None:
    """Take in all records of a service. They stay claims until they are measured here (tune db verify), or
    were signed by a key that is trusted here (tune keys trust).
    """
    import tempfile
    from pathlib import Path

    from tilewright.api.cli.server import connect
    from tilewright.db.exchange.load import import_records
    from tilewright.db.storage.session import open_database
    from tilewright.tuner.verbs.share import vouch_all

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "records.jsonl"
        with connect(server) as client:
            client.pull(path)
        opened = open_database(database)
        loaded = import_records(opened, path)
        opened.close()
    found = vouch_all(database)
    lines = [f"{loaded.new} entries new, {loaded.known} known", *map(told, found)]
    lines += conflict_lines(loaded.conflicts)
    if not found:
        lines.append(
            "no key is trusted: `tune db verify` measures the claims, `tune keys trust` trusts a key"
        )
    body = {"new": loaded.new, "known": loaded.known, "keys": as_json(found), "conflicts": loaded.conflicts}
    answer("\n".join(lines), body, json_file, files_of(database))


def vouch(database: Database = DEFAULT_DATABASE, json_file: JsonFile = None) -> int:
    """Accept the signed records of trusted keys as answers: all are checked, a share is measured here first.

    Exit code 1 when one does not hold; its key is revoked.
    """
    from tilewright.tuner.verbs.share import vouch_all

    found = vouch_all(database)
    text = "\n".join(map(told, found)) or "no key is trusted; `tune keys trust` trusts one"
    answer(text, as_json(found), json_file, files_of(database))
    return 1 if any(each.revoked for each in found) else 0


def conflict_lines(conflicts: Sequence[str]) -> list[str]:
    """The records of which there are two now, as many as are read at a glance."""
    lines = [f"conflict: {line}" for line in conflicts[:MOST_SHOWN]]
    more = len(conflicts) - MOST_SHOWN
    return [*lines, f"and {more} conflicts more; --json - has all"] if more > 0 else lines


def told(found: "Vouched") -> str:
    """A line on what became of a key's records."""
    if found.revoked:
        return f"{found.name}: REVOKED, nothing of it counts: {found.revoked}"
    parts = [f"{counted(found.counted, 'trial')} more count", f"{found.measured} of them measured again"]
    if found.refused:
        parts.append(f"{found.refused} refused, the first because {found.reason}")
    if found.false:
        parts.append(f"{counted(found.false, 'signature')} false")
    return f"{found.name}: {', '.join(parts)}"


def as_json(found: "tuple[Vouched, ...]") -> list[dict[str, Any]]:
    """The same for programs."""
    return [dict(vars(each)) for each in found]
