"""Extents that may be unknown until a user binds them: integers, or polynomials in named symbols.

    'batch' * 'seq' + 3,  floordiv('height' + 1, 2)

A symbolic extent is an exact sum of products of atoms; an atom is a symbol, a floor division that did not
come out even, or a minimum that is not decided. Equal polynomials are equal objects, so shapes compare with
`==`. Symbols are extents: never negative.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import total_ordering
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from tilewright.compiler_core.errors import ModelError


@total_ordering
@dataclass(frozen=True)
class FloorDiv:
    """The atom `numerator // denominator`, kept when the division is not known to be even."""

    numerator: "SymDim"
    denominator: "Dim"

    def __str__(self) -> str:
        return f"(({self.numerator}) // ({self.denominator}))"

    def __lt__(self, other: "Atom") -> bool:
        return str(self) < str(other)


@total_ordering
@dataclass(frozen=True)
class Minimum:
    """The atom `min(left, right)`, kept when it is not known which one is smaller."""

    left: "Dim"
    right: "Dim"

    def __str__(self) -> str:
        return f"min({self.left}, {self.right})"

    def __lt__(self, other: "Atom") -> bool:
        return str(self) < str(other)


Atom: TypeAlias = str | FloorDiv | Minimum
Monomial: TypeAlias = tuple[Atom, ...]


@dataclass(frozen=True)
class SymDim:
    """A polynomial: coefficients by monomial, monomials sorted, no zero coefficient, not a constant."""

    terms: tuple[tuple[Monomial, int], ...]

    def __add__(self, other: "Dim") -> "Dim":
        total = _coefficients(self)
        for monomial, coefficient in _coefficients(other).items():
            total[monomial] = total.get(monomial, 0) + coefficient
        return _from_coefficients(total)

    def __mul__(self, other: "Dim") -> "Dim":
        total: dict[Monomial, int] = {}
        for left, a in _coefficients(self).items():
            for right, b in _coefficients(other).items():
                monomial = tuple(sorted(left + right, key=str))
                total[monomial] = total.get(monomial, 0) + a * b
        return _from_coefficients(total)

    def __neg__(self) -> "Dim":
        return self * -1

    def __sub__(self, other: "Dim") -> "Dim":
        return self + other * -1

    def __rsub__(self, other: int) -> "Dim":
        return self * -1 + other

    __radd__ = __add__
    __rmul__ = __mul__

    def __floordiv__(self, other: "Dim") -> "Dim":
        return floordiv(self, other)

    def __rfloordiv__(self, other: int) -> "Dim":
        return floordiv(other, self)

    def __str__(self) -> str:
        return " + ".join(
            "*".join(
                [str(coefficient)] * (coefficient != 1 or not monomial) + [str(atom) for atom in monomial]
            )
            for monomial, coefficient in self.terms
        )

    __repr__ = __str__


LOCAL = "%"
"""Prefix of symbols whose size each step of a loop decides anew."""
Dim: TypeAlias = int | SymDim
Shape: TypeAlias = tuple[Dim, ...]


def symbol(name: str) -> SymDim:
    """The extent a model calls `name`."""
    return SymDim((((name,), 1),))


def _coefficients(dim: Dim) -> dict[Monomial, int]:
    return dict(dim.terms) if isinstance(dim, SymDim) else {(): int(dim)}


MAX_TERMS = 64
MAX_DEGREE = 12
MAX_TEXT = 800


def _from_coefficients(coefficients: dict[Monomial, int]) -> Dim:
    terms = sorted(((m, c) for m, c in coefficients.items() if c), key=lambda term: str(term[0]))
    if len(terms) > MAX_TERMS or any(len(monomial) > MAX_DEGREE for monomial, _ in terms):
        raise ModelError(
            f"an extent needs a polynomial of more than {MAX_TERMS} terms or degree {MAX_DEGREE};"
            " bind dimensions with --dim NAME=VALUE"
        )
    if not terms:
        return 0
    if len(terms) == 1 and terms[0][0] == ():
        return terms[0][1]
    return SymDim(tuple(terms))


def floordiv(numerator: Dim, denominator: Dim) -> Dim:
    """`numerator // denominator`: exact where every term divides, an atom where it is not known to."""
    if isinstance(numerator, int) and isinstance(denominator, int):
        return numerator // denominator
    if denominator == 1:
        return numerator
    if numerator == denominator:
        return 1
    quotient = _exact_quotient(numerator, denominator)
    if quotient is not None:
        return quotient
    top = numerator if isinstance(numerator, SymDim) else SymDim((((), numerator),))
    return _atom(FloorDiv(top, denominator))


def _atom(atom: FloorDiv | Minimum) -> SymDim:
    if len(str(atom)) > MAX_TEXT:
        raise ModelError("an extent nests divisions too deeply; bind dimensions with --dim NAME=VALUE")
    return SymDim((((atom,), 1),))


def least(dim: Dim) -> int | None:
    """A number that `dim` never falls below while symbols are not negative; None where none is seen."""
    if isinstance(dim, int):
        return dim
    constant = 0
    for monomial, coefficient in dim.terms:
        if not monomial:
            constant = coefficient
        elif coefficient < 0 or not all(_never_negative(atom) for atom in monomial):
            return None
    return constant


def _never_negative(atom: Atom) -> bool:
    if isinstance(atom, str):
        return True
    parts = (atom.numerator, atom.denominator) if isinstance(atom, FloorDiv) else (atom.left, atom.right)
    return all((low := least(part)) is not None and low >= 0 for part in parts)


def at_most(left: Dim, right: Dim) -> bool | None:
    """Whether left <= right for all sizes of the symbols; None where it depends on them."""
    slack = least(right - left)
    if slack is not None and slack >= 0:
        return True
    excess = least(left - right)
    return False if excess is not None and excess > 0 else None


def minimum(left: Dim, right: Dim) -> Dim:
    """The smaller of two extents, an atom where the symbols decide."""
    order = at_most(left, right)
    if order is None:
        first, second = sorted((left, right), key=str)
        return _atom(Minimum(first, second))
    return left if order else right


def maximum(left: Dim, right: Dim) -> Dim:
    """The larger of two extents."""
    return left + right - minimum(left, right)


def ceildiv(numerator: Dim, denominator: Dim) -> Dim:
    """`numerator / denominator` rounded up; the denominator is positive."""
    return floordiv(numerator + denominator - 1, denominator)


def truncdiv(numerator: Dim, denominator: Dim) -> Dim | None:
    """The quotient rounded toward zero, as C and ONNX divide integers; None where symbols decide the sign of
    the denominator.

    -7 / 2  ->  -3        (n - 4) / 2, of both signs  ->  max(n - 4, 0) // 2 - max(4 - n, 0) // 2
    """
    if at_most(denominator, 0):
        numerator, denominator = numerator * -1, denominator * -1
    if denominator == 0 or not at_most(0, denominator):
        return None
    quotient = _exact_quotient(numerator, denominator)
    if quotient is not None:
        return quotient
    if at_most(numerator, 0):
        return floordiv(numerator * -1, denominator) * -1
    if at_most(0, numerator):
        return floordiv(numerator, denominator)
    positive, negative = (maximum(part, 0) for part in (numerator, numerator * -1))
    return floordiv(positive, denominator) - floordiv(negative, denominator)


def _exact_quotient(numerator: Dim, denominator: Dim) -> Dim | None:
    """The quotient when `denominator` is one monomial that divides every term, else None."""
    divisor_terms = list(_coefficients(denominator).items())
    if len(divisor_terms) != 1:
        return None
    divisor, by = divisor_terms[0]
    result: dict[Monomial, int] = {}
    for monomial, coefficient in _coefficients(numerator).items():
        rest = list(monomial)
        for atom in divisor:
            if atom not in rest:
                return None
            rest.remove(atom)
        if coefficient % by:
            return None
        result[tuple(rest)] = coefficient // by
    return _from_coefficients(result)


def bind(dim: Dim, values: Mapping[str, Dim]) -> Dim:
    """`dim` with every symbol in `values` replaced, by a number or another extent; symbols not named stay."""
    if isinstance(dim, int):
        return dim
    total: Dim = 0
    for monomial, coefficient in dim.terms:
        product: Dim = coefficient
        for atom in monomial:
            if isinstance(atom, FloorDiv):
                factor = floordiv(bind(atom.numerator, values), bind(atom.denominator, values))
            elif isinstance(atom, Minimum):
                factor = minimum(bind(atom.left, values), bind(atom.right, values))
            else:
                factor = values[atom] if atom in values else symbol(atom)
            product = product * factor
        total = total + product
    return total


def at_sizes(dim: Dim, name: str, sizes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """`dim` at every one of `sizes` of the symbol `name`, int64 [n]; it has no other symbols."""
    if isinstance(dim, int):
        return np.full(len(sizes), dim, dtype=np.int64)
    total = np.zeros(len(sizes), dtype=np.int64)
    for monomial, coefficient in dim.terms:
        product = np.full(len(sizes), coefficient, dtype=np.int64)
        for atom in monomial:
            if isinstance(atom, FloorDiv):
                product *= at_sizes(atom.numerator, name, sizes) // at_sizes(atom.denominator, name, sizes)
            elif isinstance(atom, Minimum):
                product *= np.minimum(at_sizes(atom.left, name, sizes), at_sizes(atom.right, name, sizes))
            else:
                product *= sizes
        total += product
    return total


def symbols_of(dim: Dim) -> frozenset[str]:
    """The names of the symbols in `dim`."""
    if isinstance(dim, int):
        return frozenset()
    names: set[str] = set()
    for monomial, _ in dim.terms:
        for atom in monomial:
            if isinstance(atom, FloorDiv):
                names |= symbols_of(atom.numerator) | symbols_of(atom.denominator)
            elif isinstance(atom, Minimum):
                names |= symbols_of(atom.left) | symbols_of(atom.right)
            else:
                names.add(atom)
    return frozenset(names)


def symbols_in(dims: Iterable[Dim]) -> frozenset[str]:
    """The names of the symbols in any of `dims`."""
    return frozenset().union(*[symbols_of(dim) for dim in dims if not isinstance(dim, int)])


def sizes_in(shape: Shape, extents: Sequence[int]) -> dict[str, int]:
    """Sizes of the symbols that stand alone in `shape`, where the same dims are `extents`.

    (rows, 8, batch + 1) and (5, 8, 3)   ->   {"rows": 5}
    """
    return {
        name: extent
        for dim, extent in zip(shape, extents, strict=True)
        for name in symbols_of(dim)
        if dim == symbol(name)
    }


def known(dim: Dim, what: str) -> int:
    """`dim` as an integer; ModelError naming `what` and the symbols that still need a value."""
    if isinstance(dim, int):
        return dim
    names = ", ".join(sorted(symbols_of(dim)))
    raise ModelError(f"{what} is {dim}, which needs a value for {names}; bind it with --dim NAME=VALUE")


def product_of(shape: Shape) -> Dim:
    """The number of elements of `shape`."""
    total: Dim = 1
    for dim in shape:
        total = total * dim
    return total
