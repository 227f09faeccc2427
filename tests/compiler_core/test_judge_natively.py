"""Programs judged by machine code first: it runs all tiles, and is never the last word on a fault."""

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

from tests.small_networks import CASES
from tilewright.compiler_core.checking import judge_program as judging
from tilewright.compiler_core.checking.judge_program import judge_program
from tilewright.compiler_core.codegen.machine.image import Image
from tilewright.compiler_core.ir.ops import Array
from tilewright.compiler_core.lowering import regions
from tilewright.compiler_core.lowering.program import KernelCall
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.measure.host.evaluator import NativeEvaluator
from tilewright.tuner.answer.check import MOST_MACS, machine_code_for


@pytest.fixture(scope="module")
def evaluator() -> Iterator[NativeEvaluator]:
    with NativeEvaluator() as made:
        yield made


@pytest.mark.parametrize("name", sorted(CASES))
def test_machine_code_suffices_for_sound_programs(
    name: str, evaluator: NativeEvaluator, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = CASES[name]()
    program = case.compile()
    if not any(isinstance(call, KernelCall) for stage in program.stages for call in stage):
        pytest.skip("nothing but ops of the host")
    monkeypatch.delattr(judging, "_judge_kernel")
    judged = list(judge_program(case.graph, program, case.inputs, sample_seed=0, native=evaluator))
    assert all(each.whole and each.judgement.ok for each in judged)


def test_machine_code_has_figures_where_they_are_asked_for(evaluator: NativeEvaluator) -> None:
    """As `tune verify` asks; a run's check is content with values that are right at a glance."""
    case = CASES["split_matmul"]()
    told = list(judge_program(case.graph, case.compile(), case.inputs, exact=True, native=evaluator))
    assert all(each.judgement.ok and each.moved is not None for each in told)
    assert any(each.judgement.caught > 0.0 for each in told)
    glanced = list(judge_program(case.graph, case.compile(), case.inputs, native=evaluator))
    assert {each.value for each in glanced} == {each.value for each in told}
    assert all(each.judgement.ok and each.judgement.caught == 0.0 for each in glanced)


def test_large_networks_are_checked_by_machine_code() -> None:
    graph = CASES["split_matmul"]().graph
    assert isinstance(machine_code_for(graph), nullcontext)
    with machine_code_for(Mock(macs=MOST_MACS + 1)) as native:
        assert isinstance(native, NativeEvaluator)


def test_numpy_has_the_last_word() -> None:
    case = CASES["split_matmul"]()
    asked = []

    def lying(call: KernelCall, operands: Mapping[int, Array]) -> Mapping[int, Array]:
        asked.append(call)
        graph = call.kernel.workload.graph
        return {op.result: np.zeros(graph.shape(op.result), np.float32) for op in graph.ops}

    judged = list(judge_program(case.graph, case.compile(), case.inputs, native=lying))
    assert asked
    assert all(each.judgement.ok for each in judged)


def test_a_fault_of_the_compiler_shows(evaluator: NativeEvaluator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles of a split reduction overlap by one element."""
    honest, axis_span = regions._tile_span, Regions._axis_span

    def overlapping(extent: int, tile: regions.Size, loop: int, loops: int) -> regions.Span:
        low, high = honest(extent, tile, loop, loops)
        return regions.Span(low, np.minimum(high + 1, extent))

    def span(self: Regions, op: Any, at: int, axis: int, sizes: Any, known: Any) -> regions.Span:
        monkeypatch.setattr(regions, "_tile_span", overlapping if axis in op.reduction_axes else honest)
        return axis_span(self, op, at, axis, sizes, known)

    monkeypatch.setattr(Regions, "_axis_span", span)
    case = CASES["split_matmul"]()
    judged = list(judge_program(case.graph, case.compile(), case.inputs, native=evaluator))
    assert not all(each.judgement.ok for each in judged)


def test_a_kernel_that_crashes_is_run_in_numpy(
    evaluator: NativeEvaluator, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tilewright.measure.host import evaluator as module

    monkeypatch.setattr(module, "flat_image", lambda _: Image(b"\x0f\x0b" * 32, {"repeat": 0}))
    case = CASES["window_chain"]()
    judged = list(judge_program(case.graph, case.compile(), case.inputs, native=evaluator))
    assert judged
    assert all(each.judgement.ok for each in judged)
