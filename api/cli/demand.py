"""`tune demand`: what lookups missed, ranked by the time that tuning it would save."""

import os
from typing import TYPE_CHECKING, Annotated

import typer

from tilewright.api.cli.options import DEFAULT_DATABASE, Database, JsonFile, answer, files_of
from tilewright.api.cli.verbs import verb_app
from tilewright.compiler_core.errors import UsageError

if TYPE_CHECKING:
    from tilewright.tuner.request import PoolChoice
    from tilewright.tuner.verbs.demand import DemandReport, Unanswered
    from tilewright.tuner.verbs.from_demand import TunedDemand

app = verb_app()

_UNITS = (("s", 1e6), ("ms", 1e3))


@app.command()
def demand(
    file: Annotated[
        str | None,
        typer.Option(
            "--file",
            help="The demand file; by default TILEWRIGHT_DEMAND, else the service's, beside the database.",
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="The number of rows, the largest saving first.")] = 20,
    database: Database = DEFAULT_DATABASE,
    json_file: JsonFile = None,
) -> None:
    """Rank lookups that were not served a measured answer by the time that tuning would save.

    A service logs its lookups by itself; `tune lookup`, `tune compile` and Python do where the variable
    TILEWRIGHT_DEMAND names a file. `tune run --from-demand` tunes from the top.
    """
    from tilewright.db.storage.session import open_database
    from tilewright.tuner.verbs.demand import demand as rank

    where = demand_file(file, database)
    found = rank(where, open_database(database, read_only=True), limit)
    answer("\n".join(lines_of(found)), found.to_json(), json_file, files_of(where, database))


def demand_file(named: str | None, database: str) -> str:
    """The file that was named, that of the environment, or that of a service on this database."""
    from tilewright.db.demand.recorder import VARIABLE
    from tilewright.db.demand.service_file import file_beside

    found = named or os.environ.get(VARIABLE) or file_beside(database)
    if not found:
        raise UsageError("give --file: a service on PostgreSQL names its demand file in the setting `demand`")
    return found


def lines_of(found: "DemandReport") -> list[str]:
    """The ranking for people."""
    totals = ", ".join(f"{count} {name}" for name, count in found.totals.items())
    lines = [f"lookups  {totals}"]
    if not found.wanted:
        return [*lines, "nothing that was missed is without an answer now"]
    lines.append(f"{'saves':>12} {'asked':>9} {'served us':>10} {'expected':>10}  what")
    return lines + [line for each in found.wanted for line in _lines(each)]


def _lines(wanted: "Unanswered") -> list[str]:
    known = wanted.served_us is not None and wanted.expected_us is not None
    saves = duration(wanted.saves_us) if known else "unknown"
    sizes = "".join(f" {name}={size}" for name, size in wanted.dims)
    objective = "" if wanted.objective == "latency" else f", {wanted.objective}"
    what = f"{wanted.name or wanted.kind}{sizes} on {wanted.target or wanted.target_digest[:12]}{objective}"
    line = f"{saves:>12} {wanted.count:>9} {_us(wanted.served_us):>10} {_us(wanted.expected_us):>10}  {what}"
    why = [f"{'':45}not from here: {wanted.why_not}"] if wanted.why_not else []
    return [f"{line}, {wanted.served}, {wanted.workload_digest[:12]}", *why]


def _us(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def tune_wanted(
    database: str,
    trials: int | None,
    time_limit_s: float | None,
    seed: int,
    pool: "PoolChoice",
    json_file: str | None,
) -> None:
    """Tune what lookups missed, the one that saves most first, and print each as it is done."""
    from tilewright.tuner.verbs.from_demand import DemandTuning, tune_demand
    from tilewright.tuner.verbs.progress import watching

    where = demand_file(None, database)
    asked = DemandTuning(where, database, trials, time_limit_s, seed, pool)
    done = []
    with watching() as listener:
        for each in tune_demand(asked, listener):
            done.append(each)
            if json_file != "-":
                typer.echo(tuned_line(each))
    rows = [
        {
            "workload_digest": each.wanted.workload_digest,
            "name": each.wanted.name,
            "target": each.wanted.target,
            "count": each.wanted.count,
            "served_us": each.wanted.served_us,
            "tuned_us": each.tuned_us,
            "trials": each.trials,
            "reason": each.reason,
        }
        for each in done
    ]
    text = (
        f"{len(done)} tuned of what lookups missed" if done else "nothing that was missed can be tuned here"
    )
    answer(text, rows, json_file, files_of(where, database))


def duration(us: float) -> str:
    """A time in the unit that gives it one to three digits before the point."""
    unit, scale = next(((unit, scale) for unit, scale in _UNITS if us >= scale), ("us", 1.0))
    return f"{us / scale:.1f} {unit}"


def tuned_line(each: "TunedDemand") -> str:
    """The result for one workload of the demand, as a line."""
    times = "once" if each.wanted.count == 1 else f"{each.wanted.count} times"
    what = f"{each.wanted.name or each.wanted.kind} on {each.wanted.target}, asked {times}"
    if each.tuned_us is None:
        return f"not tuned  {what}: {each.reason}"
    return f"{_us(each.wanted.served_us)} -> {_us(each.tuned_us)} us  {what}, {each.trials} trials"
