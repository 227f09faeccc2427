"""Programs judged by machine code first: it runs all tiles, and is never the last word on a fault."""

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import onnx
import pytest

from benchmarks.host.kernels import convolution, softmax
from tests.small_networks import CASES
from tests.targets import simd_target
from tilewright.compiler_core.checking import judge_program as judging
from tilewright.compiler_core.checking.judge_program import judge_program
from tilewright.compiler_core.codegen.machine.image import Image
from tilewright.compiler_core.ir.ops import Array
from tilewright.compiler_core.ir.workload import kernel_of
from tilewright.compiler_core.lowering import regions
from tilewright.compiler_core.lowering.program import KernelCall
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.onnx_import.importer import import_model
from tilewright.measure.host.evaluator import NativeEvaluator
from tilewright.tuner.answer import check
from tilewright.tuner.answer.check import MOST_MACS, KernelCheck, machine_code_for
from tilewright.tuner.kernel.task import KernelTask


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
    case = CASES["split_matmul"]()
    program = case.compile()
    assert isinstance(machine_code_for(case.graph, program), nullcontext)
    with machine_code_for(Mock(macs=MOST_MACS + 1), program) as native:
        assert isinstance(native, NativeEvaluator)


def test_networks_of_many_small_tiles_are_checked_by_machine_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles that suit a CPU's inner cache are many: numpy took minutes for SqueezeNet."""
    case = CASES["split_matmul"]()
    monkeypatch.setattr(check, "MOST_STEPS", 3)
    with machine_code_for(case.graph, case.compile()) as native:
        assert isinstance(native, NativeEvaluator)


@pytest.mark.parametrize("made", [convolution(3, 6, 6, 4, 3), softmax(4, 6)], ids=["exact", "rounds"])
def test_kernels_of_many_small_tiles_are_checked_by_machine_code(
    made: onnx.ModelProto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnx.save(made, tmp_path / "kernel.onnx")
    graph = import_model(tmp_path / "kernel.onnx").graph
    task = KernelTask(Regions(kernel_of(graph, range(len(graph.ops)), {}).workload), simd_target())
    monkeypatch.setattr(check, "MOST_STEPS", 0)
    with monkeypatch.context() as patch:
        patch.delattr(check, "run_kernel")
        assert not KernelCheck(task.regions, task.target, 0).objection(task.default)
    # Machine code that errs is no verdict: numpy decides.
    monkeypatch.setattr(check, "NativeEvaluator", lambda: nullcontext(lambda call, operands: None))
    assert not KernelCheck(task.regions, task.target, 0).objection(task.default)


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
