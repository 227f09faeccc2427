"""Laws of the simulated timeline over random kernels."""

from hypothesis import given, settings

from compiler_core.program import Action
from measure.simulator import timeline
from measure.simulator.flatten import FlatKernel, Surroundings, flatten
from measure.simulator.kernel import active_cores
from measure.simulator.layout import ENTRY, FIRINGS, SIZE
from tests.measure.simulator.random_kernels import Case, kernels


def flat_of(case: Case) -> FlatKernel:
    room = max(0, case.target.llb_bytes)
    return flatten(case.program, case.target, Surroundings(active_cores(case.program), room))


def walk(case: Case, flat: FlatKernel, function: object, *, compress: bool) -> tuple[int, int, list[int]]:
    cycles, core, tally = function(  # type: ignore[operator]  # compiled, or its plain source
        case.program.cores,
        flat.counts,
        flat.parallel_levels,
        flat.reduction_level,
        flat.classes,
        flat.until,
        flat.class_start,
        flat.steps,
        flat.strides,
        flat.plan.reads,
        flat.plan.read_storage,
        flat.slots,
        flat.plan.maker,
        flat.costs,
        case.target.overheads.tile_dispatch_cycles,
        compress,
    )
    return cycles, core, tally.tolist()


@settings(max_examples=400)
@given(kernels())
def test_skipping_the_steady_state_changes_nothing(case: Case) -> None:
    flat = flat_of(case)
    assert walk(case, flat, timeline.slowest_core, compress=True) == walk(
        case, flat, timeline.slowest_core, compress=False
    )


@settings(max_examples=40)
@given(kernels())
def test_compiled_equals_plain_python(case: Case) -> None:
    flat = flat_of(case)
    plain = timeline.slowest_core.py_func  # type: ignore[attr-defined]  # what numba compiles
    for compress in (True, False):
        assert walk(case, flat, timeline.slowest_core, compress=compress) == walk(
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
    starts = [*flat.steps[:, ENTRY].tolist(), len(flat.costs)]
    for number, step in enumerate(program.steps):
        rows = flat.costs[starts[number] : starts[number + 1]]
        assert rows[:, FIRINGS].sum() == fired[number]
        if step.action in (Action.LOAD, Action.STORE):
            assert (rows[:, FIRINGS] * rows[:, SIZE]).sum() == moved[number]
