"""`tune diff`: two runs, two databases or two targets side by side."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tilewright.api.cli.options import DEFAULT_DATABASE, Database, JsonFile, answer, files_of
from tilewright.api.cli.verbs import verb_app

if TYPE_CHECKING:
    from tilewright.api.pages.comparison import Compared
    from tilewright.tuner.explain.diff import RunDiff, RunDifference, Tried
    from tilewright.tuner.explain.diff_others import AnswerDifference, DatabaseDiff, TargetDiff

app = verb_app()
MOST_KNOBS = 4
MOST_LINES = 40


@app.command()
def diff(
    first: Annotated[
        str, typer.Argument(metavar="A", help="A run (by its first characters), a database, or a target.")
    ],
    second: Annotated[str, typer.Argument(metavar="B", help="Another of the same kind.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Also write an HTML file, with a picture.")
    ] = None,
    database: Database = DEFAULT_DATABASE,
    json_file: JsonFile = None,
) -> None:
    """Compare two runs, the answers of two databases, or two targets; the furthest apart comes first.

    `tune db runs` lists the runs of a database. A database is a file or postgresql://..., a target a preset
    or a .toml file.
    """
    from tilewright.compiler_core.files.outputs import write_text

    made, body = _compared(first, second, database)
    kept = files_of(first, second, database)
    if output is not None:
        from tilewright.api.pages.comparison import comparison_html

        write_text(comparison_html(made), output, kept)
    answer("\n".join(as_text(made)), body, json_file, [*kept, *files_of(output)])


def _compared(first: str, second: str, database: str) -> "tuple[Compared, dict[str, Any]]":
    from tilewright.compiler_core.target_model.file import list_targets

    both = (first, second)
    if all(each.endswith(".toml") or each in list_targets() for each in both):
        from tilewright.tuner.explain.diff_others import diff_targets

        targets = diff_targets(first, second)
        return of_targets(targets), targets.to_json()
    if all("://" in each or Path(each).is_file() for each in both):
        from tilewright.tuner.explain.diff_others import diff_databases

        databases = diff_databases(first, second)
        return of_databases(databases), databases.to_json()
    from tilewright.tuner.explain.diff import diff_runs

    runs = diff_runs(first, second, database=database)
    return of_runs(runs), runs.to_json()


def of_runs(found: "RunDiff") -> "Compared":
    """Runs: the network, then kernel by kernel."""
    from tilewright.api.pages.comparison import Compared, Line, number

    facts = {"stopped": (found.stop_reasons[0] or "not ended", found.stop_reasons[1] or "not ended")}
    facts |= {name: (number(one), number(other)) for name, (one, other) in found.asked.items()}
    rows = [*([found.whole] if found.whole is not None else []), *found.kernels]
    lines = [
        Line(each.name, _best(each.first), _best(each.second), each.ratio, _trials_and_knobs(each))
        for each in rows
    ]
    return Compared("runs", found.runs, facts, lines, found.unit)


def of_databases(found: "DatabaseDiff") -> "Compared":
    """Databases: answer by answer."""
    from tilewright.api.pages.comparison import Compared, Line, number

    facts = {"answers": (number(found.answers[0]), number(found.answers[1]))}
    facts |= {"the same in both": (number(found.same), number(found.same))}
    lines = [
        Line(
            each.name or each.workload_digest[:12], number(each.first), number(each.second), each.ratio, more
        )
        for each, more in ((row, _key_of(row)) for row in found.rows)
    ]
    return Compared("databases", found.databases, facts, lines)


def of_targets(found: "TargetDiff") -> "Compared":
    """Targets: key by key of their files, after their peaks."""
    from tilewright.api.pages.comparison import Compared, Line, number

    facts = {"digest": (found.digests[0][:16], found.digests[1][:16])}
    facts |= {f"peak {dtype}, MAC/us": (number(a), number(b)) for dtype, (a, b) in found.peaks.items()}
    lines = [
        Line(key, number(one), number(other), _ratio(one, other)) for key, (one, other) in found.keys.items()
    ]
    return Compared("targets", found.targets, facts, lines, lower=None)


def as_text(found: "Compared") -> list[str]:
    """The comparison for people, a line a thing; one line for two that are equal."""
    if not found.lines and all(one == other for one, other in found.facts.values()):
        facts = ", ".join(f"{name} {one}" for name, (one, _) in found.facts.items())
        what = "have equal answers" if found.kind == "databases" else "are equal"
        return [f"{found.names[0]} and {found.names[1]} {what}: {facts}"]
    lines = [f"A  {found.names[0]}", f"B  {found.names[1]}"]
    lines += [f"{name}: {one} against {other}" for name, (one, other) in found.facts.items()]
    lines.append(f"{f'A {found.unit}'.strip():>12} {f'B {found.unit}'.strip():>12} {'B / A':>7}")
    for line in found.lines[:MOST_LINES]:
        ratio = "-" if line.ratio is None else f"{line.ratio:.3f}"
        lines.append(f"{line.first:>12} {line.second:>12} {ratio:>7}   {line.name}   {line.more}".rstrip())
    if len(found.lines) > MOST_LINES:
        lines.append(f"and {len(found.lines) - MOST_LINES} more; --json - or -o FILE.html has all")
    return lines


def _trials_and_knobs(each: "RunDifference") -> str:
    knobs = ", ".join(f"{name} {old}->{new}" for name, old, new in each.knobs[:MOST_KNOBS])
    more = f" and {len(each.knobs) - MOST_KNOBS} more" if len(each.knobs) > MOST_KNOBS else ""
    trials = f"{_trials(each.first)}/{_trials(each.second)} trials"
    digest = each.workload_digest[:12] if each.name != "network" else ""
    return ", ".join(filter(None, (digest, trials, knobs + more)))


def _key_of(row: "AnswerDifference") -> str:
    same = ", the same Config" if row.same_config else ""
    objective = "" if row.objective == "latency" else f", {row.objective}"
    return f"{row.workload_digest[:12]}, {row.target}, toolchain {row.toolchain}{objective}{same}"


def _best(side: "Tried | None") -> str:
    return "-" if side is None or side.best is None else f"{side.best:.2f}"


def _trials(side: "Tried | None") -> int:
    return 0 if side is None else side.trials


def _ratio(one: Any, other: Any) -> float | None:
    numbers = [each for each in (one, other) if isinstance(each, int | float) and not isinstance(each, bool)]
    both = len(numbers) == 2 and min(numbers) > 0 and max(numbers) < float("inf")
    return other / one if both else None
