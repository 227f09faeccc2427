"""The models bench: every network of a folder imports, compiles, verifies and computes the right numbers.

Random schedules that go through the verifier are drawn anywhere in the space; those that are emulated in
numpy among the Configs of at most MOST_TILES tiles a kernel, because each tile costs Python time.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.journal import Journal
from benchmarks.networks.compiler_speed import compiler_speed
from benchmarks.networks.files import Network, light_networks, load_bound, networks_of
from benchmarks.networks.numbers import Reference
from tilewright.compiler_core.checking.sampled import sample_of
from tilewright.compiler_core.checking.verify import verify_program
from tilewright.compiler_core.errors import TilewrightError
from tilewright.compiler_core.ir.dims import known
from tilewright.compiler_core.ir.layouts import Layout, layouts_of
from tilewright.compiler_core.lowering.lower import lower_kernel
from tilewright.compiler_core.lowering.pipeline import (
    Plan,
    compile_graph,
    default_schedule,
    plan_graph,
    plan_groups,
    schedule_of,
)
from tilewright.compiler_core.lowering.program import Program
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.lowering.schedule import Schedule, Tiling
from tilewright.compiler_core.lowering.tile import default_tiling
from tilewright.compiler_core.onnx_import.host_work import host_work
from tilewright.compiler_core.onnx_import.importer import ImportedModel
from tilewright.compiler_core.target_model.file import load_target
from tilewright.compiler_core.target_model.target import Target
from tilewright.search_space.codec import tiling_of
from tilewright.search_space.knobs import Rows
from tilewright.search_space.moves import sample
from tilewright.search_space.rules import KnobLayout
from tilewright.search_space.space import Space
from tilewright.search_space.validity import kernel_space

TARGETS = ("ascend910", "ethos_u55_256")
SCHEDULES, QUICK_SCHEDULES = 50, 6
EMULATED, QUICK_EMULATED = 3, 1
MOST_MACS, QUICK_MOST_MACS = 2_000_000_000, 100_000_000
MOST_TILES = 256
STRUCTURED_SHARE = 0.99
SPEED_GOALS = {"import_s": 6.0, "import_mib": 1536.0, "compile_s": 1.0, "lower_ms": 0.3}
Row = dict[str, Any]


def bench_models(
    folder: Path | None = None,
    *,
    quick: bool = False,
    seed: int = 0,
    light: bool = True,
    targets: Sequence[str] = TARGETS,
    journal: Path | None = None,
    say: Callable[[str], None] = print,
) -> Row:
    """All ONNX files of `folder` and (`light`) of the onnx package on every target: `{bench, summary, rows}`.

    Numbers are judged op by op (compiler_core/checking/judge.py): up to MOST_MACS of whole emulated Programs,
    above of a sample of tiles of every kernel; and the network against its file. Where all weights are equal
    a row says why not.
    `quick` draws fewer schedules, emulates only small networks and leaves out how long the compiler takes.
    Rows that are in `journal`, a file, are taken from it and new ones added to it: a broken run resumes.
    """
    networks = [*(networks_of(folder) if folder is not None else ()), *(light_networks() if light else ())]
    say(_HEADER)
    done = Journal(journal, {"quick": quick, "seed": seed})
    rows: list[Row] = []
    for network in networks:
        for row in _rows(network, [load_target(name) for name in targets], quick, seed, done):
            say(_line(row))
            rows.append(row)
    summary = _summary(rows)
    if quick:
        return {"bench": "models", "summary": summary, "rows": rows}
    speed = compiler_speed(load_target(targets[0]), seed)
    say(
        f"{speed['nodes']} nodes: import {speed['import_s']:.2f} s and {speed['import_mib']:.0f} MiB,"
        f" plan {speed['plan_s']:.2f} s, compile {speed['compile_s']:.2f} s;"
        f" lowering {speed['lower_ms']:.3f} ms a Config"
    )
    limits = {name: _at_most(speed[name], goal) for name, goal in SPEED_GOALS.items()}
    return {"bench": "models", "summary": summary | limits, "rows": [*rows, speed]}


def _rows(
    network: Network, targets: Sequence[Target], quick: bool, seed: int, done: Journal
) -> Iterator[Row]:
    keys = [
        {"model": network.path.stem, "target": target.name, "target_digest": target.digest, "seed": seed}
        for target in targets
    ]
    missing = [key for key in keys if done.row(key) is None]
    reference: Reference | None = None
    refused, import_s = "", 0.0
    if missing:
        start = time.process_time()
        try:
            reference = Reference(network, load_bound(network), seed)
        except TilewrightError as error:
            refused = str(error)
        import_s = round(time.process_time() - start, 2)
    for key, target in zip(keys, targets, strict=True):
        known = done.row(key)
        if known is not None:
            yield known
            continue
        row: Row = {**key, "error": refused}
        if reference is not None:
            row |= {"import_s": import_s, **_facts(reference.model, target)}
            try:
                row |= _compiled(reference, target, quick, seed)
            except TilewrightError as error:
                row["error"] = f"{type(error).__name__}: {error}"
        done.add(row)
        yield row


def _facts(model: ImportedModel, target: Target) -> Row:
    graph = model.graph
    on_host = sum(known(op.macs, op.node) for op in model.host_ops)
    is_float = any(value.dtype.is_float for value in graph.values)
    return {
        "ops": len(graph.ops),
        "gmacs": graph.macs / 1e9,
        "structured_share": graph.macs / max(1, graph.macs + on_host),
        "host_ops": sorted({op.op_type for op in model.host_ops}),
        "host_work": [vars(work) for work in host_work(graph, model.host_ops)],
        "timed_as": "floats as int8" if is_float and not target.stores_floats else "as it is",
    }


def _compiled(reference: Reference, target: Target, quick: bool, seed: int) -> Row:
    graph = reference.model.graph
    rng = np.random.default_rng([seed, 1])
    start = time.process_time()
    plan = plan_graph(graph, target)
    default = default_schedule(plan, target)
    baseline = compile_graph(graph, default, target, plan)
    compile_s = time.process_time() - start
    findings = len(verify_program(graph, baseline, target))
    schedules = 1
    plans = (plan, _laid_out(plan, target, rng))
    for each in plans:
        draws = _draws(each, target, (QUICK_SCHEDULES if quick else SCHEDULES) // len(plans), rng)
        for number in range(max(map(len, draws.values()), default=0)):
            program = compile_graph(graph, _schedule(each, draws, number), target, each)
            findings += len(verify_program(graph, program, target))
            schedules += 1
    row = {
        "groups": len(plan.groups),
        "kernels": len(plan.regions),
        "laid_out": len(plans[1].layouts),
        "compile_s": round(compile_s, 2),
        "schedules": schedules,
        "findings": findings,
    }
    return row | _numbers(reference, plans, baseline, target, quick, rng)


def _laid_out(plan: Plan, target: Target, rng: np.random.Generator) -> Plan:
    """The plan with a random Layout, or none, for every value between its kernels."""
    graph = plan.graph
    layouts: dict[int, Layout] = {}
    for value in sorted(graph.producer):
        offered = list(layouts_of(graph, value))
        at = int(rng.integers(len(offered) + 1))
        layouts |= {value: offered[at]} if at < len(offered) else {}
    return plan_groups(graph, plan.groups, target, plan.regions, layouts)


def _numbers(
    reference: Reference,
    plans: Sequence[Plan],
    baseline: Program,
    target: Target,
    quick: bool,
    rng: np.random.Generator,
) -> Row:
    graph = reference.model.graph
    if not reference.network.weights:
        return {"emulated": 0, "numbers": "not compared: all weights are equal"}
    sampled = graph.macs > MOST_MACS
    if quick and graph.macs > QUICK_MOST_MACS:
        return {"emulated": 0, "numbers": f"not emulated: above {QUICK_MOST_MACS / 1e9:g} GMAC"}
    count = QUICK_EMULATED if quick else EMULATED
    programs = [baseline]
    for number in range(count):
        plan = plans[(number + 1) % len(plans)]
        if sampled:
            drawn = _draws(plan, target, 1, rng)
        else:
            drawn = {digest: _small(regions, target, rng) for digest, regions in plan.regions.items()}
        programs.append(compile_graph(graph, _schedule(plan, drawn, number), target, plan))
    numbers = f"sampled: {sample_of(programs[0], reference.seed)[0]}" if sampled else "op by op"
    found = [reference.compare(program, sampled=sampled) for program in programs]
    worst = max(found, key=lambda agreement: agreement.worst)
    return {
        "emulated": len(programs),
        "values": worst.values,
        "worst_of_allowed": worst.worst,
        "worst_value": worst.where,
        "caught": max(agreement.caught for agreement in found),
        "against_file": len(reference.meant.meant),
        "untold": reference.meant.untold,
        "numbers": numbers,
    }


Drawn = list[tuple[Tiling, int]]


def _draws(plan: Plan, target: Target, count: int, rng: np.random.Generator) -> dict[str, Drawn]:
    """`count` random choices a kernel, fewer where its space has no more."""
    found: dict[str, Drawn] = {}
    for digest, regions in plan.regions.items():
        space = kernel_space(KnobLayout(regions, target))
        found[digest] = _decoded(space, sample(space, count, rng, attempts=16), regions) or [
            (default_tiling(regions, target), target.cores)
        ]
    return found


def _decoded(space: Space, rows: Rows, regions: Regions) -> Drawn:
    return [tiling_of(space.decode(row), regions) for row in rows]


def _small(regions: Regions, target: Target, rng: np.random.Generator) -> Drawn:
    """A random choice of few tiles; the default one where random draws find none."""
    space = kernel_space(KnobLayout(regions, target))
    for tiling, cores in _decoded(space, sample(space, 64, rng, attempts=16), regions):
        program = lower_kernel(regions, tiling, cores, target)
        if program.parallel_tiles * program.serial_steps <= MOST_TILES:
            return [(tiling, cores)]
    return [(default_tiling(regions, target), target.cores)]


def _schedule(plan: Plan, draws: dict[str, Drawn], number: int) -> Schedule:
    """The schedule that takes draw `number` of every kernel, from the start again where it has fewer."""
    return schedule_of(plan, {digest: drawn[number % len(drawn)] for digest, drawn in draws.items()})


def _summary(rows: Sequence[Row]) -> Row:
    compared = [row["worst_of_allowed"] for row in rows if "worst_of_allowed" in row]
    return {
        "errors": _at_most(sum(bool(row["error"]) for row in rows), 0),
        "findings": _at_most(sum(row.get("findings", 0) for row in rows), 0),
        "worst_difference_of_allowed": _at_most(max(compared, default=0.0), 1.0),
        "compared": {"value": len(compared), "goal": None, "ok": True},
        "least_structured_share": _at_least(
            min((row["structured_share"] for row in rows if "structured_share" in row), default=1.0),
            STRUCTURED_SHARE,
        ),
    }


def _at_most(value: float, goal: float) -> Row:
    return {"value": value, "goal": goal, "ok": value <= goal}


def _at_least(value: float, goal: float) -> Row:
    return {"value": value, "goal": goal, "ok": value >= goal}


_HEADER = (
    f"{'model':<28} {'target':<14} {'GMAC':>7} {'struct':>7} {'ops':>5} {'groups':>6} {'kernels':>7} "
    f"{'sched':>5} {'find':>4} {'emul':>4}  numbers (worst difference as share of the allowed)"
)


def _line(row: Row) -> str:
    if row["error"]:
        return f"{row['model']:<28} {row['target']:<14} {row['error']}"
    worst = f"{row['worst_of_allowed']:.3f} of {row['values']} values, " if "worst_of_allowed" in row else ""
    caught = f"; {row['caught']:.1e} is noticed" if "caught" in row else ""
    host = f"; on the host: {', '.join(row['host_ops'])}" if row["host_ops"] else ""
    timed = "; floats timed as int8" if row["timed_as"] != "as it is" else ""
    return (
        f"{row['model']:<28} {row['target']:<14} {row['gmacs']:>7.3f} {row['structured_share']:>7.1%} "
        f"{row['ops']:>5} {row['groups']:>6} {row['kernels']:>7} {row['schedules']:>5} {row['findings']:>4} "
        f"{row['emulated']:>4}  {worst}{row['numbers']}{caught}{timed}{host}"
    )
