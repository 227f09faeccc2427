"""`tune db`: what the search database holds, and how its records travel."""

from pathlib import Path
from typing import Annotated

import typer

from api.cli.options import DEFAULT_DATABASE, Database, JsonFile, write_json
from api.cli.verbs import verb_app

app = verb_app()
Source = Annotated[Path, typer.Argument(help="The file to read.")]
Output = Annotated[Path, typer.Option("-o", "--output", help="The file to write.")]


@app.callback()
def db() -> None:
    """Count, export, import, merge and keep the records of a search database."""


@app.command()
def stats(database: Database = DEFAULT_DATABASE, json_file: JsonFile = None) -> None:
    """Print the rows of every table, and runs, trials and bests by target, toolchain and objective."""
    from dataclasses import asdict

    from db.repository import Repository
    from db.session import open_database

    found = Repository(open_database(database, read_only=True)).stats()
    if json_file is not None:
        write_json(asdict(found), json_file)
    if json_file != "-":
        for table, rows in found.rows:
            typer.echo(f"{table:<16} {rows:>10}")
        for context in found.contexts:
            typer.echo("  ".join(f"{name} {value}" for name, value in asdict(context).items()))


@app.command("export")
def export(
    output: Output,
    best: Annotated[bool, typer.Option("--best", help="Only the bests, as a read-only SQLite file.")] = False,
    database: Database = DEFAULT_DATABASE,
) -> None:
    """Write all records as JSON Lines; with --best, the answers alone as a small database."""
    from db.exchange.best_file import export_best
    from db.exchange.export import export_records
    from db.session import open_database

    source = open_database(database, read_only=True)
    if best:
        typer.echo(f"{output}: {export_best(source, output)} bests")
    else:
        typer.echo(f"{output}: {export_records(source, output)}")


@app.command("import")
def import_file(source: Source, database: Database = DEFAULT_DATABASE) -> None:
    """Read records from JSON Lines, all or nothing; unverified until measured again here."""
    from db.exchange.load import import_records
    from db.session import open_database

    typer.echo(str(import_records(open_database(database), source)))


@app.command()
def merge(source: Source, database: Database = DEFAULT_DATABASE) -> None:
    """Take over the records of another database; merging twice or in another order changes nothing."""
    from db.exchange.load import merge_database
    from db.session import open_database

    typer.echo(str(merge_database(open_database(source, read_only=True), open_database(database))))


@app.command()
def backup(output: Output, database: Database = DEFAULT_DATABASE) -> None:
    """Copy a database whole, while others use it, into one SQLite file."""
    from db.exchange.backup import backup as copy_whole
    from db.session import open_database

    typer.echo(f"{output}: {copy_whole(open_database(database, read_only=True), output)} rows")


@app.command()
def restore(source: Source, database: Database = DEFAULT_DATABASE) -> None:
    """Fill an empty database from a backup."""
    from db.exchange.backup import restore as fill
    from db.session import open_database

    typer.echo(f"{database}: {fill(source, open_database(database))} rows")
