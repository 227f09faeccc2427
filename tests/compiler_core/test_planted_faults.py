"""The law catches faults: each is planted in the compiler or its Program, and some fixed network shows it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.small_networks import CASES, Case
from tilewright.compiler_core.checking.emulate import emulate
from tilewright.compiler_core.checking.judge_program import judge_program
from tilewright.compiler_core.checking.verify import verify_program
from tilewright.compiler_core.errors import ConfigError, VerifyError
from tilewright.compiler_core.ir.index_map import clamped_interval
from tilewright.compiler_core.lowering import lower, outline, regions
from tilewright.compiler_core.lowering.program import KernelCall, KernelProgram, Program
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.lowering.steps import Action
from tilewright.compiler_core.meaning.interpret import interpret

Change = Callable[[KernelProgram], KernelProgram]


def numbers_are_wrong(case: Case, program: Program) -> bool:
    """Whether the emulator refuses the Program, or a value differs from what the Graph means."""
    expected = interpret(case.graph, case.inputs)
    try:
        got = emulate(case.graph, program, case.inputs)
    except VerifyError:
        return True
    return any(not np.array_equal(got[value], expected[value], equal_nan=True) for value in got)


def is_refused(case: Case, program: Program) -> bool:
    """Whether the judge, who sees every op with the operands that it had, finds the Program wrong."""
    try:
        return not all(each.judgement.ok for each in judge_program(case.graph, program, case.inputs))
    except VerifyError:
        return True


def caught(change: Change | None = None) -> dict[str, set[str]]:
    """Which half of the law each network breaks: the verifier's rules, or the numbers; "refused" when it
    does not even compile.
    """
    found: dict[str, set[str]] = {}
    for name, make in CASES.items():
        case = make()
        try:
            program = case.compile()
        except ConfigError:
            found[name] = {"refused"}
            continue
        if change is not None:
            program = _changed(program, change)
        halves = set()
        if verify_program(case.graph, program, case.target):
            halves.add("rules")
        if numbers_are_wrong(case, program):
            halves.add("numbers")
        assert is_refused(case, program) == ("numbers" in halves), name
        found[name] = halves
    return found


def _changed(program: Program, change: Change) -> Program:
    stages = tuple(
        tuple(
            replace(call, program=change(call.program)) if isinstance(call, KernelCall) else call
            for call in stage
        )
        for stage in program.stages
    )
    return replace(program, stages=stages)


BOTH = {"rules", "numbers"}


def test_without_a_fault_nothing_is_caught() -> None:
    assert caught() == {name: set() for name in CASES}


def test_a_halo_folded_twice_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles of a split reduction overlap by one element, so the element between two tiles counts twice."""
    honest = regions._tile_span

    def overlapping(extent: int, tile: regions.Size, loop: int, loops: int) -> regions.Span:
        low, high = honest(extent, tile, loop, loops)
        return regions.Span(low, np.minimum(high + 1, extent))

    def span(self: Regions, op: Any, at: int, axis: int, sizes: Any, known: Any) -> regions.Span:
        monkeypatch.setattr(regions, "_tile_span", overlapping if axis in op.reduction_axes else honest)
        return axis_span(self, op, at, axis, sizes, known)

    axis_span = Regions._axis_span
    monkeypatch.setattr(Regions, "_axis_span", span)
    found = caught()
    assert found["split_matmul"] == found["inner_reduction"] == BOTH


def test_a_halo_stored_twice_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """An inner value is stored though its tiles overlap: the same numbers, but from two tiles."""
    monkeypatch.setattr(lower, "storable", lambda *_: True)
    case = CASES["window_chain"]()
    inner = case.graph.ops[2].result
    stored = replace(case, graph=replace(case.graph, outputs=(*case.graph.outputs, inner)))
    found = verify_program(stored.graph, stored.compile(), stored.target)
    assert {finding.rule for finding in found} == {"stored once"}


def test_a_halo_added_in_the_wrong_place_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Padding counted twice: windows look one element further up than they read."""

    def moved(expr: Any, box: Any, extent: int) -> Any:
        return clamped_interval(replace(expr, offset=2 * expr.offset), box, extent)

    monkeypatch.setattr(regions, "clamped_interval", moved)
    found = caught()
    assert found["window_chain"] == found["three_kernels"] == BOTH


@pytest.mark.parametrize("side", ["low", "high"])
def test_a_border_clamp_off_by_one_is_caught(side: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def clamped(expr: Any, box: Any, extent: int) -> Any:
        low, high = clamped_interval(expr, box, extent)
        if side == "low":
            return np.minimum(np.maximum(low, 1), high), high
        return low, np.maximum(np.minimum(high, extent - 1), low)

    monkeypatch.setattr(regions, "clamped_interval", clamped)
    found = caught()
    assert (
        found["window_chain"] == found["three_kernels"] == BOTH
    )  # a value read point by point needs no clamp


def test_a_scan_shared_by_cores_loses_its_carry(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop over a scan axis is dealt to cores like any other."""

    def nest(self: Regions, tiling: Any, sizes: tuple[int, ...]) -> Any:
        return tuple(replace(loop, parallel=loop.dim < 2) for loop in honest(self, tiling, sizes))

    honest = lower._nest
    monkeypatch.setattr(lower, "_nest", nest)
    assert caught()["scanned_rows"] == BOTH


def test_a_scan_that_skips_what_came_before_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scan inside a kernel starts where its tile starts, though no carry reaches it."""
    honest = Regions._axis_span

    def span(self: Regions, op: Any, at: int, axis: int, sizes: Any, known: Any) -> regions.Span:
        if (at, axis) == (0, 3) and at != self.root:
            return self._hull(op.result, axis, sizes, None, known)
        return honest(self, op, at, axis, sizes, known)

    monkeypatch.setattr(Regions, "_axis_span", span)
    assert caught()["scan_inside"] == BOTH


def test_scan_tiles_out_of_order_are_caught() -> None:
    """The serial loop runs backwards: its tables are turned round, so every carry is the wrong one."""

    def backwards(kernel: KernelProgram) -> KernelProgram:
        def turned(span: regions.Span) -> regions.Span:
            return regions.Span(np.flip(span[0], 1), np.flip(span[1], 1))

        return replace(
            kernel,
            buffers=tuple(replace(b, region=tuple(map(turned, b.region))) for b in kernel.buffers),
            domains=tuple(tuple(map(turned, domain)) for domain in kernel.domains),
        )

    case = CASES["scanned_rows"]()
    program = _changed(case.compile(), backwards)
    assert numbers_are_wrong(case, program)
    assert verify_program(case.graph, program, case.target)


@pytest.mark.parametrize("action", [Action.LOAD, Action.COMPUTE])
def test_a_stale_buffer_is_caught(action: Action) -> None:
    """The first step of its kind is not repeated when its innermost loop advances."""

    def lazy(kernel: KernelProgram) -> KernelProgram:
        at = next(index for index, step in enumerate(kernel.steps) if step.action is action)
        cut = [loop.dim for loop in kernel.loops if loop.count > 1 and loop.dim in kernel.steps[at].moves]
        step = replace(kernel.steps[at], moves=tuple(dim for dim in kernel.steps[at].moves if dim != cut[-1]))
        return replace(kernel, steps=(*kernel.steps[:at], step, *kernel.steps[at + 1 :]))

    found = caught(lazy)
    assert found["split_matmul"] == found["window_chain"] == found["stored_inside"] == BOTH


def test_a_dropped_partial_sum_is_caught() -> None:
    """The last step of every serial loop is left out."""

    def short(kernel: KernelProgram) -> KernelProgram:
        loops = tuple(replace(loop, count=max(1, loop.count - (not loop.parallel))) for loop in kernel.loops)
        return replace(kernel, loops=loops)

    found = caught(short)
    assert found["split_matmul"] == found["inner_reduction"] == found["scanned_rows"] == BOTH


def test_partial_sums_that_are_not_added_up_are_caught() -> None:
    """The reduction starts anew at every step, as if it were not split: only its last part survives."""

    def unsplit(kernel: KernelProgram) -> KernelProgram:
        return replace(kernel, anchor=-1)

    found = caught(unsplit)
    assert found["split_matmul"] == found["inner_reduction"] == BOTH


def test_the_wrong_buffers_sharing_room_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """A storage takes a new tenant while the one before is still read."""

    def joins(at: int, held: list[int], buffers: Any) -> bool:
        mine = buffers[at].outline.accumulator
        return all(buffers[other].outline.accumulator is mine and buffers[other].shareable for other in held)

    monkeypatch.setattr(outline, "_may_join", joins)
    assert caught()["residual"] == BOTH
