"""simulate_program: the stages of a Program one after the other, with constants fetched ahead."""

from dataclasses import dataclass, field

from compiler_core.graph import Graph
from compiler_core.placement import stored_bytes
from compiler_core.program import HostCall, KernelCall, Program
from compiler_core.target import Target
from compiler_core.workload import Level
from measure.simulator.energy import Work, energy_uj, sum_of_work
from measure.simulator.flatten import Conflicts, Surroundings, flatten
from measure.simulator.kernel import NO_CONFLICTS, KernelSpan, active_cores, port_cycles, span_of


@dataclass(frozen=True)
class StageTiming:
    """One stage: launch, its kernels and host ops side by side, barrier.

    `spans` has an entry a call, None for a host op. `prefetched_bytes` of constants of later stages came into
    the LLB meanwhile.
    """

    start_cycle: int
    cycles: int
    span_cycles: int
    spans: tuple[KernelSpan | None, ...]
    prefetched_bytes: int


@dataclass(frozen=True)
class ProgramTiming:
    """A whole Program. `peak_llb_bytes` is the arena of values between kernels."""

    cycles: int
    latency_us: float
    energy_uj: float
    peak_l1_bytes: int
    peak_llb_bytes: int
    work: Work
    stages: tuple[StageTiming, ...]


@dataclass
class _Prefetch:
    """Constants of the stages to come, in order, and how many bytes of each are in the LLB by now."""

    pending: list[tuple[int, int, int]]
    held: dict[tuple[int, int], int] = field(default_factory=dict)

    def of_stage(self, stage: int) -> dict[int, int]:
        return {value: size for (at, value), size in self.held.items() if at == stage}

    @property
    def bytes_held(self) -> int:
        return sum(self.held.values())

    def release(self, stage: int) -> None:
        """Forget a stage that has run."""
        self.held = {key: size for key, size in self.held.items() if key[0] != stage}
        self.pending = [entry for entry in self.pending if entry[0] > stage]

    def advance(self, stage: int, budget: int, room: int) -> int:
        """Fetch constants of stages after `stage` in order, as far as time and room allow; bytes fetched."""
        fetched = 0
        for at, value, size in self.pending:
            if at <= stage:
                continue
            have = self.held.get((at, value), 0)
            more = min(size - have, budget - fetched, room - fetched)
            if more > 0:
                self.held[at, value] = have + more
                fetched += more
            if have + max(0, more) < size:
                break
        return fetched


def simulate_program(
    program: Program,
    graph: Graph,
    target: Target,
    *,
    conflicts: Conflicts = NO_CONFLICTS,
    prefetch: bool = True,
) -> ProgramTiming:
    """Time a Program compiled from `graph`.

    Kernels of a stage share the ports; a stage ends with its slowest call, or when the ports have moved all
    bytes of all calls. While a stage leaves DRAM idle and the LLB has room beside the arena and what its
    kernels keep there, constants of later stages come in, in order.
    """
    ahead = _Prefetch(_constants(program, graph, target) if prefetch else [])
    room = max(0, target.llb_bytes - program.llb_bytes)
    clock = 0
    stages: list[StageTiming] = []
    works: list[Work] = []
    for number, stage in enumerate(program.stages):
        held = ahead.of_stage(number)
        kept_for_later = ahead.bytes_held - sum(held.values())
        sharers = sum(active_cores(call.program) for call in stage if isinstance(call, KernelCall))
        spans: list[KernelSpan | None] = []
        stage_works: list[Work] = []
        longest = resident = 0
        for call in stage:
            if isinstance(call, HostCall):
                moved = _host_bytes(call, graph, target)
                stage_works.append(moved)
                spans.append(None)
                longest = max(longest, port_cycles(moved, target) + 2 * _link_latency(target))
                continue
            there = tuple(
                (local, held[value]) for local, value in enumerate(call.kernel.values) if value in held
            )
            surroundings = Surroundings(sharers, max(0, room - kept_for_later - resident), there, conflicts)
            flat = flatten(call.program, target, surroundings)
            span = span_of(call.program, flat, target)
            resident += flat.resident_bytes
            spans.append(span)
            stage_works.append(span.work)
            longest = max(longest, span.cycles)
        work = sum_of_work(stage_works)
        span_cycles = max(longest, port_cycles(work, target))
        cycles = target.launch_cycles + span_cycles + target.overheads.barrier_cycles
        idle_bytes = _idle_dram_bytes(cycles, work, target)
        fetched = ahead.advance(number, idle_bytes, room - kept_for_later - resident)
        ahead.release(number)
        stages.append(StageTiming(clock, cycles, span_cycles, tuple(spans), fetched))
        works += [work, Work(dram_read_bytes=fetched)] if fetched else [work]
        clock += cycles
    total = sum_of_work(works)
    latency_us = clock / target.cycles_per_us
    calls = [call for stage in program.stages for call in stage if isinstance(call, KernelCall)]
    return ProgramTiming(
        cycles=clock,
        latency_us=latency_us,
        energy_uj=energy_uj(total, latency_us, target),
        peak_l1_bytes=max([call.program.l1_bytes for call in calls], default=0),
        peak_llb_bytes=program.llb_bytes,
        work=total,
        stages=tuple(stages),
    )


def _constants(program: Program, graph: Graph, target: Target) -> list[tuple[int, int, int]]:
    """(stage, value of the graph, bytes) of every constant a kernel reads past the LLB, in order of use."""
    if target.weights_bypass_llb or target.llb_bytes == 0:
        return []
    return [
        (number, call.kernel.values[value], stored_bytes(graph, call.kernel.values[value], target))
        for number, stage in enumerate(program.stages)
        for call in stage
        if isinstance(call, KernelCall)
        for value in call.kernel.workload.graph.inputs
        if call.kernel.workload.level_of(value) is Level.CONSTANT
    ]


def _idle_dram_bytes(cycles: int, work: Work, target: Target) -> int:
    """Bytes that DRAM could move in `cycles` beside `work`."""
    rate = target.dram_bytes_per_cycle
    if rate == float("inf"):
        return 1 << 62
    return max(0, int(cycles * rate) - work.dram_bytes)


def _host_bytes(call: HostCall, graph: Graph, target: Target) -> Work:
    """What a host op moves over the link: whole operands there, its result back."""
    op = graph.ops[call.op]
    operands = dict.fromkeys(access.value for access in op.operands)
    return Work(
        host_write_bytes=sum(stored_bytes(graph, value, target) for value in operands),
        host_read_bytes=stored_bytes(graph, op.result, target),
    )


def _link_latency(target: Target) -> int:
    return -int(-(target.host.latency_us * target.frequency_mhz) // 1)
