"""The timeline of a Program as slices on tracks, and as a Chrome/Perfetto trace.

Each kernel shows the core that took longest, one track an engine. A slice is an instruction with its bytes or
work, or a gap with the cause of the wait.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.lowering.program import HostCall, KernelCall, Program
from tilewright.compiler_core.lowering.steps import Action
from tilewright.compiler_core.target_model.target import Target
from tilewright.measure.simulator.cores import record_core
from tilewright.measure.simulator.kernel import KernelSpan
from tilewright.measure.simulator.program import ProgramTiming
from tilewright.measure.simulator.tables.flatten import FlatKernel, Surroundings, flatten
from tilewright.measure.simulator.tables.layout import (
    BUSY,
    CAUSE_NAMES,
    ENGINE,
    ENGINE_NAMES,
    EVENT_CAUSE,
    EVENT_ENTRY,
    EVENT_SERIAL,
    EVENT_STALL,
    EVENT_START,
    EVENT_STEP,
    EVENT_TILE,
    FAR_SIZE,
    LANE_WORK,
    MACS,
    NO_ENGINE,
    NO_EVENT,
    SIZE,
)

STAGES = "stages"
HOST = "host"
MOST_INSTRUCTIONS = 4096


@dataclass(frozen=True)
class Slice:
    """A stretch of time on a track: `track` is an engine, STAGES or HOST, on the cores of `lane`.

    `stall` names what an idle engine waited for; empty for work. `detail` has numbers for a tooltip.
    """

    lane: str
    track: str
    name: str
    start_cycle: int
    cycles: int
    stall: str = ""
    detail: tuple[tuple[str, int | str], ...] = ()


def slices_of(
    program: Program,
    timing: ProgramTiming,
    graph: Graph,
    target: Target,
    most_instructions: int = MOST_INSTRUCTIONS,
) -> Iterator[Slice]:
    """All slices of `timing` of `program`, at most `most_instructions` of a kernel, stage by stage."""
    for number, (stage, timed) in enumerate(zip(program.stages, timing.stages, strict=True)):
        at = timed.start_cycle
        yield Slice("chip", STAGES, f"launch {number}", at, target.launch_cycles, "launch")
        at += target.launch_cycles
        detail = (("prefetched_bytes", timed.prefetched_bytes), ("dram_bytes", timed.work.dram_bytes))
        yield Slice("chip", STAGES, f"stage {number}", at, timed.span_cycles, detail=detail)
        for call, span, surroundings in zip(stage, timed.spans, timed.surroundings, strict=True):
            if isinstance(call, HostCall):
                name = graph.kernel_name([call.op])
                yield Slice("host", HOST, f"host op {name}", at, timed.span_cycles)
            elif span is not None and surroundings is not None:
                core = call.cores.first + span.core
                lane = f"cores {call.cores.first}-{call.cores.first + call.cores.count - 1}"
                kernel = graph.kernel_name(call.kernel.ops)
                yield Slice(lane, "kernel", kernel, at, span.cycles, detail=_summary(call, core, span))
                yield from _instructions(
                    call, lane, at, span.core, surroundings, graph, target, most_instructions
                )
        barrier = target.overheads.barrier_cycles
        yield Slice("chip", STAGES, f"barrier {number}", at + timed.span_cycles, barrier, "barrier")


def _summary(call: KernelCall, core: int, span: KernelSpan) -> tuple[tuple[str, int | str], ...]:
    """A kernel's work and traffic over all its cores, and the core that the tracks show."""
    work = span.work
    return (
        ("ops", " ".join([op.kind for op in call.kernel.workload.graph.ops])),
        ("tiles", call.program.parallel_tiles * call.program.serial_steps),
        ("llb_bytes", work.llb_bytes),
        ("dram_bytes", work.dram_bytes),
        ("macs", sum([count for _, count in work.macs])),
        ("slowest_core", core),
        ("port_stall_cycles", span.port_stall_cycles),
    )


def _instructions(
    call: KernelCall,
    lane: str,
    at: int,
    core: int,
    surroundings: Surroundings,
    graph: Graph,
    target: Target,
    most: int,
) -> Iterator[Slice]:
    flat = flatten(call.program, target, surroundings)
    names = [_step_name(call, number, graph) for number in range(len(call.program.steps))]
    for event in _events(call, flat, core, most):
        step, entry = event[EVENT_STEP], event[EVENT_ENTRY]
        engine, busy = int(flat.nest.steps[step, ENGINE]), int(flat.nest.costs[entry, BUSY])
        if engine == NO_ENGINE or busy == 0:
            continue
        track, start = ENGINE_NAMES[engine], at + event[EVENT_START]
        if event[EVENT_STALL] > 0:
            cause = CAUSE_NAMES[event[EVENT_CAUSE]]
            begin = start - event[EVENT_STALL]
            yield Slice(lane, track, f"waits for {cause}", begin, event[EVENT_STALL], cause)
        detail: list[tuple[str, int | str]] = [("tile", event[EVENT_TILE]), ("step", event[EVENT_SERIAL])]
        for label, column in (
            ("bytes", SIZE),
            ("far_bytes", FAR_SIZE),
            ("macs", MACS),
            ("lane_ops", LANE_WORK),
        ):
            if flat.nest.costs[entry, column]:
                detail.append((label, int(flat.nest.costs[entry, column])))
        yield Slice(lane, track, names[step], start, busy, detail=tuple(detail))


def _events(call: KernelCall, flat: FlatKernel, core: int, most: int) -> list[list[int]]:
    run = call.program.tiles_of(core)
    events = record_core(run.start, run.stop, flat.nest, most)
    listed: list[list[int]] = events[events[:, EVENT_STEP] != NO_EVENT].tolist()
    return listed


def _step_name(call: KernelCall, number: int, graph: Graph) -> str:
    step = call.program.steps[number]
    local = call.program.buffers[step.buffer].value
    name = graph.name_of(call.kernel.values[local])
    kind = (
        call.kernel.workload.graph.ops[step.op].kind if step.action is Action.COMPUTE else step.action.value
    )
    return f"{kind} {name}"


def chrome_trace(slices: Iterator[Slice], target: Target) -> dict[str, Any]:
    """Slices as a Chrome trace object (microseconds), which Perfetto and chrome://tracing open."""
    processes: dict[str, int] = {}
    threads: dict[tuple[str, str], int] = {}
    events: list[dict[str, Any]] = []
    for piece in slices:
        if piece.cycles <= 0:
            continue
        pid = processes.setdefault(piece.lane, len(processes) + 1)
        if (piece.lane, piece.track) not in threads:
            threads[piece.lane, piece.track] = _order(piece.track)
        events.append(
            {
                "name": piece.name,
                "cat": "stall" if piece.stall else piece.track,
                "ph": "X",
                "ts": piece.start_cycle / target.cycles_per_us,
                "dur": piece.cycles / target.cycles_per_us,
                "pid": pid,
                "tid": threads[piece.lane, piece.track],
                "args": {"cycles": piece.cycles, **dict(piece.detail)},
            }
        )
    titles = [_title("process_name", pid, 0, lane) for lane, pid in processes.items()]
    titles += [_title("thread_name", processes[lane], tid, track) for (lane, track), tid in threads.items()]
    return {"traceEvents": titles + events, "displayTimeUnit": "ns", "otherData": {"target": target.name}}


_TRACKS = (STAGES, HOST, "kernel", *ENGINE_NAMES)


def _order(track: str) -> int:
    return _TRACKS.index(track) + 1


def _title(kind: str, pid: int, tid: int, name: str) -> dict[str, Any]:
    return {"name": kind, "ph": "M", "pid": pid, "tid": tid, "args": {"name": name}}
