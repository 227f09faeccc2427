"""The data of a tuned network's pictures: times of stages, places in the LLB, and each kernel's work. Plain
JSON, so that drawing needs no compiler.
"""

from math import isfinite
from typing import Any

from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.lowering.memory.placement import lifetimes
from tilewright.compiler_core.lowering.pipeline import Plan
from tilewright.compiler_core.lowering.program import HostCall, KernelCall, Program
from tilewright.compiler_core.target_model.target import Target
from tilewright.measure.simulator.program import ProgramTiming, StageTiming, simulate_program
from tilewright.measure.simulator.tables.layout import ENGINE_NAMES
from tilewright.tuner.verbs.answers import CompiledNetwork
from tilewright.tuner.verbs.search_pictures import latest_run, search_of

VERSION = 1


def pictures_of(compiled: CompiledNetwork) -> dict[str, Any]:
    """The pictures of a compiled network, and of the run that tuned it: see `draw` and `search_of`."""
    plan, chip, records = compiled.assignment.plan, compiled.opened.target, compiled.opened.records
    run = latest_run(records.repository, records.key(records.network.digest))
    trials = [] if run is None else records.repository.trials_of_run(run.uid)
    search = search_of(trials, plan.regions, plan.names_of_kernels, chip)
    return {**draw(compiled.program, plan, chip), "search": search}


def draw(program: Program, plan: Plan, chip: Target) -> dict[str, Any]:
    """Stages with times in microseconds (`busy` is that of each engine, summed over cores), values with
    offsets in bytes, and the peaks of the target.

    Times are those of the nominal simulator, which need not agree with the device that measured.
    """
    graph = plan.graph
    timing = simulate_program(program, graph, chip)
    stored = chip.dtypes[0][0]
    return {
        "version": VERSION,
        "target": {
            "name": chip.name,
            "cores": chip.cores,
            "macs_per_us": chip.peak_macs_per_cycle(stored) * chip.cycles_per_us,
            "port": "LLB" if _through_llb(chip) else "DRAM",
            "port_bytes_per_us": (chip.llb if _through_llb(chip) else chip.dram).gbps * 1e3,
            "llb_bytes": chip.llb_bytes,
        },
        "stages": _stages(program, timing, graph, chip),
        "graph": _graph(program, timing, graph, chip),
        "values": _values(program, plan, chip),
        "arena_bytes": program.llb_bytes,
        "latency_us": timing.latency_us,
    }


def _stages(program: Program, timing: ProgramTiming, graph: Graph, chip: Target) -> list[dict[str, Any]]:
    per_us = chip.cycles_per_us
    return [
        {
            "name": " | ".join(_name(call, graph) for call in calls),
            "start_us": stage.start_cycle / per_us,
            "end_us": (stage.start_cycle + stage.cycles) / per_us,
            "macs": _macs(stage),
            "port_bytes": stage.work.llb_bytes if _through_llb(chip) else stage.work.dram_bytes,
            "cores": sum(call.cores.count for call in calls if isinstance(call, KernelCall)),
            "busy": {
                engine: cycles / per_us
                for engine, cycles in zip(ENGINE_NAMES, stage.work.busy_cycles, strict=True)
            },
        }
        for calls, stage in zip(program.stages, timing.stages, strict=True)
    ]


def _graph(program: Program, timing: ProgramTiming, graph: Graph, chip: Target) -> dict[str, Any]:
    """Every call of the Program in order, its time, and the calls whose values it reads."""
    kernels: list[dict[str, Any]] = []
    edges: set[tuple[int, int]] = set()
    made: dict[int, int] = {}
    for number, (calls, stage) in enumerate(zip(program.stages, timing.stages, strict=True)):
        for call, span in zip(calls, stage.spans, strict=True):
            host = isinstance(call, HostCall)
            if isinstance(call, HostCall):
                op = graph.ops[call.op]
                ops, read, stored = [call.op], [access.value for access in op.operands], [op.result]
            else:
                ops = list(call.kernel.ops)
                inner = call.kernel.workload.graph
                read = [call.kernel.values[value] for value in inner.inputs]
                stored = [call.kernel.values[value] for value in inner.outputs]
            edges.update((made[value], len(kernels)) for value in read if value in made)
            made.update((value, len(kernels)) for value in stored)
            cycles = stage.span_cycles if span is None else span.cycles
            kernels.append(
                {
                    "name": graph.kernel_name(ops),
                    "nodes": [node.path or node.op_type for node in graph.nodes_of(ops)],
                    "stage": number,
                    "us": cycles / chip.cycles_per_us,
                    "host": host,
                    "workload": "" if isinstance(call, HostCall) else call.kernel.workload.digest,
                }
            )
    return {"kernels": kernels, "edges": sorted(edges)}


def _through_llb(chip: Target) -> bool:
    """Whether kernels move their data through an LLB with a bandwidth of its own."""
    return chip.llb_bytes > 0 and isfinite(chip.llb.gbps)


def _macs(stage: StageTiming) -> int:
    return sum(count for _, count in stage.work.macs)


def _name(call: KernelCall | HostCall, graph: Graph) -> str:
    if isinstance(call, HostCall):
        return f"host {graph.kernel_name([call.op])}"
    return graph.kernel_name(call.kernel.ops)


def _values(program: Program, plan: Plan, chip: Target) -> list[dict[str, Any]]:
    lives = lifetimes(plan.graph, plan.groups, plan.stage_of, chip)
    return [
        {
            "name": plan.graph.name_of(life.value),
            "offset": program.offsets[life.value],
            "bytes": life.size_bytes,
            "first": life.born,
            "last": life.dies,
        }
        for life in lives
        if life.value in program.offsets
    ]
