"""The emulator does what instructions say: order, slots, poison, carries, values put in from outside."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from tests.small_networks import CASES, scanned_rows, split_matmul, three_kernels
from tilewright.compiler_core.checking.emulate import emulate, poison
from tilewright.compiler_core.errors import VerifyError
from tilewright.compiler_core.lowering.program import HostCall, KernelCall, KernelProgram, Program
from tilewright.compiler_core.lowering.steps import Action
from tilewright.compiler_core.meaning.interpret import interpret


@pytest.mark.parametrize("name", CASES)
def test_every_stored_value_is_the_interpreters(name: str) -> None:
    case = CASES[name]()
    expected = interpret(case.graph, case.inputs)
    got = emulate(case.graph, case.compile(), case.inputs)
    assert set(case.graph.outputs) <= set(got)
    for value, array in got.items():
        np.testing.assert_array_equal(array, expected[value])


def test_a_core_loads_computes_stores_and_frees_in_order() -> None:
    """Core 0 of the split matmul has one row tile and three reduction steps; the bias comes at the last."""
    kernel = split_matmul().kernel()
    actions = [(i.action, i.buffer) for i in kernel.instructions(0)]
    load, compute, free = Action.LOAD, Action.COMPUTE, Action.FREE
    step = [(load, 0), (load, 1), (compute, 2), (free, 0), (free, 1)]
    assert actions[:15] == step * 3
    assert [action for action, _ in actions[15:]] == [
        load,
        compute,
        free,
        free,
        compute,
        free,
        Action.STORE,
        free,
    ]
    assert [buffer for action, buffer in actions[15:] if action is not free] == [3, 4, 5, 5]
    assert sorted(buffer for action, buffer in actions[15:] if action is free) == [2, 3, 4, 5]


@pytest.mark.parametrize("name", CASES)
def test_whatever_is_filled_is_freed_once(name: str) -> None:
    kernel = CASES[name]().kernel()
    for core in range(kernel.cores):
        events = Counter[tuple[str, int, int]]()
        held: set[tuple[int, int]] = set()
        for instruction in kernel.instructions(core):
            slot = (instruction.buffer, instruction.slot)
            if instruction.action is Action.FREE:
                assert slot in held
                held.remove(slot)
            elif instruction.action is not Action.STORE:
                held.add(slot)
            events[instruction.action, *slot] += 1
        assert not held
        assert events


def test_slots_are_filled_in_turn() -> None:
    loads = [
        i.slot for i in split_matmul().kernel().instructions(1) if i.buffer == 0 and i.action is Action.LOAD
    ]
    assert loads == [0, 1, 0, 1, 0, 1]


def test_later_kernels_read_what_is_put_in() -> None:
    """The second kernel starts from zeros; the first one's result is reported as computed."""
    case = three_kernels()
    program = case.compile()
    expected = interpret(case.graph, case.inputs)
    got = emulate(case.graph, program, case.inputs, {1: np.zeros((1, 2, 6, 6), dtype=np.float32)})
    np.testing.assert_array_equal(got[1], expected[1])
    assert not got[3].any()
    assert expected[3].any()


def test_a_host_call_computes_its_op_whole() -> None:
    case = three_kernels()
    program = case.compile()
    on_host = replace(program, stages=(program.stages[0], (HostCall(1),), program.stages[2]))
    expected = interpret(case.graph, case.inputs)
    for value, array in emulate(case.graph, on_host, case.inputs).items():
        np.testing.assert_array_equal(array, expected[value])


def _with_kernel(program: Program, kernel: KernelProgram) -> Program:
    call = program.stages[0][0]
    assert isinstance(call, KernelCall)
    return replace(program, stages=((replace(call, program=kernel),),))


def test_what_no_kernel_stored_cannot_be_read() -> None:
    case = three_kernels()
    with pytest.raises(VerifyError, match="read before any kernel stored it"):
        emulate(case.graph, replace(case.compile(), stages=case.compile().stages[1:]), case.inputs)


def test_a_slot_that_was_never_filled_cannot_be_read() -> None:
    case = split_matmul()
    kernel = case.kernel()
    empty = replace(kernel, steps=kernel.steps[1:])
    with pytest.raises(VerifyError, match="buffer 0 of value 1 is read but not held"):
        emulate(case.graph, _with_kernel(case.compile(), empty), case.inputs)


def test_a_scan_without_its_carry_is_refused() -> None:
    """Each core gets every third tile of the scan axis."""
    case = scanned_rows()
    kernel = case.kernel()
    dealt = replace(kernel, loops=tuple(replace(loop, parallel=True) for loop in kernel.loops), cores=4)
    with pytest.raises(VerifyError, match="without a carry"):
        emulate(case.graph, _with_kernel(case.compile(), dealt), case.inputs)


def test_rows_that_no_tile_stores_hold_poison() -> None:
    case = split_matmul()
    kernel = case.kernel()
    loops = tuple(replace(loop, count=2) if loop.dim == 0 else loop for loop in kernel.loops)
    got = emulate(case.graph, _with_kernel(case.compile(), replace(kernel, loops=loops)), case.inputs)
    (result,) = got.values()
    assert not np.isnan(result[:10]).any()
    assert np.isnan(result[10:]).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int8, np.uint8, np.int64])
def test_poison_is_not_what_a_small_network_computes(dtype: type) -> None:
    spoilt = poison((2,), np.dtype(dtype))
    assert spoilt.dtype == dtype
    assert np.isnan(spoilt).all() if spoilt.dtype.kind == "f" else (spoilt > 60).all()
