"""The hardware bench: what fusion is worth on which chip, and whether few big cores beat many small ones.

fusion   every op a kernel of its own, elementwise epilogues fused (-O0), and groups chosen by price (`tune
         run`), on ascend910 and on the same cores behind the launches and bandwidths of a GPU
cores    ascend910's peak cut into 128, 32, 8 and 2 cores; everything else that is a core's own scales along

Every kernel runs at its guess, the lowest draft that a small search finds; latencies are of whole Programs on
the simulator. Nothing is measured on silicon.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import exp, log
from pathlib import Path
from typing import Any

from benchmarks.journal import Journal
from benchmarks.networks.files import Network, light_networks, load_bound, networks_of
from benchmarks.networks.hardware_plots import draw_cores, draw_fusion
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.lowering.pipeline import Plan, compile_graph, plan_graph, schedule_of
from tilewright.compiler_core.target_model.file import load_target
from tilewright.compiler_core.target_model.target import CubeUnit, Target
from tilewright.compiler_core.transforms.fuse import FusionPolicy
from tilewright.measure.simulator.program import ProgramTiming, simulate_program
from tilewright.search_space.codec import tiling_of
from tilewright.tuner.kernel.task import KernelTask
from tilewright.tuner.planning.planner import Planner
from tilewright.tuner.planning.prices import Prices

BASE = "ascend910"
EDGES = (8, 16, 32, 64)
"""Rows and columns of the cubes compared; 16 is what ascend910 has."""
QUICK = ("light_squeezenet", "light_resnet50")
KEY = ("network", "chip")
Row = dict[str, Any]


def gpu_like(base: Target) -> Target:
    """`base` with the launch and the shared bandwidths of a GPU; cores, L1 and capacities stay.

    Launch 5 us: assumed, the order of what a launch from the host costs on a V100. LLB 2155 GB/s and DRAM
    900 GB/s: a V100's L2 and HBM2 (Jia et al., "Dissecting the NVIDIA Volta GPU architecture via
    microbenchmarking", 2018): 2.4 to 1, where ascend910 has 3.3 to 1.
    """
    return replace(
        base,
        name=f"{base.name}_gpu_like",
        llb=replace(base.llb, gbps=2155.0),
        dram=replace(base.dram, gbps=900.0),
        overheads=replace(base.overheads, launch_us=5.0),
    )


def with_cube_edge(base: Target, edge: int) -> Target:
    """`base` with cubes of `edge` rows and columns, as many cores fewer as a cube has MACs more.

    L1, accumulators, vector width, DMA width and outstanding bursts scale with the cube, so that the chip's
    totals stay, and so does the depth k. Latencies, set-up, start-up, barriers and energies stay too. That
    favours the extremes: many cores would meet later and over a wider mesh, a big L1 would answer later.
    """
    matrix = base.matrix
    if not isinstance(matrix, CubeUnit):
        raise TypeError(f"{base.name} has no cube")
    share = (edge / matrix.shapes[0].n) ** 2
    shapes = tuple(replace(shape, m=edge, n=edge) for shape in matrix.shapes)
    return replace(
        base,
        name=f"{int(base.cores / share)}x{edge}x{edge}x{shapes[0].k}",
        cores=int(base.cores / share),
        l1_kib=int(base.l1_kib * share),
        accumulator_kib=int(base.accumulator_kib * share),
        matrix=replace(matrix, shapes=shapes),
        vector=replace(base.vector, bits=int(base.vector.bits * share)),
        dma=replace(
            base.dma,
            bytes_per_cycle=base.dma.bytes_per_cycle * share,
            outstanding=int(base.dma.outstanding * share),
        ),
    )


def bench_hardware(
    folder: Path | None = None,
    *,
    quick: bool = False,
    seed: int = 0,
    journal: Path | None = None,
    plots: Path | None = None,
    say: Callable[[str], None] = print,
) -> Row:
    """`{bench, target_digest, summary, rows}` over the networks of `folder` and those of the onnx package.

    `quick` takes two networks. `plots` is a folder that gets fusion.svg and core_size.svg. Rows in `journal`
    are not made again.
    """
    base = load_target(BASE)
    networks = [n for n in light_networks() if not quick or n.path.stem in QUICK]
    if folder is not None and not quick:
        networks += networks_of(folder)
    chips = [base, gpu_like(base), *(with_cube_edge(base, edge) for edge in EDGES if edge != 16)]
    kept = Journal(journal, {"chips": [chip.digest for chip in chips], "seed": seed}, KEY)
    rows = [row for network in networks for row in _rows(network, chips, seed, kept, say)]
    if plots is not None:
        plots.mkdir(parents=True, exist_ok=True)
        draw_fusion(rows, plots / "fusion.svg")
        draw_cores(rows, BASE, plots / "core_size.svg")
    return {
        "bench": "hardware",
        "target_digest": base.digest,
        "summary": summary_of(rows),
        "rows": rows,
    }


def _rows(
    network: Network, chips: Sequence[Target], seed: int, kept: Journal, say: Callable[[str], None]
) -> list[Row]:
    rows = []
    graph: Graph | None = None
    for chip in chips:
        key = {"network": network.path.stem, "chip": chip.name}
        row = kept.row(key)
        if row is None:
            graph = graph or load_bound(network).graph
            row = key | fused_and_not(graph, chip, seed)
            kept.add(row)
        rows.append(row)
        say("  ".join(f"{name} {value}" for name, value in row.items()))
    return rows


def fused_and_not(graph: Graph, target: Target, seed: int) -> Row:
    """Latencies of a network with every op a kernel, with epilogues fused, and with groups by price.

    As in `tune run`, groups by price are an offer: `fused_us` is never above `epilogues_us`.
    """
    begin = time.process_time()
    prices = Prices(target, seed)
    base = plan_graph(graph, target)
    alone = plan_graph(graph, target, FusionPolicy(epilogues=False))
    merged = Planner(base, target, prices).replan()
    unfused, epilogues, offered = (at_guesses(plan, prices) for plan in (alone, base, merged))
    fused, plan = min(((offered, merged), (epilogues, base)), key=lambda pair: pair[0].latency_us)
    return {
        "cores": target.cores,
        "unfused_us": unfused.latency_us,
        "epilogues_us": epilogues.latency_us,
        "fused_us": fused.latency_us,
        "unfused_kernels": len(alone.groups),
        "fused_kernels": len(plan.groups),
        "unfused_dram_bytes": unfused.work.dram_bytes,
        "fused_dram_bytes": fused.work.dram_bytes,
        "fused_energy_uj": fused.energy_uj,
        "seconds": round(time.process_time() - begin, 2),
    }


def at_guesses(plan: Plan, prices: Prices) -> ProgramTiming:
    """A plan compiled with every kernel at its guess, and simulated whole."""
    chosen = {}
    for kernel in plan.kernels:
        if kernel is not None:
            guess, regions = prices.priced(kernel.workload).guess, plan.regions[kernel.workload.digest]
            config = guess or KernelTask(regions, prices.target).default
            chosen[kernel.workload.digest] = tiling_of(config, regions)
    program = compile_graph(plan.graph, schedule_of(plan, chosen), prices.target, plan)
    return simulate_program(program, plan.graph, prices.target)


def summary_of(rows: Sequence[Row]) -> Row:
    """What fusion divides latencies by, and what each cut of the chip multiplies them by: geometric means."""
    found = {}
    for chip in (BASE, f"{BASE}_gpu_like"):
        own = [row for row in rows if row["chip"] == chip]
        for name in ("epilogues_us", "fused_us"):
            gains = [row["unfused_us"] / row[name] for row in own]
            found[f"{chip}_unfused_over_{name[:-3]}"] = _figure(_geomean(gains))
        found[f"{chip}_least_gain"] = _figure(min(row["unfused_us"] / row["fused_us"] for row in own))
    at = {(row["network"], row["chip"]): row for row in rows}
    for chip in dict.fromkeys(row["chip"] for row in rows):
        if chip.startswith(BASE):
            continue
        for name in ("epilogues_us", "fused_us", "fused_energy_uj"):
            ratios = [row[name] / at[n, BASE][name] for (n, own), row in at.items() if own == chip]
            found[f"{chip}_{name}_ratio"] = _figure(_geomean(ratios))
    return found


def _geomean(ratios: Sequence[float]) -> float:
    return exp(sum(map(log, ratios)) / len(ratios))


def _figure(value: float) -> Row:
    return {"value": round(value, 4), "goal": None, "ok": True}
