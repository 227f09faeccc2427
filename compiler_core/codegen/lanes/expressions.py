"""Ops of the table on lanes: the column `emit` names a method here.

Each takes the op's operands and, by name, the attributes it needs; the others fall into `_`.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tilewright.compiler_core.codegen.lanes.arithmetic import is_signed, kind_of
from tilewright.compiler_core.codegen.lanes.functions import Functions
from tilewright.compiler_core.codegen.writer import Lane
from tilewright.compiler_core.errors import ConfigError
from tilewright.compiler_core.ir.dtypes import dtype_of
from tilewright.compiler_core.ir.graph import Op


class Expressions(Functions):
    """Bodies of structured ops on lanes."""

    def body(self, op: Op, args: Sequence[Lane]) -> Lane:
        """The result of `op` at one point; ConfigError where it has no native form."""
        method = getattr(self, op.row.emit or op.kind, None)
        if method is None:
            raise ConfigError(f"op {op.kind} has no native form")
        named = dict(op.attributes) if method.__name__ in vars(Expressions) else {}
        made: Lane = method(*args, **named)
        return made

    def folded(self, reducer: str, total: Lane, x: Lane) -> Lane:
        """One more term of a fold."""
        if reducer == "sum":
            return self.add(total, x)
        if reducer == "prod":
            return self.mul(total, x)
        return self.maximum(total, x) if reducer == "max" else self.minimum(total, x)

    def folded_numbers(self, reducer: str, total: Lane, x: Lane) -> Lane:
        """One more term of a fold, of which it is known elsewhere whether any is NaN."""
        if reducer in ("max", "min") and x.is_float:
            return self.beyond(total, x, above=reducer == "max")
        return self.folded(reducer, total, x)

    def across(self, reducer: str, rows: Sequence[Lane]) -> list[Lane]:
        """The fold of all lanes of each vector; NaN are no concern.

        Two vectors exchange lanes and become one, two of these again: four rows take 13 steps, not 32.
        """
        found: list[Lane] = []
        while len(found) < len(rows):
            together = 1 << min((len(rows) - len(found)).bit_length(), rows[0].lanes.bit_length()) - 1
            group = list(rows[len(found) : len(found) + together])
            step = 1
            while len(group) > 1:
                pairs = zip(group[::2], group[1::2], strict=True)
                group = [self.folded_numbers(reducer, *self.exchanged(a, b, step)) for a, b in pairs]
                step *= 2
            total = group[0]
            while total.lanes > together:
                total = self.folded_numbers(reducer, *self.halves(total))
            found += self.separate(total)
        return found

    def same(self, x: Lane, *_others: Lane, **_: Any) -> Lane:
        """The first operand."""
        return x

    def concat(self, first: Lane, *others: Lane, **_: Any) -> Lane:
        """The sum of parts of which one differs from zero; those known to be zero are left out."""
        parts = [first, *others]
        zero = self.like(first, 0)
        kept = [part for part in parts if part.lanes > 1 or part.text != zero.text] or parts[:1]
        made = kept[0]
        for other in kept[1:]:
            made = self.add(made, other)
        return made

    def div(self, a: Lane, b: Lane, **_: Any) -> Lane:
        """The quotient; of whole numbers toward zero."""
        if not a.is_float:
            return self.whole_quotient(a, b)[0]
        alike = self.fuses and b.lanes == 1 and a.lanes > 1
        return self.divided_alike(a, b) if alike else self.quotient(a, b)

    def divided_alike(self, a: Lane, b: Lane) -> Lane:
        """All lanes by one number: its reciprocal, and one correction, which rounds as a division does.

        Source: P. Markstein, IBM J. Res. Dev. 34 (1990), theorem 8.
        """
        y = self.quotient(self.like(b, 1.0), b)
        q = self.mul(a, y)
        rest = self._intrinsic("fma", self.negative(q), b, a)
        # Infinities and zeros leave no rest to correct with.
        return self.select(self.equal(rest, rest), self._intrinsic("fma", rest, y, q), q)

    def mod(self, a: Lane, b: Lane, fmod: int = 0, **_: Any) -> Lane:
        """The remainder with the sign of a (fmod) or of b."""
        zero = self.like(a, 0)
        if not a.is_float:
            rest = self.whole_quotient(a, b)[1]
            if fmod or not a.signed:
                return rest
        else:
            wide, divisor = self.converted(a, "double"), self.converted(b, "double")
            times = self.truncate(self.quotient(wide, divisor))
            rest = self.converted(self.fma(self.negative(times), divisor, wide), a.kind)
            if fmod:
                return rest
        other = self.differ(self.less(rest, zero), self.less(b, zero))
        wrong = self.both(other, self.not_equal(rest, zero))
        return self.select(wrong, self.add(rest, b), rest)

    def neg(self, a: Lane, **_: Any) -> Lane:
        """-a."""
        return self.negative(a)

    def abs(self, a: Lane, **_: Any) -> Lane:
        """|a|."""
        return self.absolute(a)

    def sign(self, a: Lane, **_: Any) -> Lane:
        """-1, 0 or 1; NaN of NaN."""
        zero, one = self.like(a, 0), self.like(a, 1)
        if not a.signed and not a.is_float:
            return self.select(self.equal(a, zero), zero, one)
        found = self.select(self.less(a, zero), self.like(a, -1), self.select(self.less(zero, a), one, zero))
        return self.select(self.is_nan(a), a, found) if a.is_float else found

    def relu(self, a: Lane, **_: Any) -> Lane:
        """The greater of a and 0."""
        return self.maximum(a, self.like(a, 0))

    def clip(self, a: Lane, low: float | None = None, high: float | None = None, **_: Any) -> Lane:
        """Not below `low`, not above `high`."""
        a = a if low is None else self.maximum(a, self.like(a, low))
        return a if high is None else self.minimum(a, self.like(a, high))

    def leaky_relu(self, a: Lane, alpha: float, **_: Any) -> Lane:
        """a, or alpha times a where it is negative."""
        return self.select(self.less(a, self.like(a, 0)), self.mul(a, self.like(a, alpha)), a)

    def prelu(self, a: Lane, slope: Lane, **_: Any) -> Lane:
        """a, or slope times a where it is negative."""
        return self.select(self.less(a, self.like(a, 0)), self.mul(a, slope), a)

    def where(self, test: Lane, a: Lane, b: Lane, **_: Any) -> Lane:
        """A where the test holds, else b."""
        return self.select(self.converted(test, "i1", signed=False), a, b)

    def logical_and(self, a: Lane, b: Lane, **_: Any) -> Lane:
        """Whether both hold."""
        return self.both(self._truth(a), self._truth(b))

    def logical_or(self, a: Lane, b: Lane, **_: Any) -> Lane:
        """Whether either holds."""
        return self.either(self._truth(a), self._truth(b))

    def logical_not(self, a: Lane, **_: Any) -> Lane:
        """Whether it does not hold."""
        return self.differ(self._truth(a), Lane("true", "i1", 1, signed=False))

    def _truth(self, a: Lane) -> Lane:
        return self.converted(a, "i1", signed=False)

    def bit_not(self, a: Lane, **_: Any) -> Lane:
        """All bits the other way round."""
        return self.differ(a, self.like(a, 1 if a.kind == "i1" else -1))

    def shift_left(self, a: Lane, b: Lane, **_: Any) -> Lane:
        """Bits moved up."""
        return self.shifted(a, b, left=True)

    def shift_right(self, a: Lane, b: Lane, **_: Any) -> Lane:
        """Bits moved down."""
        return self.shifted(a, b, left=False)

    def cast(self, a: Lane, to: str, **_: Any) -> Lane:
        """The number as another dtype."""
        return self.rounded(a, dtype_of(np.dtype(to)))

    def quantize(self, x: Lane, scale: Lane, zero_point: Lane, to: str, **_: Any) -> Lane:
        """Whole steps of `scale` around the zero point, clamped to the dtype."""
        dtype = dtype_of(np.dtype(to))
        limits = np.iinfo(to)
        steps = self.round(self.quotient(x, scale))
        total = self.add(steps, self.converted(zero_point, x.kind))
        kept = self.clip(total, float(limits.min), float(limits.max))
        kept = self.select(self.is_nan(total), self.like(total, float(limits.min)), kept)
        return self.converted(kept, kind_of(dtype), is_signed(dtype))

    def dequantize(self, q: Lane, scale: Lane, zero_point: Lane, **_: Any) -> Lane:
        """The number that whole steps stand for."""
        steps = self.sub(self.converted(q, "i32"), self.converted(zero_point, "i32"))
        return self.mul(self.converted(steps, scale.kind), scale)

    def reciprocal(self, a: Lane, **_: Any) -> Lane:
        """1 / a."""
        one = self.like(a, 1)
        return (
            self.quotient(one, a) if a.is_float else self.whole_quotient(replace(one, signed=a.signed), a)[0]
        )

    def elu(self, a: Lane, alpha: float, **_: Any) -> Lane:
        """a, or alpha (e to the a, less 1) where it is negative."""
        below = self.less(a, self.like(a, 0))
        least = self.minimum(a, self.like(a, 0))
        return self.select(below, self.mul(self.expm1(least), self.like(a, alpha)), a)

    def hard_sigmoid(self, a: Lane, alpha: float, beta: float, **_: Any) -> Lane:
        """Alpha a + beta within 0 and 1."""
        return self.clip(self.add(self.mul(a, self.like(a, alpha)), self.like(a, beta)), 0.0, 1.0)

    def hard_swish(self, a: Lane, **_: Any) -> Lane:
        """A times its hard sigmoid."""
        return self.mul(a, self.hard_sigmoid(a, 1 / 6, 0.5))
