"""`tune run`: tune a network, with progress, and print the answer."""

from collections import Counter
from collections.abc import Iterable
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tilewright.api.cli.options import (
    DEFAULT_DATABASE,
    Database,
    Inputs,
    JsonFile,
    RangedDims,
    RunObjective,
    Seed,
    files_of,
    read_inputs,
    read_ranges,
    read_seconds,
    read_share,
    write_json,
)
from tilewright.api.cli.verbs import verb_app
from tilewright.compiler_core.errors import UsageError
from tilewright.compiler_core.files.outputs import write_text

if TYPE_CHECKING:
    from tilewright.api.tracking import Tracker
    from tilewright.tuner.answer.report import Figures, Report
    from tilewright.tuner.request import TuneRequest
    from tilewright.tuner.verbs.ranges import RangeReport

app = verb_app()
FromDemand = Annotated[
    bool,
    typer.Option("--from-demand", help="Tune what lookups missed (tune demand), in place of a MODEL."),
]
TimeLimit = Annotated[
    str | None, typer.Option(help="The longest time of the search: 90s, 30m, 2h, or a number of seconds.")
]
Tries = Annotated[
    Path | None,
    typer.Option("--try", help="Configs to measure first: a JSON list, or a run's --json."),
]
Ray = Annotated[
    str,
    typer.Option(
        help="Where trials are measured: none (in this process), local (on workers of this machine), auto "
        "(in this process, then on workers if much is left to measure) or HOST:PORT of a farm."
    ),
]
OwnDevice = Annotated[
    str | None, typer.Option(help="A device of your own, as MODULE:FACTORY from the working directory.")
]
Mlflow = Annotated[
    str | None, typer.Option(help="Log the run in MLflow, at http://HOST:PORT or in a folder.")
]


@app.command()
def run(
    model: Annotated[Path | None, typer.Argument(help="The ONNX file.")] = None,
    target: Annotated[
        str | None, typer.Option("--target", help="The chip: a preset (tune targets list) or a TOML file.")
    ] = None,
    level: Annotated[
        int,
        typer.Option(
            "-O",
            help="Level: 0 the default schedule; 1 the database's answer, else a guess; 2 a search of 512 "
            "trials; 3 one of 4096. 0 and 1 measure nothing.",
        ),
    ] = 2,
    trials: Annotated[
        int | None, typer.Option(help="The most measurements to make; by default that of the level.")
    ] = None,
    time_limit: TimeLimit = None,
    from_demand: FromDemand = False,
    objective: RunObjective = "latency",
    dim: RangedDims = None,
    given: Inputs = None,
    sampler: Annotated[
        str | None,
        typer.Option(help="The search method: tilewright (the default), random, tpe, nsga2, gp or cmaes."),
    ] = None,
    seed: Seed = 0,
    database: Database = DEFAULT_DATABASE,
    workers: Annotated[int, typer.Option(help="Worker processes on this machine.")] = 2,
    device: OwnDevice = None,
    ray: Ray = "auto",
    lab: Annotated[
        str | None,
        typer.Option(help="Faults to inject, as noise=0.03,straggler=0.01 or a TOML file (docs/cli.md)."),
    ] = None,
    asynchronous: Annotated[
        bool,
        typer.Option(
            "--asynchronous", help="Search all kernels at once on a wide farm; trials then vary by run."
        ),
    ] = False,
    regret: Annotated[
        str | None,
        typer.Option(help="Stop once the estimated distance from the optimum is this small, as 2% or 0.02."),
    ] = None,
    tries: Tries = None,
    svg: Annotated[
        Path | None, typer.Option(help="Draw the front of several objectives into this file.")
    ] = None,
    mlflow: Mlflow = None,
    json_file: JsonFile = None,
) -> None:
    """Search for the tiles, fusion and cores that run MODEL fastest on a target; the database keeps them.

    A second run with the same budget is answered by the database. An interrupted run goes on where its
    records end. A range (--dim seq=1..2048) shares the budget among a few sizes; afterwards the database
    answers every size of the range. Several objectives (latency,energy,peak_bytes) give the front: the
    schedules that no other schedule beats in all of them. --from-demand tunes the networks and kernels that
    lookups missed, the largest saving first, until --time-limit.
    """
    from tilewright.tuner.kernel.candidates import read_candidates
    from tilewright.tuner.request import PoolChoice, TuneRequest, objectives_of

    limit_s = read_seconds(time_limit, "--time-limit")
    if from_demand:
        from tilewright.api.cli.demand import tune_wanted

        if model is not None or target is not None:
            raise UsageError("--from-demand has models and targets of its own; leave MODEL and --target out")
        tune_wanted(database, trials, limit_s, seed, PoolChoice(workers, ray), json_file)
        return
    if model is None or target is None:
        raise UsageError("give a MODEL and a --target, or --from-demand to tune what lookups missed")
    kept = files_of(model, target, database, tries)
    dims, ranges = read_ranges(dim)
    request = TuneRequest(
        model,
        target,
        level,
        trials,
        limit_s,
        objectives_of(objective),
        dims,
        sampler,
        seed,
        device,
        lab,
        asynchronous,
        PoolChoice(workers, ray),
        database,
        ranges,
        read_inputs(given),
        read_candidates(tries),
        read_share(regret, "--regret"),
    )
    _run(request, svg, mlflow, json_file, kept)


def _run(
    request: "TuneRequest",
    svg: Path | None,
    mlflow: str | None,
    json_file: str | None,
    kept: Iterable[str | Path],
) -> None:
    """Tune, log and print; `kept` are files that no output may replace."""
    from tilewright.tuner.request import Hooks
    from tilewright.tuner.verbs.progress import watching
    from tilewright.tuner.verbs.ranges import RangeReport, run_sizes

    if svg is not None and not request.front:
        raise UsageError("--svg draws a front; give several objectives, as in --objective latency,energy")
    tracker = None if mlflow is None else tracker_at(mlflow, request)
    with watching() as listener:
        report = run_sizes(request, Hooks(listener))
    if isinstance(report, RangeReport):
        _tell(report, range_text(report), json_file, kept)
        return
    if tracker is not None:
        tracker.log(request, report)
    if svg is not None:
        write_text(front_picture(report), svg, kept)
    _tell(report, as_text(report), json_file, kept)


def tracker_at(uri: str, request: "TuneRequest") -> "Tracker":
    """The tracker of a run that can be logged; UsageError says which cannot, before anything is measured."""
    from tilewright.api.tracking import Tracker

    if request.ranges:
        raise UsageError("--mlflow logs one size; bind the range with --dim NAME=SIZE")
    return Tracker.open(uri)


def _tell(
    found: "Report | RangeReport", text: str, json_file: str | None, inputs: Iterable[str | Path]
) -> None:
    if json_file is not None:
        write_json(found.to_json(), json_file, inputs)
    if json_file != "-":
        typer.echo(text)


def front_picture(report: "Report") -> str:
    """The front as SVG."""
    from tilewright.api.pages.drawn.drawings import front
    from tilewright.api.pages.story import Tale

    found = {"front": report.to_json()["front"], "objective": report.objective}
    return front(Tale((), found, {}, ""))


def range_text(found: "RangeReport") -> str:
    """The answer of a range for people: a line a tuned size, then a line an interval."""
    lines = [f"{found.model} on {found.target}, {found.symbol} from {found.low} to {found.high}"]
    for size, report in zip(found.sizes, found.reports, strict=True):
        figures = f"default {report.default.latency_us:.2f} us, tuned {report.tuned.latency_us:.2f} us"
        lines.append(f"  {found.symbol} = {size:<8d} {figures}, {report.trials} trials")
    lines += [f"  {interval}" for interval in found.intervals]
    if found.left_out:
        lines.append(f"  {found.left_out}")
    return "\n".join(lines)


def as_text(report: "Report") -> str:
    """The answer for people, a line a fact."""
    from tilewright.tuner.kernel.stopping import StopReason

    peak = report.tuned.peak_bytes
    lines = [
        f"model      {report.model}   graph {report.graph_digest[:16]}",
        f"target     {report.target}   timed as {report.timed_as}",
        *_numbers(report),
        f"peak       {'unknown' if peak is None else f'{peak:12d} bytes'}   between kernels",
        f"trials     {report.trials:12d}      database hits {report.cache_hits} of {len(report.kernels)}",
        f"verified   {report.verification:>12}",
        f"stopped    {report.stop_reason:>12}   {StopReason(report.stop_reason).text}, "
        f"after {report.wall_s:.1f} s",
    ]
    if report.regret_estimate is not None and isfinite(report.regret_estimate):
        lines.append(f"regret     {report.regret_estimate:12.1%}   expected distance from the best there is")
    if not report.groups:
        lines.append("kernels            none      every output is an input or a constant")
    stages = Counter(group.stage for group in report.groups)
    if any(group.apart for group in report.groups) or len(stages) < len(report.groups):
        lines.append(
            "kernels    in order; > layout of a result if not the model's, ! why a reader is not fused, "
            "| runs beside others"
        )
        lines += [
            f"  {index:4d}  {f'| {group.cores} cores: ' if stages[group.stage] > 1 else ''}"
            f"{group.name}{''.join(f' > {place}' for place in group.stores if ':' in place)}"
            f"{''.join(f' ! {why}' for why in group.apart)}"
            for index, group in enumerate(report.groups)
        ]
    lines += [f"form       {each.value} as {each.form}   {each.why}" for each in report.rewrites]
    lines += [f"dropped    {each.what}: {each.reason}" for each in report.dropped]
    if report.front:
        lines.append(f"front      {report.objective}")
        lines += [f"  {_figures_text(point.figures)}   {point.kernels} kernels" for point in report.front]
    if report.host_ops:
        lines += [
            f"host op    {op['op_type']} {op['node']}: {op['macs_share']:.1%} of the MACs, "
            f"{op['bytes_share']:.1%} of the bytes"
            for op in report.host_ops
        ]
    return "\n".join(lines)


def _numbers(report: "Report") -> list[str]:
    """Default, answer, bound, speed-up and gap, of the objective and of the latency."""
    from tilewright.tuner.kernel.stopping import StopReason

    gap, objective = report.gap, report.objectives[0]
    host = f", {report.host_us:.2f} on the host" if report.host_us else ""
    answer = f"sum of kernels {report.sum_of_kernels_us:.2f} us{host}"
    known = "tuned"
    if not report.measured:
        error = "unknown" if report.expected_error is None else f"{report.expected_error:.0%}"
        of_range = report.stop_reason == StopReason.OF_RANGE
        known = "in range" if of_range else "guess"
        how = "tuned for a range, not measured at this size" if of_range else "neither measured nor verified"
        answer = f"{how}; expected error {error}"
    figures_of = [
        ("default", report.default, "(-O0)"),
        (known, report.tuned, answer),
        ("bound", report.bound, "no schedule is faster"),
    ]
    lines = [f"{name:<11}{figures.latency_us:12.2f} us   {text}" for name, figures, text in figures_of]
    lines.append(f"speed-up   {report.speedup:12.2f} x")
    if objective != "latency":
        for name, figures, _ in figures_of:
            number = figures.number_of(objective)
            if number is not None:
                lines.append(f"{name:<11}{number:12.2f} {objective.row.unit}   {objective}")
    if gap.ratio is not None:
        parts = (
            f"launch {gap.launch_us:.1f} us, bandwidth {gap.bandwidth_us:.1f}, "
            f"padding {gap.padding_us:.1f}, {f'host {gap.host_us:.1f}, ' if report.host_us else ''}"
            f"rest {gap.rest_us:.1f}"
        )
        told_of = parts if objective == "latency" else f"of {objective}; of the latency {parts}"
        lines.append(f"gap        {gap.ratio:12.2f} x    {told_of}")
    return lines


def _figures_text(figures: "Figures") -> str:
    energy, peak = figures.energy_uj, figures.peak_bytes
    parts = [
        f"{figures.latency_us:12.2f} us",
        *([] if energy is None else [f"{energy:12.2f} uJ"]),
        *([] if peak is None else [f"{peak:12d} bytes"]),
    ]
    return "".join(parts)
