"""Faults of the generator show: each is planted in it, and some fixed network differs or crashes."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.small_networks import CASES
from tilewright.compiler_core.checking.emulate import Seen, run_kernel
from tilewright.compiler_core.codegen.affine import Affine
from tilewright.compiler_core.codegen.memory import Addressing
from tilewright.compiler_core.codegen.nest import KernelNest
from tilewright.compiler_core.codegen.stage_writer import StageWriter
from tilewright.compiler_core.codegen.tiles import Position
from tilewright.compiler_core.lowering.program import KernelCall
from tilewright.measure.host.evaluator import NativeEvaluator

Patch = Callable[[pytest.MonkeyPatch], None]


@pytest.fixture(scope="module")
def evaluator() -> Iterator[NativeEvaluator]:
    with NativeEvaluator() as made:
        yield made


def is_caught(evaluator: NativeEvaluator) -> bool:
    """Whether machine code of some network crashes or differs from what its tiles compute."""
    for make in CASES.values():
        case = make()
        memory = dict(case.inputs)
        for call in (call for stage in case.compile().stages for call in stage):
            assert isinstance(call, KernelCall), "no case has ops of the host"
            kernel, seen = call.kernel, dict[int, Seen]()
            known = {**case.graph.constants, **memory}
            operands = {v: kernel.part(v, known[kernel.values[v]]) for v in kernel.workload.graph.inputs}
            made = evaluator(call, operands)
            run_kernel(case.graph, call, memory, watched=seen)
            if made is None:
                return True
            for op in kernel.workload.graph.ops:
                there = seen[kernel.values[op.result]]
                if not np.array_equal(made[op.result][there.there], there.array[there.there]):
                    return True
    return False


def no_halo(patch: pytest.MonkeyPatch) -> None:
    """Reads of padding are reads like others."""
    patch.setattr(Addressing, "outside", lambda *_: ())


def no_tail(patch: pytest.MonkeyPatch) -> None:
    """All lanes of the last vector count."""
    honest = Addressing.mask

    def mask(self: Addressing, conditions: Any, *, tail: bool) -> str:
        return honest(self, conditions, tail=False)

    patch.setattr(Addressing, "mask", mask)


def tail_off_by_one(patch: pytest.MonkeyPatch) -> None:
    """One lane of the last vector is left out."""
    honest = Addressing._tail_mask

    def mask(self: Addressing) -> str:
        tail = self.tail
        assert tail is not None
        self.tail = tail - 1 if isinstance(tail, int) else self.writer.sub(tail, 1)
        try:
            return honest(self)
        finally:
            self.tail = tail

    patch.setattr(Addressing, "_tail_mask", mask)


def alias(patch: pytest.MonkeyPatch) -> None:
    """All values inside a kernel share one place."""
    honest = vars(KernelNest)["scratch"].func

    def scratch(self: KernelNest) -> Any:
        inner, sums, size = honest(self)
        return dict.fromkeys(inner, 0), dict.fromkeys(sums, 0), size

    patch.setattr(KernelNest, "scratch", property(scratch))


def stale_accumulator(patch: pytest.MonkeyPatch) -> None:
    """Sums go on from whatever the last tile left."""
    honest = Position.is_end

    def is_end(self: Position, *, first: bool) -> str:
        found = honest(self, first=first)
        return self.writer.let("icmp eq i64 0, 1") if first and found else found

    patch.setattr(Position, "is_end", is_end)


def forgotten_sums(patch: pytest.MonkeyPatch) -> None:
    """Every step of a fold begins anew."""
    patch.setattr(StageWriter, "_begun", lambda self, points, fresh: fresh)


def skipped_rest(patch: pytest.MonkeyPatch) -> None:
    """Rows that fill no block are left out."""
    patch.setattr(StageWriter, "_remainder", lambda *_: None)


def low_of_a_tile(patch: pytest.MonkeyPatch) -> None:
    """Values inside a kernel are found by their place in the whole."""
    honest = Position._scratch

    def scratch(self: Position, *args: Any) -> Any:
        return replace(honest(self, *args), lows={})

    patch.setattr(Position, "_scratch", scratch)


def padding_of_zero(patch: pytest.MonkeyPatch) -> None:
    """Whatever is read outside is zero, and so are maxima of windows that reach there."""
    honest = Addressing.load

    def load(self: Addressing, memory: Any, index: Any, conditions: Any, pad: float) -> Any:
        return honest(self, memory, index, conditions, 0.0)

    patch.setattr(Addressing, "load", load)


def wrong_quotient(patch: pytest.MonkeyPatch) -> None:
    """Divisions that have no closed form round toward zero."""
    honest = Affine.range

    def positive(self: Affine) -> tuple[int, int]:
        low, high = honest.__get__(self)
        return max(0, low), high

    patch.setattr(Affine, "range", property(positive))


FAULTS: tuple[Patch, ...] = (
    no_halo,
    no_tail,
    tail_off_by_one,
    alias,
    stale_accumulator,
    forgotten_sums,
    skipped_rest,
    low_of_a_tile,
    padding_of_zero,
    wrong_quotient,
)


def test_without_a_fault_nothing_is_caught(evaluator: NativeEvaluator) -> None:
    assert not is_caught(evaluator)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_is_caught(fault: Patch, evaluator: NativeEvaluator, monkeypatch: pytest.MonkeyPatch) -> None:
    fault(monkeypatch)
    assert is_caught(evaluator)
