"""Single conditions of the rules about rooms in L1: each complains by itself, and never of what is sound."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.property.random_graphs import Builder, same
from tests.small_networks import (
    Case,
    product_chain,
    split_matmul,
    stored_inside,
    sums_in_accumulators,
    window_chain,
)
from tests.targets import small_target
from tilewright.compiler_core.checking.kernel_rules import KERNEL_RULES
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.ir.index_map import Access, axis_index
from tilewright.compiler_core.lowering.program import KernelProgram
from tilewright.compiler_core.lowering.schedule import Tiling


def complaints(rule: str, kernel: KernelProgram) -> list[str]:
    return list(KERNEL_RULES[rule](kernel, small_target(accumulator_kib=16)))


def changed(kernel: KernelProgram, table: str, number: int, **changes: Any) -> KernelProgram:
    """The kernel with one loop, buffer or step changed."""
    rows = list(getattr(kernel, table))
    rows[number] = replace(rows[number], **changes)
    exchanged: dict[str, Any] = {table: tuple(rows)}
    return replace(kernel, **exchanged)


def in_one_room(kernel: KernelProgram, *numbers: int) -> KernelProgram:
    """The kernel with these buffers in one storage behind all others."""
    end = max(buffer.offset + buffer.slots * buffer.slot_bytes for buffer in kernel.buffers)
    for number in numbers:
        kernel = changed(kernel, "buffers", number, storage=len(kernel.buffers), offset=end)
    return kernel


def share(one: int, other: int) -> list[str]:
    return [f"buffers {one} and {other} share room while both are needed"]


def _second(*, kind: str, fold: tuple[int, ...] = (), turned: bool = False) -> Case:
    """relu of x, then an op that reads the result as it lies, and perhaps its transpose, too."""
    b = Builder(DType.F32, 31)
    first = b.op("relu", (8, 8), (), (same(b.input((8, 8)), 2),))
    reads = [same(first, 2)]
    if kind == "contract":
        reads.append(same(b.input((8, 8)), 2))
    if turned:
        reads.append(Access(first, (axis_index(1), axis_index(0))))
    b.op(kind, (8, 8), fold, tuple(reads))
    tiling = Tiling((8, 8), fold, (0, 1))
    return Case(b.graph((b.ops[-1].result,)), b.data, ((0, 1),), (tiling,), small_target())


@pytest.mark.parametrize(("beyond", "sound"), [(0, True), (1, False)])
def test_sums_lie_inside_the_memory_of_accumulators(beyond: int, sound: bool) -> None:
    kernel = sums_in_accumulators().kernel()
    sums = next(number for number, buffer in enumerate(kernel.buffers) if buffer.accumulator)
    size = kernel.buffers[sums].slots * kernel.buffers[sums].slot_bytes
    assert small_target().l1_bytes > 16 * 1024
    found = complaints("fits", changed(kernel, "buffers", sums, offset=16 * 1024 - size + beyond))
    assert (found == []) is sound


def test_every_pair_that_overlaps_is_named() -> None:
    kernel = split_matmul().kernel()
    for number in (1, 2):
        kernel = changed(kernel, "buffers", number, offset=0)
    pairs = ("0 and 1", "0 and 2", "1 and 2")
    assert complaints("room is not shared", kernel) == [f"buffers {pair} overlap" for pair in pairs]


def test_a_life_that_ends_inside_another_overlaps_it() -> None:
    """The third window also reads the result of the first, which lives until then."""
    kernel = changed(in_one_room(window_chain().kernel(), 1, 2), "steps", 3, reads=(2, 1))
    assert complaints("room is not shared", kernel) == share(1, 2)


@pytest.mark.parametrize("count", [2, 3])
def test_an_operand_that_stays_for_all_tiles_shares_its_room_with_none(count: int) -> None:
    kernel = changed(split_matmul().kernel(), "loops", 1, count=count)
    assert kernel.steps[3].moves == ()
    assert complaints("room is not shared", in_one_room(kernel, 3, 5)) == share(3, 5)


def test_an_operand_that_stays_for_a_reduction_is_needed_until_its_end() -> None:
    kernel = changed(split_matmul().kernel(), "steps", 0, moves=(0,))
    assert complaints("room is not shared", in_one_room(kernel, 0, 5)) == share(0, 5)


def test_what_is_loaded_after_a_reduction_is_needed_for_one_tile() -> None:
    kernel = split_matmul().kernel()
    assert complaints("room is not shared", in_one_room(kernel, 0, 4)) == []
    moving = changed(kernel, "steps", 3, moves=(0,))
    assert complaints("room is not shared", in_one_room(moving, 3, 5)) == []


def test_a_buffer_between_two_tiles_in_flight_is_always_needed() -> None:
    kernel = product_chain().kernel()
    assert {kernel.steps[number].lag for number in (3, 5)} == {0, 1}
    assert complaints("room is not shared", in_one_room(kernel, 3, 7)) == share(3, 7)


def test_what_stays_for_all_tiles_is_needed_from_the_first_step_on() -> None:
    """relu in place, whose result is kept for other tiles: the next tile's operand would overwrite it."""
    kernel = in_one_room(stored_inside().kernel(), 0, 1)
    assert complaints("room is not shared", kernel) == []
    assert complaints("room is not shared", changed(kernel, "steps", 1, moves=(0,))) == share(0, 1)


def test_a_load_that_nothing_reads_overwrites_what_stays() -> None:
    kernel = split_matmul().kernel()
    kernel = changed(kernel, "steps", 2, reads=(1, 1))
    assert complaints("room is not shared", in_one_room(kernel, 0, 3)) == share(0, 3)


@pytest.mark.parametrize(
    ("case", "sound"),
    [
        (lambda: _second(kind="neg"), True),
        (lambda: _second(kind="add", turned=True), False),
        (lambda: _second(kind="max", fold=(3,)), False),
        (lambda: _second(kind="contract"), False),
    ],
    ids=["a map", "also its transpose", "a fold", "the matrix unit"],
)
def test_only_a_map_of_one_operand_works_in_place(case: Callable[[], Case], sound: bool) -> None:
    kernel = case().kernel()
    second = next(step for step in kernel.steps if step.op == 1)
    pair = sorted((second.reads[0], second.buffer))
    same_width = changed(kernel, "buffers", second.buffer, element_bytes=2)
    found = complaints("room is not shared", in_one_room(same_width, *pair))
    assert found == ([] if sound else share(*pair))


@pytest.mark.parametrize(("count", "sound"), [(1, True), (2, False), (6, False)])
def test_a_slot_for_the_tile_behind_is_needed_where_there_are_tiles(count: int, sound: bool) -> None:
    kernel = changed(product_chain().kernel(), "loops", 1, count=count)
    found = complaints("fillings are kept", changed(kernel, "buffers", 3, slots=1))
    assert found == ([] if sound else ["step 5 reads what buffer 3 held 1 fillings ago"])


def test_a_step_is_one_tile_behind_at_most() -> None:
    kernel = changed(product_chain().kernel(), "steps", 8, lag=2)
    assert complaints("fillings are kept", kernel) == ["step 8 is 2 positions behind, it may be 0 or 1"]


def test_what_is_filled_once_needs_one_slot() -> None:
    kernel = changed(product_chain().kernel(), "steps", 4, lag=0)
    assert kernel.buffers[4].slots == 1
    assert complaints("fillings are kept", kernel) == []


def test_every_operand_is_asked_for_its_slots() -> None:
    """The first operand stays for all tiles, and the second is a tile too old."""
    kernel = changed(product_chain().kernel(), "steps", 5, reads=(4, 3))
    found = complaints("fillings are kept", changed(kernel, "buffers", 3, slots=1))
    assert found == ["step 5 reads what buffer 3 held 1 fillings ago"]


def test_a_reader_before_the_step_that_fills_sees_the_tile_behind() -> None:
    kernel = product_chain().kernel()
    order = (0, 1, 2, 4, 5, 3, 6, 7, 8)
    late = replace(kernel, steps=tuple(kernel.steps[number] for number in order))
    assert complaints("fillings are kept", changed(late, "buffers", 3, slots=1)) == []
