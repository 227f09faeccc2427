"""Single conditions of the rules: each complains by itself, and of nothing that is sound.

A broken kernel often breaks several rules; here one sentence of one rule is asked at a time.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.small_networks import (
    inner_reduction,
    one_row,
    split_matmul,
    stored_inside,
    three_kernels,
    window_chain,
)
from tests.targets import small_target
from tilewright.compiler_core.checking import kernel_rules
from tilewright.compiler_core.checking.kernel_rules import KERNEL_RULES
from tilewright.compiler_core.checking.program_rules import PROGRAM_RULES
from tilewright.compiler_core.lowering.program import KernelCall, KernelProgram, Loop
from tilewright.compiler_core.lowering.regions import Span
from tilewright.compiler_core.lowering.schedule import CoreRange
from tilewright.compiler_core.lowering.steps import FROM_MEMORY, Action


def complaints(rule: str, kernel: KernelProgram) -> list[str]:
    return list(KERNEL_RULES[rule](kernel, small_target()))


def with_loop(kernel: KernelProgram, number: int, **changes: Any) -> KernelProgram:
    loops = list(kernel.loops)
    loops[number] = replace(loops[number], **changes)
    return replace(kernel, loops=tuple(loops))


def with_step(kernel: KernelProgram, number: int, **changes: Any) -> KernelProgram:
    steps = list(kernel.steps)
    steps[number] = replace(steps[number], **changes)
    return replace(kernel, steps=tuple(steps))


def with_region(kernel: KernelProgram, number: int, *region: Span, **changes: Any) -> KernelProgram:
    buffers = list(kernel.buffers)
    buffers[number] = replace(buffers[number], region=region or buffers[number].region, **changes)
    return replace(kernel, buffers=tuple(buffers))


def with_one_more_reduction(kernel: KernelProgram) -> KernelProgram:
    """A reduction loop of one tile besides those that are there."""
    return replace(kernel, loops=(*kernel.loops, Loop(len(kernel.loops), 1, 1, 1, parallel=False)))


def whole(kernel: KernelProgram, number: int) -> list[Span]:
    """The whole value of a buffer, as its region in every tile."""
    shape = kernel.workload.graph.shape(kernel.buffers[number].value)
    ones = (1,) * len(kernel.loops)
    return [Span(np.zeros(ones, dtype=np.int64), np.full(ones, extent)) for extent in shape]


def product_of(kernel: KernelProgram) -> int:
    """The step of the anchor."""
    return next(number for number, step in enumerate(kernel.steps) if step.op == kernel.anchor)


def reader_of_sums(kernel: KernelProgram) -> int:
    """The first step that reads what the anchor made."""
    sums = kernel.steps[product_of(kernel)].buffer
    return next(number for number, step in enumerate(kernel.steps) if sums in step.reads)


@pytest.mark.parametrize(
    ("extent", "tile", "count", "sound"),
    [(4, 2, 2, True), (3, 2, 2, True), (4, 2, 3, False), (5, 2, 2, False), (0, 1, 1, True)],
)
def test_tiles_cover_a_loop_and_none_is_empty(extent: int, tile: int, count: int, sound: bool) -> None:
    kernel = with_loop(split_matmul().kernel(), 0, extent=extent, tile=tile, count=count)
    assert (complaints("loops cover", kernel) == []) is sound


def test_the_complaint_says_how_a_loop_runs() -> None:
    kernel = split_matmul().kernel()
    (found,) = complaints("loops cover", with_loop(kernel, 2, parallel=True))
    assert found.endswith(f"dim {kernel.loops[2].dim} is parallel")
    (found,) = complaints("loops cover", with_loop(kernel, 0, parallel=False))
    assert found.endswith(f"dim {kernel.loops[0].dim} is serial")


def test_a_value_is_not_stored_again_by_tiles_that_do_not_move_it() -> None:
    kernel = split_matmul().kernel()
    kernel = with_loop(with_loop(kernel, 0, count=2), 1, count=2)
    stored = kernel.steps[-1].buffer
    assert kernel.steps[-1].action is Action.STORE
    found = complaints("stored once", with_region(kernel, stored, *whole(kernel, stored)))
    dims = sorted(loop.dim for loop in kernel.loops[:2])
    assert f"value {kernel.buffers[stored].value} is stored again by tiles of dims {dims}" in found


def test_intervals_lie_end_to_end() -> None:
    def ends_meet(low: list[Any], high: list[Any], extent: int) -> bool:
        return kernel_rules._end_to_end(Span(np.array(low), np.array(high)), extent)

    assert ends_meet([0, 2], [2, 4], 4)
    assert not ends_meet([1, 2], [2, 4], 4), "the first element is in no tile"
    assert not ends_meet([0, 2], [2, 3], 4), "the last element is in no tile"
    assert not ends_meet([0, 3], [2, 4], 4), "a gap"
    assert not ends_meet([0, 1], [2, 4], 4), "an overlap"
    # Two loops move it: which tiles repeat an element cannot be seen from the bounds.
    assert not ends_meet([[0, 2], [4, 6]], [[2, 4], [6, 8]], 8)


def test_an_operand_read_from_memory_needs_no_buffer() -> None:
    kernel = split_matmul().kernel()
    at = product_of(kernel)
    left, right = kernel.steps[at].reads
    bare = with_step(kernel, at, reads=(FROM_MEMORY, right))
    for rule in ("reads are held", "reads follow writes"):
        assert complaints(rule, bare) == []
    bounds = kernel.buffers[right].region
    moved = with_region(bare, right, Span(bounds[0][0] + 1, bounds[0][1]), *bounds[1:])
    (found,) = complaints("reads are held", moved)
    assert found.startswith(f"op {kernel.anchor} (contract) reads outside buffer {right} in dim 0")
    others = [number for number in range(len(kernel.steps)) if kernel.steps[number].buffer != right]
    unfilled = replace(bare, steps=tuple(bare.steps[number] for number in others))
    assert any(
        f"uses buffer {right} before" in found for found in complaints("reads follow writes", unfilled)
    )
    assert left != right


def test_a_buffer_of_another_value_does_not_serve_though_its_box_does() -> None:
    kernel = stored_inside().kernel()
    step = next(step for step in kernel.steps if step.action is Action.COMPUTE)
    other = next(
        v for v in range(len(kernel.workload.graph.values)) if v != kernel.buffers[step.reads[0]].value
    )
    found = complaints("reads are held", with_region(kernel, step.reads[0], value=other))
    assert any(f"reads outside buffer {step.reads[0]}" in each for each in found)


def test_an_op_works_anew_where_only_its_own_box_moves() -> None:
    kernel = split_matmul().kernel()
    at = product_of(kernel)
    reduction = kernel.reductions[0].dim
    kept = tuple(dim for dim in kernel.steps[at].moves if dim != reduction)
    (found,) = complaints("contents are current", with_step(kernel, at, moves=kept))
    assert found == f"step {at} is stale when the loops over dims [{reduction}] advance"


@pytest.mark.parametrize("more", [lambda kernel: kernel, with_one_more_reduction])
@pytest.mark.parametrize(("count", "sound"), [(1, True), (2, False), (3, False)])
def test_sums_are_read_when_they_are_complete(
    more: Callable[[KernelProgram], KernelProgram], count: int, sound: bool
) -> None:
    """Complete at every step where a reduction is not split; else at the last of its steps."""
    kernel = more(with_loop(split_matmul().kernel(), 2, count=count))
    at = reader_of_sums(kernel)
    found = complaints("reads follow writes", with_step(kernel, at, late=False))
    assert [each for each in found if "partial sums" in each] == (
        []
        if sound
        else [f"step {at} reads the partial sums of buffer {kernel.steps[product_of(kernel)].buffer}"]
    )


def test_a_store_follows_what_fills_its_buffer() -> None:
    kernel = split_matmul().kernel()
    *others, last = range(len(kernel.steps))
    early = replace(kernel, steps=tuple(kernel.steps[number] for number in (last, *others)))
    assert complaints("reads follow writes", early) == [
        f"step 0 uses buffer {kernel.steps[last].buffer} before any step fills it"
    ]


@pytest.mark.parametrize("more", [lambda kernel: kernel, with_one_more_reduction])
@pytest.mark.parametrize(("count", "sound"), [(1, True), (2, False)])
def test_a_split_reduction_starts_anew_in_every_tile(
    more: Callable[[KernelProgram], KernelProgram], count: int, sound: bool
) -> None:
    kernel = more(with_loop(split_matmul().kernel(), 2, count=count))
    found = complaints("reductions complete", with_step(kernel, product_of(kernel), moves=(2,)))
    assert [each for each in found if "started anew" in each] == (
        [] if sound else [f"the split reduction of op {kernel.anchor} is not started anew in every tile"]
    )


def test_a_split_reduction_starts_anew_for_each_of_two_tiles() -> None:
    kernel = with_loop(with_loop(split_matmul().kernel(), 1, count=2), 2, count=2)
    found = complaints("reductions complete", with_step(kernel, product_of(kernel), moves=(2,)))
    assert f"the split reduction of op {kernel.anchor} is not started anew in every tile" in found


@pytest.mark.parametrize(
    ("low", "high", "sound"), [(0, 1, True), (0, 0, True), (-1, 1, False), (2, 1, False), (39, 41, False)]
)
def test_a_region_lies_inside_its_value_and_is_not_inside_out(low: int, high: int, sound: bool) -> None:
    kernel = split_matmul().kernel()
    step = kernel.steps[0]
    assert step.action is Action.LOAD
    shape = kernel.workload.graph.shape(kernel.buffers[step.buffer].value)
    dim = shape.index(40)
    region = list(kernel.buffers[step.buffer].region)
    region[dim] = Span(np.array([[[low]]]), np.array([[[high]]]))
    found = complaints("filled as stated", with_region(kernel, step.buffer, *region))
    assert (found == []) is sound


@pytest.mark.parametrize(("low", "high"), [(1, 0), (0, -1)])
def test_a_result_fills_its_whole_region(low: int, high: int) -> None:
    kernel = split_matmul().kernel()
    at = product_of(kernel)
    number = kernel.steps[at].buffer
    bounds, *others = kernel.buffers[number].region
    cut = with_region(kernel, number, Span(bounds[0] + low, bounds[1] + high), *others)
    assert complaints("filled as stated", cut) == [
        f"step {at} fills buffer {number} with something else than its table says"
    ]


@pytest.mark.parametrize(("low", "high"), [(1, 0), (0, -1)])
def test_an_inner_reduction_is_whole_at_both_ends(low: int, high: int) -> None:
    kernel = inner_reduction().kernel()
    ops = kernel.workload.graph.ops
    op = next(number for number, each in enumerate(ops) if each.reduction_axes and number != kernel.anchor)
    (axis,) = ops[op].reduction_axes
    domains = [list(spans) for spans in kernel.domains]
    domains[op][axis] = Span(domains[op][axis][0] + low, domains[op][axis][1] + high)
    cut = replace(kernel, domains=tuple(map(tuple, domains)))
    assert complaints("reductions complete", cut) == [f"op {op} folds only part of its axis {axis}"]


def test_sound_kernels_raise_no_complaint() -> None:
    for case in (split_matmul, stored_inside, window_chain, inner_reduction):
        for rule in KERNEL_RULES:
            assert complaints(rule, case().kernel()) == [], (case.__name__, rule)


@pytest.mark.parametrize(("beyond", "sound"), [(0, True), (1, False)])
def test_a_buffer_may_end_where_l1_does(beyond: int, sound: bool) -> None:
    kernel, room = split_matmul().kernel(), small_target().l1_bytes
    last = max(range(len(kernel.buffers)), key=lambda number: kernel.buffers[number].offset)
    size = kernel.buffers[last].slots * kernel.buffers[last].slot_bytes
    assert not kernel.buffers[last].accumulator
    found = complaints("fits", with_region(kernel, last, offset=room - size + beyond))
    assert (found == []) is sound


@pytest.mark.parametrize(("missing", "sound"), [(0, True), (1, False)])
def test_a_slot_may_be_full(missing: int, sound: bool) -> None:
    kernel = split_matmul().kernel()
    buffer = kernel.buffers[0]
    size = buffer.element_bytes
    for low, high in buffer.region:
        size *= int((high - low).max())
    assert (complaints("fits", with_region(kernel, 0, slot_bytes=size - missing)) == []) is sound


@pytest.mark.parametrize(("more", "sound"), [(0, True), (1, False)])
def test_a_kernel_may_take_all_cores(more: int, sound: bool) -> None:
    kernel = replace(split_matmul().kernel(), cores=small_target().cores + more)
    assert (complaints("fits", kernel) == []) is sound


@pytest.mark.parametrize(
    ("offsets", "sound"),
    [
        ({1: 0, 2: 144}, True),
        ({1: 0, 2: 143}, False),
        ({1: 144, 2: 0}, True),
        ({1: 143, 2: 0}, False),
        ({1: 144, 2: small_target().llb_bytes - 144}, True),
        ({1: 144, 2: small_target().llb_bytes - 143}, False),
    ],
)
def test_values_lie_side_by_side_in_the_llb(offsets: dict[int, int], sound: bool) -> None:
    case = three_kernels()
    program = replace(case.compile(), offsets=offsets)
    found = list(PROGRAM_RULES["llb is not shared"](case.graph, program, case.target))
    assert (found == []) is sound


@pytest.mark.parametrize(("first", "sound"), [(0, True), (2, True), (3, False), (-1, False)])
def test_a_call_may_run_on_the_last_cores(first: int, sound: bool) -> None:
    case = three_kernels()
    program = case.compile()
    call = program.stages[1][0]
    assert isinstance(call, KernelCall)
    moved = replace(call, cores=CoreRange(first, 2))
    stages = (program.stages[0], (moved,), *program.stages[2:])
    found = list(
        PROGRAM_RULES["cores are disjoint"](case.graph, replace(program, stages=stages), case.target)
    )
    assert (found == []) is sound


@pytest.mark.parametrize(
    ("whole", "origin", "sound"),
    [
        ((3, 2, 4), (0, 0), True),
        ((3, 2, 4), (2, 1), True),
        ((3, 2, 4), (3, 0), False),
        ((3, 2, 4), (0, 2), False),
        ((3, 2, 4), (-1, 0), False),
        ((3, 2, 4), (0, -1), False),
        ((3, 1, 4), (2,), True),
        ((3, 2, 4), (2,), False),
        ((3, 1, 5), (2,), False),
        ((1, 1, 4), (), True),
        ((3, 1, 4), (), False),
    ],
)
def test_a_part_lies_inside_its_whole(whole: tuple[int, ...], origin: tuple[int, ...], sound: bool) -> None:
    """A kernel reads one row of 4 from each `whole`; dims beyond the origin are read entirely."""
    case = one_row()
    program = case.compile()
    call = program.stages[0][0]
    assert isinstance(call, KernelCall)
    (read,) = case.graph.inputs
    values = list(case.graph.values)
    values[read] = replace(values[read], shape=whole)
    kernel = replace(call.kernel, origins={call.kernel.workload.graph.inputs[0]: origin} if origin else {})
    found = PROGRAM_RULES["order respects data"](
        replace(case.graph, values=tuple(values)),
        replace(program, stages=((replace(call, kernel=kernel),),)),
        case.target,
    )
    assert (list(found) == []) is sound
