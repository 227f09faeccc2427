"""`tune report`: the records of one network on one target, as plain values to draw. Nothing is measured. The
report follows from records alone, so a report of a run can be made anywhere the database is; with the model
at hand, values have its names.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tilewright.compiler_core.errors import RecordError, UsageError
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.ir.graph_json import graph_from_json
from tilewright.compiler_core.ir.ops import Unit
from tilewright.compiler_core.lowering.pipeline import Plan, compile_graph, default_schedule, plan_graph
from tilewright.compiler_core.lowering.program import Program
from tilewright.compiler_core.onnx_import.building.bound_inputs import Given
from tilewright.compiler_core.target_model.file import load_target, parse_target
from tilewright.compiler_core.target_model.target import Target
from tilewright.compiler_core.transforms.rewrites import rewritten
from tilewright.cost_model.analytic import KernelModel
from tilewright.cost_model.energy import network_bound_uj
from tilewright.cost_model.network_bound import network_bound_cycles
from tilewright.db.records import (
    Best,
    Key,
    RunRow,
    TrialRow,
    WorkloadKind,
)
from tilewright.db.repository import Repository
from tilewright.db.storage.near import parse_json
from tilewright.db.storage.session import open_database
from tilewright.measure.device import built_in_info
from tilewright.measure.objectives import Objective
from tilewright.search_space.network import NetworkTask, numbered
from tilewright.search_space.programs import program_of
from tilewright.search_space.rules import KnobLayout
from tilewright.tuner.answer.front import front_of_trials, objectives_of
from tilewright.tuner.answer.gap import ratio_of
from tilewright.tuner.answer.report import Figures
from tilewright.tuner.verbs.answers import CompiledNetwork
from tilewright.tuner.verbs.lookup import compile_known
from tilewright.tuner.verbs.pictures import draw
from tilewright.tuner.verbs.search_pictures import latest_run, search_of


@dataclass(frozen=True)
class RunReport:
    """A network, the run that tuned it last (None where none did), and its figures and pictures. `result` has
    the keys of `tune run --json` as far as records have them; `points` are the search's standing after each
    trial; `pictures` is what `tilewright.tuner.verbs.pictures.draw` gives.
    """

    title: str
    run: RunRow | None
    objective: str
    result: dict[str, Any]
    points: Sequence[Mapping[str, Any]]
    pictures: Mapping[str, Any]


def report_on(
    subject: str | Path,
    target: str | Path | None = None,
    *,
    objective: str = "latency",
    dims: Mapping[str, int] | None = None,
    inputs: Mapping[str, Given] | None = None,
    database: str | Path = "tilewright.db",
    toolchain: str | None = None,
) -> RunReport:
    """The report of an ONNX file on a target, or of a run by its uid.

    Of a file what the device of `toolchain` measured, without one the target's own; a run knows its own.
    """
    opened = open_database(database, read_only=True)
    try:
        repository = Repository(opened)
        if Path(subject).suffix == ".onnx" or Path(subject).is_file():
            report = _of_model(
                repository, Path(subject), target, Objective(objective), dims, inputs, toolchain
            )
            if target is None or not dims or report.result["tuned"]["latency_us"] is not None:
                return report
            return _with_range(
                report,
                compile_known(
                    subject,
                    target,
                    objective=objective,
                    dims=dims,
                    inputs=inputs,
                    database=database,
                    toolchain=toolchain,
                ),
            )
        return _of_run(repository, str(subject))
    finally:
        opened.close()


def _with_range(report: RunReport, compiled: CompiledNetwork) -> RunReport:
    """The report of a network that was not tuned at its sizes, with the answer of a range's selector."""
    compiled.close()
    if compiled.selected is None:
        return report
    drawn = draw(compiled.program, compiled.assignment.plan, compiled.opened.target)
    return replace(report, result={**report.result, "range": str(compiled.selected)}, pictures=drawn)


def _of_model(
    repository: Repository,
    path: Path,
    target: str | Path | None,
    objective: Objective,
    dims: Mapping[str, int] | None,
    inputs: Mapping[str, Given] | None,
    toolchain: str | None,
) -> RunReport:
    from tilewright.compiler_core.onnx_import.sizes import import_bound

    if target is None:
        raise UsageError("a report of a model needs --target; a report of a run knows its own")
    model = import_bound(path, dims, inputs)
    network = numbered(model.graph)
    own = {op: number for number, op in enumerate(network.ops)}
    there = [
        (network.task.graph.ops[own[index]].result, op.result)
        for index, op in enumerate(model.graph.ops)
        if index in own
    ]
    named = replace(
        network.task.graph,
        names={value: model.graph.name_of(ours) for value, ours in there},
        origins={value: model.graph.origins.get(ours, ()) for value, ours in there},
    )
    chip = load_target(target)
    key = Key(network.task.digest, chip.digest, toolchain or built_in_info(chip).toolchain, objective)
    run = latest_run(repository, key)
    return _told(repository, model.name, network.task, named, chip, key, run)


def _of_run(repository: Repository, uid: str) -> RunReport:
    run = repository.run_called(uid)
    digest = run.asked.model_digest
    body = None if digest is None else repository.workloads([digest]).get(digest)
    if symbol := parse_json(run.asked.settings, "settings of the run").get("range"):
        raise RecordError(f"run {uid!r} measured sizes of {symbol}; ask for MODEL with --dim {symbol}=SIZE")
    if digest is None or body is None or body.kind is not WorkloadKind.GRAPH:
        raise RecordError(f"run {uid!r} tuned no network; a report needs one")
    text = next(row.text for row in repository.targets() if row.digest == run.asked.target_digest)
    chip, mistakes = parse_target(text)
    if chip is None:
        raise RecordError(f"the target of run {uid!r} cannot be read any more: {mistakes[0]}")
    network = NetworkTask(graph_from_json(parse_json(body.body, f"network {digest[:12]}")))
    key = Key(network.digest, chip.digest, run.asked.toolchain, run.asked.objective)
    return _told(repository, f"network {digest[:12]}", network, network.graph, chip, key, run)


def _told(
    repository: Repository,
    title: str,
    network: NetworkTask,
    graph: Graph,
    chip: Target,
    key: Key,
    run: RunRow | None,
) -> RunReport:
    """The records of `network`; `graph` is the same with the model's names where these are known."""
    objective = key.objective
    best = repository.best(key)
    plan, program = _program(graph, network, best, chip)
    trials = [] if run is None else repository.trials_of_run(run.uid)
    counts = Counter(kernel.workload.digest for kernel in plan.kernels if kernel is not None)
    bests = repository.best_many(list(counts), chip.digest, key.toolchain, objective)
    kernels = _kernels(plan, chip, counts, bests, trials)
    bound_us = network_bound_cycles(network.graph, chip) / chip.cycles_per_us
    bound = Figures(bound_us, 0.0, network_bound_uj(network.graph, chip, bound_us))
    default = repository.default(key)
    default_us = None if default is None else default.latency_us
    tuned_us = None if best is None else best.latency_us
    result: dict[str, Any] = {
        "graph_digest": network.digest,
        "target": chip.name,
        "objective": str(objective),
        "default": _figures(default),
        "tuned": _figures(best),
        "bound": {"latency_us": bound.latency_us, "energy_uj": bound.energy_uj},
        "speedup": default_us / tuned_us if default_us and tuned_us else None,
        "gap": {"ratio": None if best is None else _ratio(best, bound, objective)},
        "rewrites": [
            {
                "value": graph.kernel_name([index]),
                "op": graph.ops[index].kind,
                "form": str(rewrite),
                "why": "",
            }
            for index, rewrite in plan.graph.rewrites.items()
        ],
        "host_ops": [
            {"node": "", "op_type": dict(op.attributes).get("function", "")}
            for op in network.graph.ops
            if op.row.unit is Unit.HOST
        ],
        "trials": sum(row.key.workload_digest != network.digest for row in trials),
        "kernels": kernels,
        "stop_reason": "" if run is None else run.stop_reason,
        "regret_estimate": None if run is None else run.regret_estimate,
        "verification": None if best is None else str(best.verification),
    }
    if run is not None and (objectives := objectives_of(run.asked.settings)):
        result["objective"] = ",".join(objectives)
        result["front"] = [point.to_json() for point in front_of_trials(trials, network.digest, objectives)]
    points = _convergence(trials, network.digest, objective, bound.number_of(objective))
    pictures = draw(program, plan, chip)
    pictures["search"] = search_of(trials, plan.regions, plan.names_of_kernels, chip)
    return RunReport(title, run, str(objective), result, points, pictures)


def _figures(best: Best | None) -> dict[str, Any]:
    """The numbers of a record, None where there is none."""
    return {name: getattr(best, name, None) for name in ("latency_us", "energy_uj", "peak_bytes")}


def _ratio(best: Best, bound: Figures, objective: Objective) -> float | None:
    return ratio_of(Figures.of_best(best).number_of(objective), bound.number_of(objective))


def _program(graph: Graph, network: NetworkTask, best: Best | None, chip: Target) -> tuple[Plan, Program]:
    """The network as in the database, or its default where it is not there."""
    if best is None:
        plan = plan_graph(graph, chip)
        return plan, compile_graph(graph, default_schedule(plan, chip), chip, plan)
    built = program_of(network, best.config, chip)
    return replace(built.plan, graph=rewritten(graph, built.graph.rewrites)), built.program


def _kernels(
    plan: Plan,
    chip: Target,
    counts: Mapping[str, int],
    bests: Mapping[str, Best],
    trials: Sequence[TrialRow],
) -> list[dict[str, Any]]:
    spent = Counter(row.key.workload_digest for row in trials)
    return [
        {
            "name": plan.names_of_kernels[digest],
            "workload_digest": digest,
            "ops": [op.kind for op in plan.regions[digest].graph.ops],
            "count": count,
            "latency_us": bests[digest].latency_us if digest in bests else None,
            "bound_us": KernelModel(KnobLayout(plan.regions[digest], chip)).least.bound_cycles(chip)
            / chip.cycles_per_us,
            "trials": spent[digest],
            "source": "measured" if digest in bests else "unknown",
            "config": dict(bests[digest].config.items) if digest in bests else {},
        }
        for digest, count in counts.items()
    ]


def _convergence(
    trials: Sequence[TrialRow], network_digest: str, objective: Objective, bound: float | None
) -> list[dict[str, Any]]:
    """The best whole network measured by then, after each trial of a kernel."""
    best: float | None = None
    points: list[dict[str, Any]] = []
    for row in trials:
        if row.key.workload_digest != network_digest:
            done = len(points) + 1
            points.append({"trials": done, "best": best, "bound": bound, "unit": objective.row.unit})
            continue
        number = objective.of(row.trial.measurement)
        if number is not None and (best is None or number < best):
            best = number
    if points:
        points[-1]["best"] = best
    return points
