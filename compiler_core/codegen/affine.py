"""Affine indices of a loop nest: sums of loop variables, a constant, and the lane of a vector.

    i * 16 + lane + 3        terms ((i, 16),), constant 3, lane 1

A variable knows its range and a number it is always a multiple of, so that the divisions of reshapes and
blocked layouts are exact wherever blocks are aligned: with j a multiple of 16,

    (j + lane) // 16 = j / 16      (j + lane) % 16 = lane      (i + lane) // 16 has no closed form
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from math import floor
from typing import TypeAlias

Rational: TypeAlias = Fraction | int


@dataclass(frozen=True)
class Variable:
    """A whole number known at run time: its name in IR, a number that divides it, its least and greatest
    value.
    """

    name: str
    multiple_of: int
    low: int
    high: int


@dataclass(frozen=True)
class Affine:
    """A sum of `terms`, `constant`, and `lane` times the lane number of a vector of `lanes` lanes.

    Coefficients may be fractions as long as every term is whole. `varying` names a vector of i32, one number
    a lane, that is added to it.
    """

    terms: tuple[tuple[Variable, Rational], ...] = ()
    constant: int = 0
    lane: int = 0
    lanes: int = 1
    varying: str = ""

    @property
    def is_uniform(self) -> bool:
        """Whether it is the same in every lane."""
        return self.lane == 0 and not self.varying

    @property
    def range(self) -> tuple[int, int]:
        """Least and greatest number it takes, both included; unknown (very wide) where lanes vary."""
        if self.varying:
            return -(1 << 40), 1 << 40
        low: Rational = self.constant
        high: Rational = self.constant
        for variable, factor in self.terms:
            ends = factor * variable.low, factor * variable.high
            low, high = low + min(ends), high + max(ends)
        reach = self.lane * (self.lanes - 1)
        return floor(low + min(0, reach)), floor(high + max(0, reach))

    def plus(self, other: "Affine | int") -> "Affine":
        """The sum; both may not vary by lane at once in an arbitrary way."""
        if isinstance(other, int):
            return Affine(self.terms, self.constant + other, self.lane, self.lanes, self.varying)
        assert not (self.varying and other.varying), "two arbitrary vectors are added by the writer"
        return Affine(
            _merged((*self.terms, *other.terms)) if self.terms and other.terms else self.terms or other.terms,
            self.constant + other.constant,
            self.lane + other.lane,
            max(self.lanes, other.lanes),
            self.varying or other.varying,
        )

    def times(self, factor: int) -> "Affine":
        """The multiple by a whole number; not of an arbitrary variable."""
        assert not self.varying, "an arbitrary vector is multiplied by the writer"
        terms = tuple((variable, factor * each) for variable, each in self.terms) if factor else ()
        return Affine(terms, self.constant * factor, self.lane * factor, self.lanes)

    def divided(self, divisor: int) -> "tuple[Affine, Affine] | None":
        """Quotient and remainder of the floor division where both are affine, else None."""
        if self.varying:
            return None
        whole = [(v, f) for v, f in self.terms if (f * v.multiple_of) % divisor == 0]
        rest = Affine(tuple(t for t in self.terms if t not in whole), self.constant, self.lane, self.lanes)
        low, high = rest.range
        if low // divisor != high // divisor:
            return None
        quotient = Affine(tuple((v, Fraction(f) / divisor) for v, f in whole), low // divisor, 0, self.lanes)
        return quotient, replace(rest, constant=rest.constant - divisor * (low // divisor))

    @property
    def multiple_of(self) -> int:
        """A number it is always a multiple of (0: it is zero)."""
        from math import gcd

        found = gcd(self.constant, self.lane)
        for variable, factor in self.terms:
            product = Fraction(factor) * variable.multiple_of
            found = gcd(found, product.numerator) if product.denominator == 1 else 1
        return 1 if self.varying else found


def _merged(terms: Iterable[tuple[Variable, Rational]]) -> tuple[tuple[Variable, Rational], ...]:
    total: dict[Variable, Rational] = {}
    for variable, factor in terms:
        total[variable] = total.get(variable, 0) + factor
    kept = [(variable, factor) for variable, factor in total.items() if factor]
    return tuple(sorted(kept, key=lambda term: term[0].name))


def of(variable: Variable) -> Affine:
    """The variable itself."""
    return Affine(((variable, 1),))


def whole(number: int) -> Affine:
    """A constant."""
    return Affine((), number)
