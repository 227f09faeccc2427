"""Every rule of the verifier: sound programs pass it, and one thing changed breaks it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from tests.small_networks import (
    CASES,
    Case,
    inner_reduction,
    product_chain,
    scan_inside,
    scanned_rows,
    split_matmul,
    stored_inside,
    three_kernels,
    turned,
    two_maps,
    window_chain,
)
from tilewright.compiler_core.checking.kernel_rules import KERNEL_RULES
from tilewright.compiler_core.checking.program_rules import PROGRAM_RULES
from tilewright.compiler_core.checking.verify import require_sound, verify_kernel, verify_program
from tilewright.compiler_core.errors import VerifyError
from tilewright.compiler_core.ir.layouts import Layout
from tilewright.compiler_core.lowering.program import HostCall, KernelCall, KernelProgram, Program
from tilewright.compiler_core.lowering.regions import Span
from tilewright.compiler_core.lowering.schedule import CoreRange
from tilewright.compiler_core.lowering.steps import Action

Damage = Callable[[KernelProgram], KernelProgram]


@dataclass(frozen=True)
class Break:
    """A change to a sound kernel that breaks `rule`."""

    rule: str
    what: str
    case: Callable[[], Case]
    damage: Damage


def _replaced(items: tuple[Any, ...], at: int, changes: dict[str, Any]) -> tuple[Any, ...]:
    return (*items[:at], replace(items[at], **changes), *items[at + 1 :])


def loop(number: int, /, **changes: Any) -> Damage:
    """Loop `number` of the nest, changed."""
    return lambda kernel: replace(kernel, loops=_replaced(kernel.loops, number, changes))


def step(at: int, **changes: Any) -> Damage:
    """Step `at`, changed."""
    return lambda kernel: replace(kernel, steps=_replaced(kernel.steps, at, changes))


def buffer(at: int, **changes: Any) -> Damage:
    """Buffer `at`, changed."""
    return lambda kernel: replace(kernel, buffers=_replaced(kernel.buffers, at, changes))


def steps_in_order(*order: int) -> Damage:
    """The steps at these positions, in this order."""
    return lambda kernel: replace(kernel, steps=tuple(kernel.steps[index] for index in order))


def shifted(span: Span, low: int = 0, high: int = 0) -> Span:
    """The interval with its bounds moved, at every tile."""
    return Span(span[0] + low, span[1] + high)


def region(at: int, dim: int, low: int = 0, high: int = 0) -> Damage:
    """What buffer `at` holds of `dim`, moved."""

    def damage(kernel: KernelProgram) -> KernelProgram:
        spans = list(kernel.buffers[at].region)
        spans[dim] = shifted(spans[dim], low, high)
        return buffer(at, region=tuple(spans))(kernel)

    return damage


def domain(op: int, axis: int, low: int = 0, high: int = 0) -> Damage:
    """What op `op` runs over along `axis`, moved."""

    def damage(kernel: KernelProgram) -> KernelProgram:
        spans = list(kernel.domains[op])
        spans[axis] = shifted(spans[axis], low, high)
        domains = list(kernel.domains)
        domains[op] = tuple(spans)
        return replace(kernel, domains=tuple(domains))

    return damage


BREAKS = (
    Break("loops cover", "a tile too few", split_matmul, loop(1, count=2)),
    Break("loops cover", "an empty tile", split_matmul, loop(1, count=4)),
    Break("loops cover", "two loops over one dim", split_matmul, loop(0, dim=0)),
    Break("loops cover", "cores share a reduction", split_matmul, loop(2, parallel=True)),
    Break("loops cover", "cores share a scan", scanned_rows, loop(1, parallel=True)),
    Break("loops cover", "a serial loop over rows", scanned_rows, loop(0, parallel=False)),
    Break("stored once", "never", stored_inside, steps_in_order(0, 1, 2, 3)),
    Break("stored once", "twice", stored_inside, steps_in_order(0, 1, 2, 3, 4, 4)),
    Break("stored once", "not in every tile", stored_inside, step(3, moves=(0,))),
    Break("stored once", "at every reduction step", split_matmul, step(6, late=False)),
    Break("stored once", "tiles overlap", stored_inside, region(1, 0, low=-1)),
    Break("stored once", "a gap between tiles", stored_inside, region(1, 1, high=-1)),
    Break("reads are held", "no halo below", window_chain, region(1, 2, low=1)),
    Break("reads are held", "no halo above", window_chain, region(0, 3, high=-1)),
    Break("reads are held", "another value", split_matmul, step(2, reads=(1, 0))),
    Break("filled as stated", "another op", stored_inside, step(2, op=0)),
    Break("filled as stated", "less than its region", window_chain, domain(1, 2, low=1)),
    Break("filled as stated", "loads what it makes", split_matmul, step(2, action=Action.LOAD)),
    Break("filled as stated", "outside its operand", window_chain, region(0, 3, high=1)),
    Break("contents are current", "a load too rare", split_matmul, step(0, moves=(2,))),
    Break("contents are current", "an op too rare", window_chain, step(2, moves=(3,))),
    Break("reads follow writes", "before its load", split_matmul, steps_in_order(0, 2, 1, 3, 4, 5, 6)),
    Break("reads follow writes", "never filled", split_matmul, steps_in_order(0, 1, 2, 4, 5, 6)),
    Break("reads follow writes", "filled twice", split_matmul, steps_in_order(0, 0, 1, 2, 3, 4, 5, 6)),
    Break("reads follow writes", "partial sums", split_matmul, step(4, late=False)),
    Break("reads follow writes", "filled only at the last step", inner_reduction, step(1, late=True)),
    Break("reductions complete", "an inner one cut short", inner_reduction, domain(0, 2, high=-1)),
    Break("reductions complete", "elements folded twice", split_matmul, domain(0, 2, low=-1)),
    Break("reductions complete", "elements left out", split_matmul, domain(0, 2, high=-1)),
    Break("reductions complete", "not started anew", split_matmul, step(2, moves=(2,))),
    Break("scans carry", "starts in the middle", scan_inside, domain(0, 3, low=1)),
    Break("fits", "beyond L1", split_matmul, buffer(5, offset=64 * 1024)),
    Break("fits", "before L1", split_matmul, buffer(5, offset=-32)),
    Break("fits", "no slot", split_matmul, buffer(0, slots=0)),
    Break("fits", "a slot too small", split_matmul, buffer(2, slot_bytes=192)),
    Break("fits", "more cores than there are", split_matmul, lambda kernel: replace(kernel, cores=5)),
    Break("room is not shared", "two storages overlap", split_matmul, buffer(3, offset=960)),
    Break("room is not shared", "one storage, both alive", window_chain, buffer(2, storage=1, offset=576)),
    Break("room is not shared", "kept across tiles", split_matmul, buffer(4, storage=3, offset=1184)),
    Break("fillings are kept", "no slot for the tile behind", product_chain, buffer(3, slots=1)),
    Break("fillings are kept", "two tiles behind", split_matmul, step(4, lag=2)),
    Break("reads follow writes", "a tile ahead of what it reads", split_matmul, step(2, lag=1)),
    Break("room is not shared", "a window in place", window_chain, buffer(1, storage=0, offset=0, slots=1)),
    Break("room is not shared", "with the first of several", split_matmul, buffer(4, offset=0)),
    Break("room is not shared", "a transpose in place", turned, buffer(2, storage=1, offset=128)),
    Break(
        "room is not shared",
        "a wider result in place",
        two_maps,
        buffer(2, storage=1, offset=128, element_bytes=4, slot_bytes=256),
    ),
)


@pytest.mark.parametrize("name", CASES)
def test_sound_programs_break_no_rule(name: str) -> None:
    case = CASES[name]()
    program = case.compile()
    assert verify_program(case.graph, program, case.target) == []
    require_sound(case.graph, program, case.target)


@pytest.mark.parametrize("broken", BREAKS, ids=lambda b: f"{b.rule}: {b.what}")
def test_a_kernel_with_one_thing_changed_is_found(broken: Break) -> None:
    case = broken.case()
    sound = case.kernel()
    assert verify_kernel(sound, case.target) == []
    found = verify_kernel(broken.damage(sound), case.target, "here")
    assert broken.rule in {finding.rule for finding in found}
    assert all(finding.where == "here" and finding.what for finding in found)


def test_a_map_may_overwrite_its_operand() -> None:
    case = two_maps()
    assert verify_kernel(buffer(2, storage=1, offset=128)(case.kernel()), case.target) == []


def _with_stages(program: Program, *order: int) -> Program:
    return replace(program, stages=tuple(program.stages[index] for index in order))


def _with_cores(program: Program, stage: int, cores: CoreRange) -> Program:
    call = program.stages[stage][0]
    assert isinstance(call, KernelCall)
    stages = list(program.stages)
    stages[stage] = (replace(call, cores=cores),)
    return replace(program, stages=tuple(stages))


def _side_by_side(program: Program, one: int, other: int) -> Program:
    stages = [stage for index, stage in enumerate(program.stages) if index not in (one, other)]
    return replace(program, stages=(*stages, program.stages[one] + program.stages[other]))


def _laid(program: Program, stage: int, operands: str) -> Program:
    """The first input or output of a stage's kernel taken to lie with channels last."""
    call = program.stages[stage][0]
    assert isinstance(call, KernelCall)
    workload = call.kernel.workload
    laid = workload.laid({getattr(workload.graph, operands)[0]: Layout((0, 2, 3, 1))})
    broken = replace(call, kernel=replace(call.kernel, workload=laid))
    stages = [*program.stages[:stage], (broken,), *program.stages[stage + 1 :]]
    return replace(program, stages=tuple(stages))


# From a Program of three kernels, one after the other, on cores 0 and 1.
PROGRAM_BREAKS: dict[tuple[str, str], Callable[[Program], Program]] = {
    ("order respects data", "a reader first"): lambda p: _with_stages(p, 1, 0, 2),
    ("order respects data", "side by side with its reader"): lambda p: _side_by_side(p, 1, 2),
    ("order respects data", "stored twice"): lambda p: _with_stages(p, 0, 1, 1, 2),
    ("order respects data", "an output never stored"): lambda p: _with_stages(p, 0, 1),
    ("cores are disjoint", "beyond the chip"): lambda p: _with_cores(p, 1, CoreRange(3, 2)),
    ("cores are disjoint", "before the chip"): lambda p: _with_cores(p, 1, CoreRange(-1, 2)),
    ("cores are disjoint", "more than its range"): lambda p: _with_cores(p, 1, CoreRange(0, 1)),
    ("cores are disjoint", "shared in a stage"): lambda p: _side_by_side(p, 0, 1),
    ("llb is not shared", "two values overlap"): lambda p: replace(p, offsets={1: 0, 2: 140}),
    ("llb is not shared", "beyond the LLB"): lambda p: replace(p, offsets={1: 0, 2: 32 << 20}),
    ("layouts agree", "read in another"): lambda p: _laid(p, 1, "inputs"),
    ("layouts agree", "stored in another"): lambda p: _laid(p, 0, "outputs"),
    ("layouts agree", "an output of the network"): lambda p: _laid(p, 2, "outputs"),
    ("llb is not shared", "before the LLB"): lambda p: replace(p, offsets={1: -1, 2: 144}),
}


@pytest.mark.parametrize("key", PROGRAM_BREAKS, ids=": ".join)
def test_a_program_with_one_thing_changed_is_found(key: tuple[str, str]) -> None:
    case = three_kernels()
    sound = case.compile()
    broken = PROGRAM_BREAKS[key](sound)
    assert key[0] in {finding.rule for finding in verify_program(case.graph, broken, case.target)}
    with pytest.raises(VerifyError, match="breaks rule"):
        require_sound(case.graph, broken, case.target)


def test_every_rule_has_a_test_that_breaks_it() -> None:
    broken = {b.rule for b in BREAKS} | {rule for rule, _ in PROGRAM_BREAKS}
    assert broken == {*KERNEL_RULES, *PROGRAM_RULES}


def test_a_broken_kernel_is_found_within_its_program() -> None:
    case = split_matmul()
    program = case.compile()
    call = program.stages[0][0]
    assert isinstance(call, KernelCall)
    broken = replace(call, program=region(0, 1, high=-1)(call.program))
    found = verify_program(case.graph, replace(program, stages=((broken,),)), case.target)
    assert {(finding.rule, finding.where) for finding in found} == {("reads are held", "stage 0")}


def test_findings_of_a_lowering_that_two_calls_share_count_once() -> None:
    case = split_matmul()
    program = case.compile()
    call = program.stages[0][0]
    assert isinstance(call, KernelCall)
    broken = replace(call, program=region(0, 1, high=-1)(call.program))
    alone = verify_program(case.graph, replace(program, stages=((broken,),)), case.target)
    twice = verify_program(case.graph, replace(program, stages=((broken,), (broken,))), case.target)
    assert [each for each in twice if each.where != "program"] == alone


def test_an_input_of_the_network_holds_its_place_in_the_llb_from_the_start() -> None:
    case = three_kernels()
    program = replace(case.compile(), offsets={case.graph.inputs[0]: 0, 1: 100})
    first = replace(program, stages=program.stages[:1])
    found = PROGRAM_RULES["llb is not shared"](case.graph, first, case.target)
    assert ["overlap in the LLB" in each for each in found] == [True]


def test_a_host_call_reads_and_stores_like_a_kernel() -> None:
    case = three_kernels()
    program = case.compile()
    on_host = replace(program, stages=(program.stages[0], (HostCall(1),), program.stages[2]))
    assert verify_program(case.graph, on_host, case.target) == []
    too_early = replace(on_host, stages=((HostCall(1),), program.stages[0], program.stages[2]))
    rules = {finding.rule for finding in verify_program(case.graph, too_early, case.target)}
    assert rules == {"order respects data"}


def test_an_elementwise_op_may_overwrite_what_it_reads_last() -> None:
    case = split_matmul()
    kernel = case.kernel()
    assert kernel.steps[5].action is Action.COMPUTE
    in_place = buffer(5, storage=4, offset=1216, slots=1)(kernel)
    assert verify_kernel(in_place, case.target) == []
