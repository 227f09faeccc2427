"""What there is to draw of a tuned network: when each stage runs, what lies where in the LLB, and each
kernel's work. Plain JSON, so that whoever draws needs no compiler.
"""

from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any

from compiler_core.graph import Graph
from compiler_core.onnx_import.importer import import_model
from compiler_core.pipeline import Plan, compile_graph, plan_graph, schedule_of
from compiler_core.placement import lifetimes
from compiler_core.program import HostCall, KernelCall, Program
from compiler_core.target import Target
from compiler_core.target_file import load_target
from measure.simulator.program import ProgramTiming, StageTiming, simulate_program
from search_space.codec import tiling_of
from search_space.knobs import Config
from tuner.report import Report

VERSION = 1


def pictures_of(
    model: Path, target: str | Path, dims: Mapping[str, int] | None, report: Report
) -> dict[str, Any]:
    """Stages with times in microseconds, values with offsets in bytes, and the peaks of the target.

    The Program is compiled again from the kernels of `report` and timed by the nominal simulator, which need
    not agree to the last digit with the device that measured.
    """
    chip = load_target(target)
    graph = import_model(model, dims).graph
    plan = plan_graph(graph, chip)
    configs = {kernel.workload_digest: Config(tuple(kernel.config.items())) for kernel in report.kernels}
    chosen = {digest: tiling_of(configs[digest], regions) for digest, regions in plan.regions.items()}
    program = compile_graph(graph, schedule_of(plan, chosen), chip, plan)
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
        }
        for calls, stage in zip(program.stages, timing.stages, strict=True)
    ]


def _through_llb(chip: Target) -> bool:
    """Whether kernels move their data through an LLB with a bandwidth of its own."""
    return chip.llb_bytes > 0 and isfinite(chip.llb.gbps)


def _macs(stage: StageTiming) -> int:
    return sum(count for _, count in stage.work.macs)


def _name(call: KernelCall | HostCall, graph: Graph) -> str:
    if isinstance(call, HostCall):
        return f"host {graph.ops[call.op].kind}"
    return " + ".join(op.kind for op in call.kernel.workload.graph.ops)


def _values(program: Program, plan: Plan, chip: Target) -> list[dict[str, Any]]:
    lives = lifetimes(plan.graph, plan.groups, range(len(plan.groups)), chip)
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
