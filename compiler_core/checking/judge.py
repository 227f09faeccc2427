"""Is a value right? The one rule by which every check of numbers in Tilewright judges.

A value is judged against what the op that made it makes of the same operands in float64. An element is right
when its error is within the tolerance of its dtype (tolerance.py), or within NOISE times the largest error
that the plain evaluation of the op in the model's dtype makes itself. Integers have no tolerance but where a
rounding may fall the other way. Because operands are given, nothing is blamed for what came in, and nothing
that goes wrong is lost in what later ops make of it: where every value is right, so is the network.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from tilewright.compiler_core.ir.dtypes import DType, TensorType
from tilewright.compiler_core.ir.graph import Op
from tilewright.compiler_core.ir.ops import Array
from tilewright.compiler_core.meaning.bounded import Bounded, bounded, exactly
from tilewright.compiler_core.meaning.evaluate import Held, evaluate
from tilewright.compiler_core.meaning.tolerance import is_rounded, largest

NOISE = 4.0
"""Times the error of plain evaluation that any other order of the same arithmetic may make."""


@dataclass(frozen=True)
class Judgement:
    """One value judged: its worst element as `share` of what that may be off by, fine up to 1.

    `off` is that element's error, `place` its index, `got` and `wanted` the two numbers. `caught` is the
    smallest error, relative to the value's largest magnitude, that is noticed at whatever element it is made.
    `objection` says what is wrong besides numbers.
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


@dataclass(frozen=True, eq=False)
class Expected:
    """What a value is to be: in float64 with its slack, as plain evaluation has it, and its dtype."""

    exact: Bounded
    plain: Array
    dtype: DType

    @cached_property
    def allowed(self) -> Array:
        """How far each element may be from `exact`: float64 of its shape."""
        slack = self.exact.slack
        if slack is None:
            return np.zeros(self.plain.shape)
        if not is_rounded(self.dtype):
            return slack
        with np.errstate(all="ignore"):
            return np.maximum(slack, NOISE * _most(self.plain.astype(np.float64) - self.exact.value))

    @cached_property
    def largest(self) -> float:
        """The largest finite magnitude."""
        return _most(self.exact.value)

    @cached_property
    def caught(self) -> float:
        """The smallest error, relative to `largest`, that is noticed at whatever element it is made."""
        finite = np.where(np.isfinite(self.exact.value), self.allowed, 0.0)
        return _most(finite) / self.largest if self.largest else 0.0

    def judge(self, got: Array, there: Array | None = None) -> Judgement:
        """The value as it was computed; only the elements that are `there`, if that is given."""
        exact, plain, may = self.exact.value, self.plain, self.allowed
        if got.shape != exact.shape or got.dtype != plain.dtype:
            what = f"it is {got.dtype}{list(got.shape)}, not {plain.dtype}{list(exact.shape)}"
            return Judgement(self.dtype, share=np.inf, objection=what)
        wanted, mine = exact.astype(np.float64), got.astype(np.float64)
        with np.errstate(all="ignore"):
            off = np.abs(mine - wanted)
            share = np.nan_to_num(off / may, nan=np.inf, posinf=np.inf)
            fine = (mine == wanted) | (got == plain) | (np.isnan(mine) & (np.isnan(wanted) | np.isnan(plain)))
            if is_rounded(self.dtype):
                overflows = np.abs(wanted) + may >= largest(self.dtype)
                fine |= np.isinf(mine) & overflows & (np.sign(mine) == np.sign(wanted))
        share = np.where(fine if there is None else fine | ~there, 0.0, share)
        if not share.size:
            return Judgement(self.dtype)
        place = tuple(int(at) for at in np.unravel_index(int(np.argmax(share)), share.shape))
        worst = float(share[place]), float(off[place]), place, float(mine[place]), float(wanted[place])
        return Judgement(self.dtype, *worst, self.caught)


def _most(array: Array) -> float:
    sizes = np.abs(array.astype(np.float64))
    return float(np.max(sizes, initial=0.0, where=np.isfinite(sizes)))


def expect(
    op: Op,
    operands: Sequence[Array],
    kinds: Sequence[TensorType],
    result: TensorType,
    slacks: Sequence[Array | None] = (),
) -> Expected:
    """What `op` makes of `operands`, arrays in the model's dtypes; `kinds` and `result` are the types.

    `slacks` say how far the operands that were really read may be from these.
    """
    held = [Held(array, (0,) * array.ndim, array.shape) for array in operands]
    plain = evaluate(op, [(0, extent) for extent in op.extents], held, result)
    given = [exactly(array) for array in operands]
    if slacks:
        given = [replace(each, slack=slack) for each, slack in zip(given, slacks, strict=True)]
    return Expected(bounded(op, given, kinds, result), plain, result.dtype)
