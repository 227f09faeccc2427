"""simulate_kernel: time, traffic and energy of a lowered kernel alone on a Target."""

from dataclasses import dataclass

from tilewright.compiler_core.ir.workload import Level, Workload
from tilewright.compiler_core.lowering.program import KernelProgram
from tilewright.compiler_core.target_model.target import Target
from tilewright.measure.simulator.cores import slowest_core
from tilewright.measure.simulator.energy import Work, energy_uj, work_of
from tilewright.measure.simulator.tables.flatten import Conflicts, FlatKernel, Surroundings, flatten
from tilewright.measure.simulator.tables.layout import CAUSE_NAMES, CAUSES, ENGINE_NAMES, ENGINES

NO_CONFLICTS = Conflicts()


@dataclass(frozen=True)
class KernelSpan:
    """A kernel from its first instruction to its last, on the core that takes longest.

    `busy_cycles` and `stall_cycles[engine][cause]` are that core's; engines and causes are in the order of
    ENGINE_NAMES and CAUSE_NAMES. `cycles` is never less than what the shared ports need for all bytes of
    all cores, both ways; `port_stall_cycles` is what that adds.
    """

    cycles: int
    core: int
    busy_cycles: tuple[int, ...]
    stall_cycles: tuple[tuple[int, ...], ...]
    port_stall_cycles: int
    work: Work


@dataclass(frozen=True)
class KernelTiming:
    """A kernel measured alone: launch, span and barrier.

    `utilisation` is the share of the chip's peak by engine: busy cycles of all cores over all cores' time.
    `peak_llb_bytes` counts the operands that live in the LLB.
    """

    cycles: int
    latency_us: float
    launch_cycles: int
    barrier_cycles: int
    span: KernelSpan
    energy_uj: float
    peak_l1_bytes: int
    peak_llb_bytes: int
    utilisation: tuple[float, ...]

    @property
    def stalls_by_cause(self) -> dict[str, int]:
        """Waiting of the slowest core's busiest engine by cause, with launch, barrier and full ports."""
        busiest = max(range(ENGINES), key=lambda engine: self.span.busy_cycles[engine])
        causes = dict(zip(CAUSE_NAMES, self.span.stall_cycles[busiest], strict=True))
        ports = {"port": self.span.port_stall_cycles}
        return {**causes, **ports, "launch": self.launch_cycles, "barrier": self.barrier_cycles}

    @property
    def busy_by_engine(self) -> dict[str, int]:
        """Busy cycles of the slowest core."""
        return dict(zip(ENGINE_NAMES, self.span.busy_cycles, strict=True))


def simulate_kernel(
    program: KernelProgram, target: Target, *, conflicts: Conflicts = NO_CONFLICTS, compress: bool = True
) -> KernelTiming:
    """The time of one kernel as a stage of its own, its operands where its Workload says they live.

    `compress=False` walks every tile; the result is the same.
    """
    resident = llb_operand_bytes(program.workload, target)
    surroundings = Surroundings(active_cores(program), max(0, target.llb_bytes - resident), (), conflicts)
    span = span_of(program, flatten(program, target, surroundings), target, compress=compress)
    cycles = target.launch_cycles + span.cycles + target.overheads.barrier_cycles
    latency_us = cycles / target.cycles_per_us
    time = target.cores * cycles
    return KernelTiming(
        cycles=cycles,
        latency_us=latency_us,
        launch_cycles=target.launch_cycles,
        barrier_cycles=target.overheads.barrier_cycles,
        span=span,
        energy_uj=energy_uj(span.work, latency_us, target),
        peak_l1_bytes=program.l1_bytes,
        peak_llb_bytes=resident,
        utilisation=tuple([busy / time if time else 0.0 for busy in span.work.busy_cycles]),
    )


def active_cores(program: KernelProgram) -> int:
    """Cores that have a tile to work on."""
    return min(program.cores, program.parallel_tiles)


def llb_operand_bytes(workload: Workload, target: Target) -> int:
    """Bytes of the outer operands of a kernel that live in the LLB."""
    graph = workload.graph
    outer = dict.fromkeys((*graph.inputs, *graph.outputs))
    return sum(
        [
            graph.elements(value) * target.storage_dtype(graph.values[value].dtype).bytes
            for value in outer
            if workload.level_of(value) is Level.LLB
        ]
    )


def span_of(program: KernelProgram, flat: FlatKernel, target: Target, *, compress: bool = True) -> KernelSpan:
    """Walk every distinct run of tiles; the kernel ends with its slowest core, or when the ports are done."""
    cycles, core, tally = slowest_core(program.cores, flat.nest, compress)
    work = work_of(flat)
    floor = port_cycles(work, target)
    numbers = tally.tolist()
    return KernelSpan(
        cycles=max(cycles, floor),
        core=core,
        busy_cycles=tuple(numbers[:ENGINES]),
        stall_cycles=tuple(
            [tuple(numbers[index : index + CAUSES]) for index in range(ENGINES, len(numbers), CAUSES)]
        ),
        port_stall_cycles=max(0, floor - cycles),
        work=work,
    )


def port_cycles(work: Work, target: Target) -> int:
    """Cycles the shared ports need for the bursts of all cores, loads and stores together."""
    return max(
        _ceil(work.llb_moved / target.llb_bytes_per_cycle),
        _ceil(work.dram_moved / target.dram_bytes_per_cycle),
        _ceil(work.host_moved / target.host_bytes_per_cycle),
    )


def _ceil(value: float) -> int:
    return -int(-value // 1)
