"""`tune diff`: two runs side by side."""

from typing import TYPE_CHECKING, Annotated

import typer

from tilewright.api.cli.options import DEFAULT_DATABASE, Database, JsonFile, answer, files_of
from tilewright.api.cli.verbs import verb_app

if TYPE_CHECKING:
    from tilewright.tuner.explain.diff import RunDiff, RunDifference, Tried

app = verb_app()
MOST_KNOBS = 4


@app.command()
def diff(
    first: Annotated[str, typer.Argument(metavar="RUN_A", help="A run's uid, or its first characters.")],
    second: Annotated[str, typer.Argument(metavar="RUN_B", help="The run to compare it with.")],
    database: Database = DEFAULT_DATABASE,
    json_file: JsonFile = None,
) -> None:
    """Compare two runs: what was asked, the network's best, and each kernel's, the furthest apart first.

    `tune db runs` lists the runs of a database.
    """
    from tilewright.tuner.explain.diff import diff_runs

    found = diff_runs(first, second, database=database)
    answer("\n".join(as_text(found)), found.to_json(), json_file, files_of(database))


def as_text(found: "RunDiff") -> list[str]:
    """The comparison for people, a line a kernel."""
    lines = [f"A  {found.runs[0]}   stopped: {found.stop_reasons[0] or 'not ended'}"]
    lines.append(f"B  {found.runs[1]}   stopped: {found.stop_reasons[1] or 'not ended'}")
    lines += [f"asked  {name}: {one} against {other}" for name, (one, other) in found.asked.items()]
    lines.append(f"{'A ' + found.unit:>12} {'B ' + found.unit:>12} {'B / A':>7} {'trials':>11}")
    rows = [*([found.whole] if found.whole is not None else []), *found.kernels]
    return lines + [_line(each) for each in rows]


def _line(each: "RunDifference") -> str:
    ratio = "-" if each.ratio is None else f"{each.ratio:.3f}"
    trials = f"{_trials(each.first)}/{_trials(each.second)}"
    knobs = ", ".join(f"{name} {old}->{new}" for name, old, new in each.knobs[:MOST_KNOBS])
    more = f" and {len(each.knobs) - MOST_KNOBS} more" if len(each.knobs) > MOST_KNOBS else ""
    named = (
        each.name if each.name == "network" else f"{each.name}   {each.workload_digest[:12]}   {knobs}{more}"
    )
    return f"{_number(each.first):>12} {_number(each.second):>12} {ratio:>7} {trials:>11}   {named}".rstrip()


def _number(side: "Tried | None") -> str:
    return "-" if side is None or side.best is None else f"{side.best:.2f}"


def _trials(side: "Tried | None") -> int:
    return 0 if side is None else side.trials
