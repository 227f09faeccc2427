"""`tune db`: contents of the search database, export, import, upkeep."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tilewright.api.cli.options import (
    DEFAULT_DATABASE,
    Database,
    JsonFile,
    TargetName,
    answer,
    files_of,
    write_json,
)
from tilewright.api.cli.sharing import Sign, conflict_lines, register
from tilewright.api.cli.verbs import verb_app
from tilewright.compiler_core.files.outputs import refuse_inputs

if TYPE_CHECKING:
    from tilewright.db.exchange.load import LoadCounts
    from tilewright.db.storage.session import Database as OpenDatabase

app = verb_app()
register(app)
MOST_RUNS = 1000
"""How many runs a listing shows at most."""
Source = Annotated[Path, typer.Argument(help="The file to read.")]
Output = Annotated[Path, typer.Option("-o", "--output", help="The file to write.")]


@app.callback()
def db() -> None:
    """Count, export, import, merge, share, verify and keep the records of a search database."""


@app.command()
def stats(database: Database = DEFAULT_DATABASE, json_file: JsonFile = None) -> None:
    """Print the rows of every table, and runs, trials and bests by target, toolchain and objective."""
    from dataclasses import asdict

    from tilewright.db.repository import Repository
    from tilewright.db.storage.session import open_database

    found = Repository(open_database(database, read_only=True)).stats()
    if json_file is not None:
        write_json(asdict(found), json_file, files_of(database))
    if json_file != "-":
        for table, rows in found.rows:
            typer.echo(f"{table:<16} {rows:>10} rows")
        for context in found.contexts:
            typer.echo("  ".join(f"{name} {value}" for name, value in asdict(context).items()))


@app.command()
def runs(
    limit: Annotated[
        int, typer.Option(min=1, max=MOST_RUNS, help="The number of runs, the newest first.")
    ] = 20,
    every: Annotated[
        bool, typer.Option("--all", help="Also runs without trials of their own, as for sizes of a range.")
    ] = False,
    database: Database = DEFAULT_DATABASE,
    json_file: JsonFile = None,
) -> None:
    """List runs. `report`, `diff` and `gc` take a run by the first characters of its uid."""
    from datetime import UTC, datetime

    from tilewright.db.browse import Browse, Viewer
    from tilewright.db.repository import Repository
    from tilewright.db.storage.session import open_database

    opened = open_database(database, read_only=True)
    repository = Repository(opened)
    found = repository.runs(limit, budgeted=not every)
    number = repository.count_runs(budgeted=not every)
    models = dict(Browse(opened).models(Viewer(None, operator=True)))
    targets = {row.digest: row.name for row in repository.targets()}
    rows = [
        {
            "run": row.uid,
            "model": models.get(row.asked.model_digest or "", ""),
            "target": targets.get(row.asked.target_digest, ""),
            "objective": str(row.asked.objective),
            "trials_budget": row.asked.trials_budget,
            "started_at": datetime.fromtimestamp(row.started_at_s, UTC).isoformat(timespec="seconds"),
            "stop_reason": row.stop_reason,
        }
        for row in found
    ]
    lines = [f"{'run':<32} {'model':<24} {'target':<14} {'objective':<9} {'budget':>7} {'started':<19} ended"]
    lines += [
        f"{row['run']:<32} {row['model']:<24.24} {row['target']:<14.14} {row['objective']:<9} "
        f"{row['trials_budget']:>7} {row['started_at']:<19.19} {row['stop_reason']}".rstrip()
        for row in rows
    ]
    if len(rows) < number:
        lines.append(f"{len(rows)} of {number} runs; --limit {min(number, MOST_RUNS)} shows more")
    answer("\n".join(lines), {"runs": rows, "of": number}, json_file, files_of(database))


@app.command("export")
def export(
    output: Output,
    best: Annotated[
        bool, typer.Option("--best", help="Only the answers, as a read-only SQLite file.")
    ] = False,
    sign: Sign = None,
    database: Database = DEFAULT_DATABASE,
    json_file: JsonFile = None,
) -> None:
    """Write all records as JSON Lines; with --best, the answers alone as a small database."""
    from tilewright.db.exchange.best_file import export_best
    from tilewright.db.exchange.export import export_records
    from tilewright.db.storage.session import open_database, open_existing

    refuse_inputs(output, files_of(database))
    if sign is not None:
        from tilewright.db.sharing.signing import read_key
        from tilewright.db.sharing.trust import Trust

        key = read_key(sign)
        Trust(open_existing(database)).sign(key)
    source = open_database(database, read_only=True)
    if best:
        bests = export_best(source, output)
        answer(f"{output}: {bests} bests", {"bests": bests}, json_file, files_of(database, output))
    else:
        written = export_records(source, output)
        body = {"entries": written.entries, "digest": written.digest}
        text = f"{output}: {written.entries} entries, digest {written.digest}"
        answer(text, body, json_file, files_of(database, output))


@app.command("import")
def import_file(source: Source, database: Database = DEFAULT_DATABASE, json_file: JsonFile = None) -> None:
    """Read records from JSON Lines, all or none. They are claims until measured here (tune db verify)."""
    from tilewright.db.exchange.lines import read_header
    from tilewright.db.exchange.load import import_records
    from tilewright.db.storage.session import open_database

    read_header(source)
    opened = open_database(database)
    loaded = import_records(opened, source)
    answer(*_loaded(opened, loaded), json_file, files_of(source, database))


@app.command()
def merge(source: Source, database: Database = DEFAULT_DATABASE, json_file: JsonFile = None) -> None:
    """Copy the records of another database into this one. A second merge changes nothing."""
    from tilewright.db.exchange.load import merge_database
    from tilewright.db.storage.session import open_database

    other = open_database(source, read_only=True)
    opened = open_database(database)
    loaded = merge_database(other, opened)
    answer(*_loaded(opened, loaded), json_file, files_of(source, database))


def _loaded(database: "OpenDatabase", loaded: "LoadCounts") -> tuple[str, dict[str, Any]]:
    """The imported records, and the command that makes answers of them."""
    from tilewright.db.answering.claims import advice, unverified_targets

    targets = unverified_targets(database)
    told = "; ".join(filter(None, (f"{loaded.new} entries new, {loaded.known} known", advice(targets))))
    body = {"new": loaded.new, "known": loaded.known, "not_verified": list(targets)}
    return "\n".join([told, *conflict_lines(loaded.conflicts)]), {**body, "conflicts": loaded.conflicts}


@app.command()
def backup(output: Output, database: Database = DEFAULT_DATABASE, json_file: JsonFile = None) -> None:
    """Copy a database whole, while others use it, into one SQLite file."""
    from tilewright.db.exchange.backup import backup as copy_whole
    from tilewright.db.storage.session import open_database

    refuse_inputs(output, files_of(database))
    rows = copy_whole(open_database(database, read_only=True), output)
    answer(f"{output}: {rows} rows", {"rows": rows}, json_file, files_of(database, output))


@app.command()
def restore(source: Source, database: Database = DEFAULT_DATABASE, json_file: JsonFile = None) -> None:
    """Fill an empty database from a backup."""
    from tilewright.db.exchange.backup import restore as fill
    from tilewright.db.storage.session import open_database

    rows = fill(source, open_database(database))
    answer(f"{database}: {rows} rows", {"rows": rows}, json_file, files_of(source, database))


@app.command()
def verify(
    target: TargetName,
    database: Database = DEFAULT_DATABASE,
    limit: Annotated[int | None, typer.Option(min=1, help="The most records to measure.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Worker processes on this machine.")] = 2,
    ray: Annotated[
        str,
        typer.Option(
            help="Where records are measured: local, none (in this process), or HOST:PORT of a farm."
        ),
    ] = "local",
    seed: Annotated[int, typer.Option(help="Seed of the inputs that outputs are compared on.")] = 0,
    json_file: JsonFile = None,
) -> int:
    """Measure imported and stale records again; those that hold become answers. Exit code 1 if one fails."""
    from dataclasses import asdict

    from tilewright.tuner.verbs.reverify import ClaimVerdict, verify_claims

    def say(verdict: ClaimVerdict) -> None:
        if json_file != "-":
            found = f"{verdict.measured_us:.2f} us" if verdict.measured_us is not None else verdict.reason
            word = "promoted" if verdict.promoted else "refused"
            typer.echo(
                f"{verdict.workload_digest[:16]}  {word}  claimed {verdict.claimed_us:.2f} us, {found}"
            )

    verdicts = verify_claims(
        target, database=database, workers=workers, ray=ray, seed=seed, limit=limit, listener=say
    )
    if json_file is not None:
        body = [{**asdict(each), "promoted": each.promoted} for each in verdicts]
        write_json(body, json_file, files_of(target, database))
    if json_file != "-":
        promoted = sum(verdict.promoted for verdict in verdicts)
        typer.echo(f"{len(verdicts)} claims: {promoted} promoted, {len(verdicts) - promoted} refused")
    return 0 if all(verdict.promoted for verdict in verdicts) else 1


@app.command()
def gc(
    database: Database = DEFAULT_DATABASE,
    target: Annotated[
        str | None, typer.Option(help="Only runs for this chip: a preset or a TOML file.")
    ] = None,
    toolchain: Annotated[
        str | None,
        typer.Option(
            help="The toolchain of today of your own device; by default those of the built-in devices."
        ),
    ] = None,
    show: Annotated[list[str] | None, typer.Option(help="Show this hidden run again; repeatable.")] = None,
    days: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="How long ended jobs and unused models are kept, in days; by default as in the settings.",
        ),
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Hide runs of older toolchains where today's has the same answers, and delete old jobs and models.

    No record is ever deleted. docs/service.md says how long jobs and models are kept. The file shrinks.
    """
    import os
    from dataclasses import asdict

    from tilewright.api.settings import keep_of, load_settings
    from tilewright.compiler_core.target_model.file import load_target
    from tilewright.compiler_core.toolchain import built_in_toolchains
    from tilewright.db.repository import Repository
    from tilewright.db.retire import hide_stale, show_again
    from tilewright.db.service.retention import sweep
    from tilewright.db.storage.session import open_existing

    settings = load_settings(os.environ, keep_jobs_days=days, keep_models_days=days)
    digest = None if target is None else load_target(target).digest
    opened = open_existing(database)
    if show:
        shown = [Repository(opened).run_called(each).uid for each in show]
        show_again(opened, shown)
        answer(f"{len(shown)} runs shown again", {"shown": shown}, json_file, files_of(database))
        return
    today = built_in_toolchains() if toolchain is None else (toolchain,)
    hidden = [uid for each in today for uid in hide_stale(opened, each, digest)]
    freed = sweep(opened, keep_of(settings))
    smaller = opened.give_back(whole=True)
    text = [*hidden, f"{len(hidden)} runs hidden", str(freed), f"the file is {smaller / 1e6:.1f} MB smaller"]
    body = {"hidden": hidden, "deleted": asdict(freed), "smaller_bytes": smaller}
    answer("\n".join(text), body, json_file, files_of(database))


@app.command()
def upgrade(database: Database = DEFAULT_DATABASE, json_file: JsonFile = None) -> None:
    """Bring a database to the schema of this version, as every verb that writes does."""
    from tilewright.db.storage.session import upgrade_database

    before, after = upgrade_database(database)
    text = f"{database}: schema {before or 'none'} -> {after}"
    answer(text, {"before": before, "after": after}, json_file, files_of(database))


@app.command()
def optuna(
    output: Annotated[str, typer.Option("-o", "--output", help="A new SQLite file, or a URL.")],
    run: Annotated[
        list[str] | None, typer.Option(help="A run by its uid; repeatable; by default all.")
    ] = None,
    database: Database = DEFAULT_DATABASE,
    json_file: JsonFile = None,
) -> None:
    """Write runs as an Optuna storage, one study per kernel, for optuna-dashboard."""
    from tilewright.tuner.verbs.optuna_export import export_to_optuna

    studies, trials = export_to_optuna(output, run or (), database=database)
    text = f"{output}: {studies} studies, {trials} trials"
    answer(text, {"studies": studies, "trials": trials}, json_file, files_of(database, output))
