"""simulate_program: the stages of a Program one after the other, with constants fetched ahead."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf

from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.ir.workload import Level
from tilewright.compiler_core.lowering.host_time import host_op_cycles, link_bytes
from tilewright.compiler_core.lowering.memory.placement import stored_bytes
from tilewright.compiler_core.lowering.program import HostCall, KernelCall, KernelProgram, Program
from tilewright.compiler_core.target_model.target import Target
from tilewright.measure.simulator.energy import Work, energy_uj, sum_of_work
from tilewright.measure.simulator.kernel import NO_CONFLICTS, KernelSpan, active_cores, port_cycles, span_of
from tilewright.measure.simulator.prefetch import Constant, Prefetcher
from tilewright.measure.simulator.tables.flatten import Conflicts, Surroundings, flatten

Call = KernelCall | HostCall


@dataclass(frozen=True)
class StageTiming:
    """One stage: launch, its calls side by side, barrier; `cycles` counts all, `span_cycles` the calls.

    `spans` and `surroundings` have an entry a call, None for a host op. `prefetched_bytes` of constants of
    later stages came into the LLB meanwhile, beside the DRAM bytes of `work`; `resident_bytes` of operands
    stayed in it.
    """

    start_cycle: int
    cycles: int
    span_cycles: int
    spans: tuple[KernelSpan | None, ...]
    surroundings: tuple[Surroundings | None, ...]
    work: Work
    resident_bytes: int
    prefetched_bytes: int = 0


@dataclass(frozen=True)
class ProgramTiming:
    """A whole Program. `peak_llb_bytes` is the arena of values between kernels, `peak_l1_bytes` a core's."""

    cycles: int
    latency_us: float
    energy_uj: float
    peak_l1_bytes: int
    peak_llb_bytes: int
    work: Work
    stages: tuple[StageTiming, ...]


def simulate_program(
    program: Program,
    graph: Graph,
    target: Target,
    *,
    conflicts: Conflicts = NO_CONFLICTS,
    prefetch: bool = True,
) -> ProgramTiming:
    """Time a Program compiled from `graph`.

    Calls of a stage share the ports; a stage ends with its slowest call, or when the ports have moved all
    bytes of all calls. Operands that a stage reads again, and prefetched ones, get the LLB's bytes that no
    live value takes. With `prefetch`, constants come ahead of their stage (see prefetch.py).
    """
    clock = _Clock(program, graph, target, conflicts)
    stages = [clock.time(number, ()) for number in range(len(program.stages))]
    if prefetch:
        stages = _with_prefetch(clock, stages)
    starts = [0]
    for stage in stages:
        starts.append(starts[-1] + stage.cycles)
    ahead = sum([stage.prefetched_bytes for stage in stages])
    fetched = Work(dram_read_bytes=ahead, dram_moved=ahead)
    total = sum_of_work([*[stage.work for stage in stages], fetched])
    latency_us = starts[-1] / target.cycles_per_us
    kernels = [call.program for stage in program.stages for call in stage if isinstance(call, KernelCall)]
    return ProgramTiming(
        cycles=starts[-1],
        latency_us=latency_us,
        energy_uj=energy_uj(total, latency_us, target),
        peak_l1_bytes=max([kernel.l1_bytes for kernel in kernels], default=0),
        peak_llb_bytes=program.llb_bytes,
        work=total,
        stages=tuple(
            [replace(stage, start_cycle=start) for start, stage in zip(starts[:-1], stages, strict=True)]
        ),
    )


class _Clock:
    """Times single stages of one Program, remembering kernels that find the same surroundings again."""

    def __init__(self, program: Program, graph: Graph, target: Target, conflicts: Conflicts) -> None:
        self.program = program
        self.graph = graph
        self.target = target
        self.conflicts = conflicts
        self.rooms = free_llb_bytes(program, graph, target)
        self._known: dict[tuple[KernelProgram, Surroundings], tuple[KernelSpan, int]] = {}

    def time(self, number: int, held: Sequence[tuple[tuple[int, int], ...]]) -> StageTiming:
        """One stage whose call c finds `held[c]` in the LLB (nothing where `held` is empty)."""
        stage = self.program.stages[number]
        sharers = sum([active_cores(call.program) for call in stage if isinstance(call, KernelCall)])
        spans: list[KernelSpan | None] = []
        found: list[Surroundings | None] = []
        works: list[Work] = []
        longest = resident = 0
        for index, call in enumerate(stage):
            if isinstance(call, HostCall):
                works.append(_host_work(call, self.graph, self.target))
                spans.append(None)
                found.append(None)
                longest = max(longest, host_op_cycles(self.graph, self.graph.ops[call.op], self.target))
                continue
            room = max(0, self.rooms[number] - resident)
            there = held[index] if held else ()
            found.append(surroundings := Surroundings(sharers, room, there, self.conflicts))
            span, taken = self._kernel(call.program, surroundings)
            resident += taken
            spans.append(span)
            works.append(span.work)
            longest = max(longest, span.cycles)
        work = sum_of_work(works)
        span_cycles = max(longest, port_cycles(work, self.target))
        cycles = self.target.launch_cycles + span_cycles + self.target.overheads.barrier_cycles
        return StageTiming(0, cycles, span_cycles, tuple(spans), tuple(found), work, resident)

    def _kernel(self, program: KernelProgram, surroundings: Surroundings) -> tuple[KernelSpan, int]:
        key = (program, surroundings)
        if key not in self._known:
            flat = flatten(program, self.target, surroundings)
            self._known[key] = (span_of(program, flat, self.target), flat.resident_bytes)
        return self._known[key]


def _with_prefetch(clock: _Clock, stages: Sequence[StageTiming]) -> list[StageTiming]:
    """Time the stages again that find constants in the LLB, in order: each leaves DRAM time to the next."""
    program, target = clock.program, clock.target
    free = [max(0, room - stage.resident_bytes) for room, stage in zip(clock.rooms, stages, strict=True)]
    ahead = Prefetcher(_constants(clock), free)
    timed: list[StageTiming] = []
    for number, (stage, before) in enumerate(zip(program.stages, stages, strict=True)):
        held = [ahead.held(number, call) for call in range(len(stage))]
        now = clock.time(number, held) if any(held) else before
        timed.append(replace(now, prefetched_bytes=ahead.advance(number, _idle_dram_bytes(now, target))))
    return timed


def free_llb_bytes(program: Program, graph: Graph, target: Target) -> list[int]:
    """Per stage, the bytes of the LLB that hold no value alive in it."""
    used: dict[int, list[int]] = {}
    for number, stage in enumerate(program.stages):
        for call in stage:
            for value in _touched(call, graph):
                if value in program.offsets:
                    used.setdefault(value, []).append(number)
    free = [target.llb_bytes] * len(program.stages)
    for value, stages in used.items():
        for number in range(stages[0], stages[-1] + 1):
            free[number] -= stored_bytes(graph, value, target)
    return free


def _touched(call: Call, graph: Graph) -> Sequence[int]:
    """Values of the graph that a call reads or makes."""
    if isinstance(call, KernelCall):
        return call.kernel.values
    op = graph.ops[call.op]
    return [op.result, *[access.value for access in op.operands]]


def _constants(clock: _Clock) -> list[Constant]:
    """Every constant that a kernel reads through the LLB, in order of use."""
    if clock.target.weights_bypass_llb or clock.target.llb_bytes == 0:
        return []
    return [
        Constant(number, index, value, stored_bytes(clock.graph, call.kernel.values[value], clock.target))
        for number, stage in enumerate(clock.program.stages)
        for index, call in enumerate(stage)
        if isinstance(call, KernelCall)
        for value in call.kernel.workload.graph.inputs
        if call.kernel.workload.level_of(value) is Level.CONSTANT
    ]


def _idle_dram_bytes(stage: StageTiming, target: Target) -> int:
    """Bytes that DRAM could move during a stage besides the stage's own traffic."""
    if target.dram_bytes_per_cycle == inf:
        return 1 << 62
    return max(0, int(stage.cycles * target.dram_bytes_per_cycle) - stage.work.dram_moved)


def _host_work(call: HostCall, graph: Graph, target: Target) -> Work:
    """Bytes of a host op over the link."""
    there, back = link_bytes(graph, graph.ops[call.op], target)
    return Work(host_write_bytes=there, host_read_bytes=back, host_moved=there + back)
