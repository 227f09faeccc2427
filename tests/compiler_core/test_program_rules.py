"""Rules of the verifier about stages, cores and the LLB, each at its limits."""

from dataclasses import replace

import pytest

from tests.small_networks import Case, four_maps
from tilewright.compiler_core.checking.program_rules import PROGRAM_RULES
from tilewright.compiler_core.ir.layouts import Layout
from tilewright.compiler_core.lowering.program import HostCall, KernelCall, Program
from tilewright.compiler_core.lowering.schedule import CoreRange

A, B, C = 1, 2, 3
"""Values between the four kernels: A lives in stages 0 and 1, B in 1 and 2, C in 2 and 3."""


def found(rule: str, case: Case, program: Program) -> list[str]:
    return list(PROGRAM_RULES[rule](case.graph, program, case.target))


def call_of(program: Program, stage: int) -> KernelCall:
    call = program.stages[stage][0]
    assert isinstance(call, KernelCall)
    return call


def on_cores(*ranges: CoreRange, after_host: bool = False) -> list[str]:
    """The complaints about a stage with the first kernels on these cores."""
    case = four_maps()
    program = case.compile()
    calls = [replace(call_of(program, stage), cores=cores) for stage, cores in enumerate(ranges)]
    host = (HostCall(3),) if after_host else ()
    return found("cores are disjoint", case, replace(program, stages=((*host, *calls),)))


def test_the_complaint_names_the_cores_that_are_shared() -> None:
    assert on_cores(CoreRange(0, 2), CoreRange(2, 2)) == []
    assert on_cores(CoreRange(0, 2), CoreRange(1, 2)) == ["stage 0 uses cores [1] twice or beyond the chip"]


def test_the_complaint_names_the_cores_beyond_the_chip() -> None:
    assert on_cores(CoreRange(3, 2)) == ["stage 0 uses cores [3, 4] twice or beyond the chip"]


def test_kernels_behind_a_host_call_have_their_cores_checked() -> None:
    assert on_cores(CoreRange(0, 2), after_host=True) == []
    assert on_cores(CoreRange(3, 2), after_host=True) != []


def test_a_range_of_no_cores_is_too_small() -> None:
    assert on_cores(CoreRange(0, 0)) == ["stage 0 runs 2 cores in a range of 0"]


@pytest.mark.parametrize(
    ("offsets", "sound"),
    [
        ({A: 0, C: 0}, True),
        ({C: 0, A: 0}, True),
        ({A: 0, B: 0}, False),
        ({B: 0, A: 0}, False),
        ({B: 0, C: 0}, False),
    ],
)
def test_values_that_are_never_alive_together_may_share_room(offsets: dict[int, int], sound: bool) -> None:
    case = four_maps()
    assert (found("llb is not shared", case, replace(case.compile(), offsets=offsets)) == []) is sound


def test_an_output_keeps_its_room_to_the_end() -> None:
    case = four_maps(first_is_an_output=True)
    assert found("llb is not shared", case, replace(case.compile(), offsets={A: 0, C: 0})) != []


def test_the_complaint_says_where_a_value_ends() -> None:
    case = four_maps()
    end = case.target.llb_bytes
    (said,) = found("llb is not shared", case, replace(case.compile(), offsets={A: end}))
    assert f"ends at {end + 128}, beyond the LLB" in said


def test_a_value_between_kernels_may_have_a_layout_of_its_own() -> None:
    case = four_maps()
    program = case.compile()
    stages = list(program.stages)
    for stage, operands in ((0, "outputs"), (1, "inputs")):
        call = call_of(program, stage)
        workload = call.kernel.workload
        laid = workload.laid({getattr(workload.graph, operands)[0]: Layout((1, 0))})
        stages[stage] = (replace(call, kernel=replace(call.kernel, workload=laid)),)
    assert found("layouts agree", case, replace(program, stages=tuple(stages))) == []
