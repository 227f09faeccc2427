"""Laws of the simulated timeline over random kernels."""

from dataclasses import replace

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.measure.simulator.random_kernels import Case, kernels
from tilewright.compiler_core.ir.workload import Level
from tilewright.compiler_core.lowering.lower import lower_kernel
from tilewright.compiler_core.lowering.steps import Action
from tilewright.measure.simulator import cores
from tilewright.measure.simulator.kernel import active_cores, simulate_kernel
from tilewright.measure.simulator.tables.flatten import FlatKernel, Surroundings, flatten
from tilewright.measure.simulator.tables.layout import ENTRY, FIRINGS, SIZE


def flat_of(case: Case) -> FlatKernel:
    room = max(0, case.target.llb_bytes)
    return flatten(case.program, case.target, Surroundings(active_cores(case.program), room))


def walk(case: Case, flat: FlatKernel, function: object, *, compress: bool) -> tuple[int, int, list[int]]:
    cycles, core, tally = function(  # type: ignore[operator]  # compiled, or its plain source
        case.program.cores, flat.nest, compress
    )
    return cycles, core, tally.tolist()


@settings(max_examples=400)
@given(kernels())
def test_skipping_the_steady_state_changes_nothing(case: Case) -> None:
    flat = flat_of(case)
    assert walk(case, flat, cores.slowest_core, compress=True) == walk(
        case, flat, cores.slowest_core, compress=False
    )


@settings(max_examples=40)
@given(kernels())
def test_compiled_equals_plain_python(case: Case) -> None:
    flat = flat_of(case)
    plain = cores.slowest_core.py_func
    for compress in (True, False):
        assert walk(case, flat, cores.slowest_core, compress=compress) == walk(
            case, flat, plain, compress=compress
        )


@settings(max_examples=100)
@given(kernels())
def test_bytes_are_those_the_instructions_move(case: Case) -> None:
    """Firings come from a closed form; the Program's own instruction stream is the judge."""
    flat = flat_of(case)
    program = case.program
    fired = [0] * len(program.steps)
    moved = [0] * len(program.steps)
    for core in range(program.cores):
        for instruction in program.instructions(core):
            if instruction.action is Action.FREE:
                continue
            step = program.steps[instruction.step]
            fired[instruction.step] += 1
            if step.action in (Action.LOAD, Action.STORE):
                buffer = program.buffers[step.buffer]
                size = case.target.storage_dtype(program.workload.graph.values[buffer.value].dtype).bytes
                for span in buffer.region:
                    low, high = program.at(span, instruction.tile)
                    size *= high - low
                moved[instruction.step] += size
    starts = [*flat.nest.steps[:, ENTRY].tolist(), len(flat.nest.costs)]
    for number, step in enumerate(program.steps):
        rows = flat.nest.costs[starts[number] : starts[number + 1]]
        assert rows[:, FIRINGS].sum() == fired[number]
        if step.action in (Action.LOAD, Action.STORE):
            assert (rows[:, FIRINGS] * rows[:, SIZE]).sum() == moved[number]


@settings(max_examples=100)
@given(kernels(), st.sampled_from([1.5, 4.0, 1000.0]))
def test_more_bandwidth_is_never_slower(case: Case, factor: float) -> None:
    """For one core and one order of instructions."""
    alone = lower_kernel(case.regions, case.tiling, 1, case.target)
    before = simulate_kernel(alone, case.target).cycles
    for faster in (
        replace(case.target, llb=replace(case.target.llb, gbps=case.target.llb.gbps * factor)),
        replace(case.target, dram=replace(case.target.dram, gbps=case.target.dram.gbps * factor)),
    ):
        assert simulate_kernel(alone, faster).cycles <= before


@settings(max_examples=100)
@given(kernels())
def test_more_cores_are_never_slower_without_shared_operands_or_ports(case: Case) -> None:
    """Tiles that share nothing, on cores that do not take bandwidth from each other."""
    wide = replace(
        case.target,
        cores=8,
        llb=replace(case.target.llb, gbps=float("inf")),
        dram=replace(case.target.dram, gbps=float("inf")),
    )
    programs = [lower_kernel(case.regions, case.tiling, cores, wide) for cores in (1, 2, 4, 8)]
    everything = {loop.dim for loop in programs[0].loops if loop.parallel and loop.count > 1}
    assume(all(everything <= set(step.moves) for step in programs[0].steps))
    cycles = [simulate_kernel(program, wide).cycles for program in programs]
    assert cycles == sorted(cycles, reverse=True)


@settings(max_examples=200)
@given(kernels())
def test_never_below_what_units_and_ports_need(case: Case) -> None:
    timing = simulate_kernel(case.program, case.target)
    work, target = timing.span.work, case.target
    cycles = timing.span.cycles
    assert cycles >= work.llb_bytes / target.llb_bytes_per_cycle
    assert cycles >= work.dram_bytes / target.dram_bytes_per_cycle
    for dtype, macs in work.macs:
        assert cycles >= macs / target.peak_macs_per_cycle(dtype)
    assert cycles * target.cores >= max(work.busy_cycles)
    assert all(busy <= cycles for busy in timing.span.busy_cycles)


@settings(max_examples=100)
@given(kernels())
def test_dram_moves_each_stored_byte_once_and_each_loaded_byte_at_least_once(case: Case) -> None:
    target = replace(case.target, llb=replace(case.target.llb, kib=1 << 20))
    work = simulate_kernel(
        lower_kernel(case.regions, case.tiling, case.program.cores, target), target
    ).span.work
    graph = case.regions.graph

    def size(value: int) -> int:
        return graph.elements(value) * target.storage_dtype(graph.values[value].dtype).bytes

    in_dram = [v for v in graph.outputs if case.regions.workload.level_of(v) in (Level.DRAM, Level.CONSTANT)]
    assert work.dram_write_bytes == sum(size(value) for value in in_dram)
    assert work.llb_write_bytes == sum(size(value) for value in graph.outputs)
    assert work.dram_read_bytes <= work.llb_read_bytes
