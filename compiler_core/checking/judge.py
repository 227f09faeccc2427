"""Is a value right? The one rule by which every check of numbers in Tilewright judges.

A value is judged against a float64 evaluation of its op on the same operands. An element is right
when its error is within the tolerance of its dtype (meaning/tolerance.py), or within NOISE times the largest
error that the plain evaluation of the op in the model's dtype makes itself. Integers have no tolerance but
where a rounding may fall the other way. Because operands are given, no op is blamed for its inputs, and no
error is hidden by later ops: where every value is right, so is the network.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from tilewright.compiler_core.ir.dtypes import DType, TensorType
from tilewright.compiler_core.ir.graph import Op
from tilewright.compiler_core.ir.ops import Array
from tilewright.compiler_core.meaning.bounded import (
    Bounded,
    blocks,
    bounded,
    part_of,
    place_of,
    sum_with_least_slack,
)
from tilewright.compiler_core.meaning.evaluate import Box, evaluate
from tilewright.compiler_core.meaning.tolerance import is_rounded

NOISE = 4.0
"""Times the error of plain evaluation that any other order of the same arithmetic may make."""


@dataclass(frozen=True)
class Judgement:
    """One value judged: its worst element as `share` of what that may be off by, fine up to 1.

    `off` is that element's error, `place` its index, `got` and `wanted` the two numbers. `caught` is the
    smallest error, relative to the value's largest magnitude, that is noticed at any element.
    `objection` is a mistake other than in the numbers.
    """

    dtype: DType
    share: float = 0.0
    off: float = 0.0
    place: tuple[int, ...] = ()
    got: float = 0.0
    wanted: float = 0.0
    caught: float = 0.0
    objection: str = ""

    @property
    def ok(self) -> bool:
        """Whether the value is right."""
        return self.share <= 1.0

    def __str__(self) -> str:
        if self.objection:
            return self.objection
        at = f" at [{', '.join(map(str, self.place))}]" if self.place else ""
        times = f"{self.share:.3g} times what {self.dtype} may be off by there"
        return f"{self.got:.9g} instead of {self.wanted:.9g}{at}: off by {self.off:.3g}, {times}"


@dataclass(frozen=True)
class _Element:
    """One element: its error, its slack, where it is, and the two numbers."""

    off: float
    slack: float
    place: tuple[int, ...]
    got: float
    wanted: float


@dataclass
class Tally:
    """The state of a judgement box by box.

    `near` is the element that is furthest off for its slack, `far` the one that is furthest off of those
    beyond their slack.
    """

    dtype: DType
    noise: float = 0.0
    largest: float = 0.0
    loosest: float = 0.0
    near: _Element = field(default_factory=lambda: _Element(0.0, 0.0, (), 0.0, 0.0))
    far: _Element | None = None

    def add(
        self,
        exact: Bounded,
        plain: Array | None,
        got: Array,
        there: Array | None = None,
        start: tuple[int, ...] = (),
    ) -> None:
        """One box from `start` on: in float64, as plain evaluation has it, and as computed where `there`.

        Without plain evaluation nothing but the slack is allowed.
        """
        wanted, mine = (each.astype(np.float64) for each in (exact.value, got))
        flat = wanted if plain is None else plain.astype(np.float64)
        with np.errstate(all="ignore"):
            slack = np.zeros(wanted.shape) if exact.slack is None else exact.slack
            self.noise = max(self.noise, _most(flat - wanted))
            self.largest = max(self.largest, _most(wanted))
            self.loosest = max(self.loosest, float(np.max(slack, initial=0.0, where=np.isfinite(wanted))))
            off = np.abs(mine - wanted)
            fine = (mine == wanted) | (mine == flat) | (np.isnan(mine) & (np.isnan(wanted) | np.isnan(flat)))
            if is_rounded(self.dtype):
                overflows = np.abs(wanted) + slack >= self.dtype.largest
                fine |= np.isinf(mine) & overflows & (np.sign(mine) == np.sign(wanted))
            off = np.where(fine if there is None else fine | ~there, 0.0, np.nan_to_num(off, nan=np.inf))
            share = np.where(off == 0.0, 0.0, off / slack)
        if not off.size:
            return

        def element(scores: Array) -> _Element:
            at = np.unravel_index(int(np.argmax(scores)), scores.shape)
            place = tuple(int(i) + first for i, first in zip(at, start or (0,) * len(at), strict=True))
            return _Element(float(off[at]), float(slack[at]), place, float(mine[at]), float(wanted[at]))

        nearest, furthest = element(share), element(np.where(share > 1.0, off, 0.0))
        if nearest.off * self.near.slack >= self.near.off * nearest.slack:
            self.near = nearest
        if furthest.off > furthest.slack and (self.far is None or furthest.off > self.far.off):
            self.far = furthest

    def judgement(self) -> Judgement:
        """The verdict on all boxes."""
        bar = NOISE * self.noise if is_rounded(self.dtype) else 0.0
        worst = self.far if self.far is not None and self.far.off > bar else self.near
        allowed = max(worst.slack, bar)
        share = 0.0 if worst.off == 0.0 else worst.off / allowed if allowed else np.inf
        caught = max(self.loosest, bar) / self.largest if self.largest else 0.0
        figures = worst.off, worst.place, worst.got, worst.wanted
        return Judgement(self.dtype, float(share), *figures, float(caught))


def mismatch(dtype: DType, got: Array, wanted: Array) -> Judgement | None:
    """The judgement on a value of another shape or element type; None where both agree."""
    if got.shape == wanted.shape and got.dtype == wanted.dtype:
        return None
    what = f"it is {got.dtype}{list(got.shape)}, not {wanted.dtype}{list(wanted.shape)}"
    return Judgement(dtype, share=np.inf, objection=what)


@dataclass(frozen=True, eq=False)
class Evaluated:
    """An op judged: float64 rounded to the model's dtype, and each element's slack where that is wanted."""

    judgements: tuple[Judgement, ...]
    reference: Array
    slack: Array | None


def judge_op(
    op: Op,
    operands: Sequence[Bounded],
    kinds: Sequence[TensorType],
    result: TensorType,
    got: Sequence[tuple[Array, Array | None]],
    *,
    slack: bool = False,
    strict: bool = False,
) -> Evaluated:
    """Judge what was `got` of an op's result, as a whole or where it is there, from `operands`.

    Operands are arrays in the model's dtypes, `kinds` and `result` the types. A slack says how far an operand
    that was really read may be from that. The result's own is made if it is wanted. `strict` allows nothing
    for the error of plain evaluation, which is then not asked for.
    """
    dtype, shape = result.dtype, op.extents[: op.rank]
    reference = np.empty(shape, dtype.numpy)
    slacks = np.zeros(shape) if slack else None
    wrong = [mismatch(dtype, array, reference) for array, _ in got]
    tallies = [Tally(dtype) for _ in got]
    for box in blocks(op):
        place = place_of(op, box)
        held = [part_of(a, each.value, box) for a, each in zip(op.operands, operands, strict=True)]
        plain = None if strict else evaluate(op, box, held, result)
        exact = bounded(op, operands, kinds, result, box)
        with np.errstate(all="ignore"):
            reference[place] = exact.value.astype(dtype.numpy)
        if slacks is not None and exact.slack is not None:
            slacks[place] = exact.slack
        start = tuple(low for low, _ in box[: op.rank])
        for tally, (array, there), mistake in zip(tallies, got, wrong, strict=True):
            if mistake is None:
                tally.add(exact, plain, array[place], None if there is None else there[place], start)
    judgements = tuple(mistake or tally.judgement() for tally, mistake in zip(tallies, wrong, strict=True))
    return Evaluated(judgements, reference, slacks)


def is_right_at_a_glance(op: Op, operands: Sequence[Array], result: TensorType, got: Array) -> bool:
    """Whether all that was `got` is right by what is cheap to know; False says nothing.

    Sums of floats lie within the part of their slack that takes no magnitudes of terms, anything else
    equals plain evaluation: judge_op finds such values right too.
    """
    if mismatch(result.dtype, got, np.empty(op.extents[: op.rank], result.dtype.numpy)) is not None:
        return False
    return all(_is_near(op, box, operands, result, got[place_of(op, box)]) for box in blocks(op))


def _is_near(op: Op, box: Box, operands: Sequence[Array], result: TensorType, got: Array) -> bool:
    exact = sum_with_least_slack(op, operands, result, box)
    if exact is None:
        held = [part_of(a, array, box) for a, array in zip(op.operands, operands, strict=True)]
        return np.array_equal(got, evaluate(op, box, held, result), equal_nan=result.dtype.is_float)
    off = np.abs(got - exact.value)
    return bool((off <= exact.slack).all())


def _most(array: Array) -> float:
    sizes = np.abs(array)
    return float(np.max(sizes, initial=0.0, where=np.isfinite(sizes)))
