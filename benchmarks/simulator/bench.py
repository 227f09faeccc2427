"""The simulator bench: exact folds, speed, and how well the draft ranks what the timeline says.

folds    compute_cycles of every row of scalesim.csv, through Program and timeline
totals   total_cycles of its rows with a bandwidth; version 3.0.0 counts some stalls twice and is not judged
speed    timelines, Configs and whole networks, in processor time of one core
vela     the best of a fixed number of trials beside every row of vela.csv, on the Ethos presets
zigzag   the same beside every layer of zigzag.csv, on ZigZag's two accelerators; no goal
peers    seconds of SCALE-Sim and ZigZag over ours, layer by layer, where an environment has them
draft    Spearman's rho of draft and simulated time over random Configs of ten kernels; the skewed chip
         has its assumed numbers drawn anew, and banks that conflict
"""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from benchmarks.networks.files import light_networks, load_bound
from benchmarks.simulator import peers as peer_simulators
from benchmarks.simulator import vela, zigzag
from benchmarks.simulator.scalesim import compute_cycles, product, read_rows, total_cycles
from tilewright.compiler_core.errors import UsageError
from tilewright.compiler_core.ir.workload import kernel_of
from tilewright.compiler_core.lowering.lower import lower_kernel
from tilewright.compiler_core.lowering.pipeline import Plan, compile_graph, default_schedule, plan_graph
from tilewright.compiler_core.lowering.program import KernelProgram
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.lowering.schedule import Tiling
from tilewright.compiler_core.target_model.file import load_target
from tilewright.compiler_core.target_model.target import Target
from tilewright.measure.simulator.device import SimulatedDevice
from tilewright.measure.simulator.kernel import NO_CONFLICTS, active_cores, simulate_kernel, span_of
from tilewright.measure.simulator.program import simulate_program
from tilewright.measure.simulator.skew import skewed, skewed_conflicts
from tilewright.measure.simulator.tables.flatten import Surroundings, flatten
from tilewright.search_space.moves import sample
from tilewright.tuner.kernel.task import kernel_tasks

TARGET = "ascend910"
NETWORK = "light_resnet50"
RANKED = ("light_resnet50", "light_shufflenet")
"""Networks whose kernels are ranked, KERNELS of each, spread over its length."""
JUDGED = "2.0.2"
"""The version of SCALE-Sim whose totals are held against ours."""
KERNELS, CONFIGS, QUICK_CONFIGS = 5, 500, 100
REPEATS, QUICK_REPEATS = 15, 5
Row = dict[str, Any]


def bench_simulator(
    reference: Path,
    *,
    quick: bool = False,
    seed: int = 0,
    peers: Path | None = None,
    say: Callable[[str], None] = print,
) -> Row:
    """`{bench, target_digest, summary, rows}`; `quick` repeats less.

    `reference` holds scalesim.csv, and perhaps vela.csv and zigzag.csv. `peers` is the interpreter of an
    environment that has SCALE-Sim and ZigZag.
    """
    layers = reference / "scalesim.csv"
    if not layers.exists():
        raise UsageError(f"{layers} is missing; give --reference the folder that holds scalesim.csv")
    target = load_target(TARGET)
    plans = {
        network.path.stem: plan_graph(load_bound(network).graph, target)
        for network in light_networks()
        if network.path.stem in (NETWORK, *RANKED)
    }
    rows: list[Row] = []
    for row in (
        *_folds(layers),
        *_totals(layers),
        *_speed(plans[NETWORK], target, QUICK_REPEATS if quick else REPEATS, seed),
        *_others(reference, seed, quick=quick),
        *(peer_simulators.compare(peers, seed, quick=quick) if peers else ()),
        *_ranks(plans, target, QUICK_CONFIGS if quick else CONFIGS, seed),
    ):
        rows.append({"seed": seed, **row})
        if row["task"] not in ("folds", "totals") or not row["ok"]:
            say("  ".join(f"{key} {value}" for key, value in row.items()))
    return {
        "bench": "simulator",
        "target": target.name,
        "target_digest": target.digest,
        "summary": _summary(rows),
        "rows": rows,
    }


def _others(reference: Path, seed: int, *, quick: bool) -> Iterator[Row]:
    for name, compare in (("vela.csv", vela.compare), ("zigzag.csv", zigzag.compare)):
        if (reference / name).exists():
            yield from compare(reference / name, seed, quick=quick)


def _folds(path: Path) -> Iterator[Row]:
    for row in read_rows(path):
        key = "/".join(row[name] for name in ("version", "mode", "dataflow", "rows", "cols", "layer"))
        got, wanted = compute_cycles(row), int(row["compute_cycles"])
        yield {"task": "folds", "method": key, "cycles": got, "reference": wanted, "ok": got == wanted}


def _totals(path: Path) -> Iterator[Row]:
    for row in read_rows(path):
        if row["mode"] == "USER":
            key = "/".join(row[name] for name in ("version", "dataflow", "rows", "cols", "layer"))
            key += f"/{row['sram_kb_if_fi_of'].split('/')[0]} KiB/{row['bw_words_per_cycle']} words"
            got, wanted = total_cycles(row), int(row["total_cycles"])
            judged = row["version"] == JUDGED
            yield {
                "task": "totals",
                "method": key,
                "cycles": got,
                "reference": wanted,
                "error": round(got / wanted - 1, 4),
                "judged": judged,
                "ok": not judged or abs(got / wanted - 1) <= 0.05,
            }


def _speed(plan: Plan, target: Target, repeats: int, seed: int) -> Iterator[Row]:
    thousand, two_thousand = _tiled(1000, target), _tiled(2000, target)
    once = [_walks_s(program, target, repeats) for program in (thousand, two_thousand)]
    yield {"task": "speed", "method": "timelines_per_s", "value": 1 / once[0]}
    yield {"task": "speed", "method": "time_of_twice_the_tiles", "value": once[1] / once[0]}
    whole = _median_s(lambda: simulate_kernel(thousand, target), repeats, 50)
    yield {"task": "speed", "method": "kernels_per_s", "value": 1 / whole}
    yield {"task": "speed", "method": "configs_per_s", "value": _configs_per_s(plan, target, repeats, seed)}
    program = compile_graph(plan.graph, default_schedule(plan, target), target, plan)
    network = _median_s(lambda: simulate_program(program, plan.graph, target), repeats, 1)
    yield {"task": "speed", "method": f"{NETWORK}_ms", "value": network * 1e3}


def _tiled(tiles: int, target: Target) -> KernelProgram:
    """A matrix product of `tiles` tiles on one core."""
    graph = product(64 * tiles, 256, 64)
    regions = Regions(kernel_of(graph, [0], {}).workload)
    return lower_kernel(regions, Tiling((64, 64), (256,), (0, 1)), 1, target)


def _walks_s(program: KernelProgram, target: Target, repeats: int) -> float:
    """Seconds of one timeline of a kernel whose costs are laid out."""
    flat = flatten(program, target, Surroundings(active_cores(program), target.llb_bytes, (), NO_CONFLICTS))
    return _median_s(lambda: span_of(program, flat, target), repeats, 200)


def _configs_per_s(plan: Plan, target: Target, repeats: int, seed: int) -> float:
    """Config to result: lower, simulate, energy, peaks; over all kernels of the network."""
    device = SimulatedDevice(target)
    rng = np.random.default_rng([seed, 2])
    work = []
    for task in kernel_tasks(plan, target):
        rows = sample(task.space, 16, rng, attempts=16)
        work.append((task.workload, [task.space.decode(row) for row in rows]))
    count = sum(len(configs) for _, configs in work)

    def measure_all() -> None:
        for workload, configs in work:
            device.measure(workload, configs)

    return count / _median_s(measure_all, max(3, repeats // 3), 1)


def _median_s(work: Callable[[], object], repeats: int, inner: int) -> float:
    """Median processor seconds of one call, after one that warms up."""
    work()
    times = []
    for _ in range(repeats):
        start = time.thread_time()
        for _ in range(inner):
            work()
        times.append((time.thread_time() - start) / inner)
    return statistics.median(times)


def _ranks(plans: Mapping[str, Plan], target: Target, configs: int, seed: int) -> Iterator[Row]:
    chosen = []
    for network in RANKED:
        tasks = kernel_tasks(plans[network], target)
        chosen += [
            (network, tasks[index])
            for index in np.linspace(0, len(tasks), KERNELS, endpoint=False).astype(int)
        ]
    chips = {
        "nominal": SimulatedDevice(target),
        "skewed": SimulatedDevice(target, truth=skewed(target, seed), conflicts=skewed_conflicts(seed)),
    }
    for number, (network, task) in enumerate(chosen):
        rows = sample(task.space, configs, np.random.default_rng([seed, 3, number]))
        draft = task.model.draft_log(rows)
        decoded = [task.space.decode(row) for row in rows]
        for method, device in chips.items():
            measured = [answer.latency_us for answer in device.measure(task.workload, decoded)]
            yield {
                "task": "draft",
                "method": method,
                "network": network,
                "kernel": task.digest[:16],
                "ops": " ".join(op.kind for op in task.workload.graph.ops),
                "configs": len(rows),
                "rho": round(float(spearmanr(draft, measured).statistic), 4),
            }


def _summary(rows: Sequence[Row]) -> Row:
    folds = [row["ok"] for row in rows if row["task"] == "folds"]
    found: Row = {"folds_exact": _figure(sum(folds) / max(1, len(folds)), 1.0, bool(folds) and all(folds))}
    found |= _total_errors([row for row in rows if row["task"] == "totals"])
    found |= _agreement([row for row in rows if row["task"] == "vela"])
    ratios = [row["ratio"] for row in rows if row["task"] == "zigzag"]
    if ratios:
        for name, value in (
            ("least", min(ratios)),
            ("median", statistics.median(ratios)),
            ("most", max(ratios)),
        ):
            found[f"zigzag_ratio_{name}"] = _figure(value, None, True)
    for tool in dict.fromkeys(row["method"] for row in rows if row["task"] == "peers"):
        ratios = [row["ratio"] for row in rows if row["task"] == "peers" and row["method"] == tool]
        found[f"speed_over_{tool.replace(' ', '_')}_median"] = _figure(statistics.median(ratios), None, True)
    speed = {row["method"]: row["value"] for row in rows if row["task"] == "speed"}
    for name, least in (("timelines_per_s", 10_000), ("configs_per_s", 2_000)):
        found[name] = _figure(speed[name], least, speed[name] >= least)
    for name, most in (("time_of_twice_the_tiles", 1.2), (f"{NETWORK}_ms", 30.0)):
        found[name] = _figure(speed[name], most, speed[name] <= most)
    found["kernels_per_s"] = _figure(speed["kernels_per_s"], None, True)
    for method in ("nominal", "skewed"):
        rho = [row["rho"] for row in rows if row["task"] == "draft" and row["method"] == method]
        found[f"draft_rho_{method}_median"] = _figure(statistics.median(rho), None, True)
        found[f"draft_rho_{method}_least"] = _figure(min(rho), None, True)
    return found


def _total_errors(rows: Sequence[Row]) -> Row:
    found: Row = {}
    for version in sorted({row["method"].split("/")[0] for row in rows}):
        own = [row for row in rows if row["method"].startswith(f"{version}/")]
        errors = np.array([abs(row["error"]) for row in own])
        judged = own[0]["judged"]
        for within, goal in ((0.05, 0.75), (0.2, 0.95)):
            share = float(np.mean(errors <= within))
            name = f"scalesim_{version}_totals_within_{within:.0%}"
            found[name] = _figure(share, goal if judged else None, not judged or share >= goal)
        for name, share in (("median", 0.5), ("p90", 0.9)):
            found[f"scalesim_{version}_totals_error_{name}"] = _figure(
                float(np.quantile(errors, share)), None, True
            )
    return found


def _agreement(rows: Sequence[Row]) -> Row:
    """Errors over all rows of vela.csv, and how well each accelerator's rows are ranked."""
    if not rows:
        return {}
    errors = [abs(row["ratio"] - 1.0) for row in rows]
    median, tenth = (float(np.quantile(errors, share)) for share in (0.5, 0.9))
    found: Row = {
        "vela_error_median": _figure(median, 0.15, median <= 0.15),
        "vela_error_p90": _figure(tenth, 0.3, tenth <= 0.3),
    }
    for accelerator in sorted({row["accelerator"] for row in rows}):
        own = [row for row in rows if row["accelerator"] == accelerator]
        rho = float(spearmanr([row["cycles"] for row in own], [row["reference"] for row in own]).statistic)
        found[f"vela_rho_{accelerator}"] = _figure(rho, 0.95, rho >= 0.95)
    return found


def _figure(value: float, goal: float | None, ok: bool) -> Row:
    return {"value": round(value, 4), "goal": goal, "ok": ok}
