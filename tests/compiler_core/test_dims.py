"""Extents with symbols: arithmetic agrees with numbers, order is only claimed where it holds."""

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.dims import (
    Dim,
    at_most,
    bind,
    ceildiv,
    floordiv,
    least,
    maximum,
    minimum,
    symbol,
    symbols_of,
    truncdiv,
)

NAMES = ("batch", "past", "seq")
OPERATIONS: list[Callable[[Dim, Dim], Dim]] = [
    lambda a, b: a + b,
    lambda a, b: a - b,
    lambda a, b: a * b,
    minimum,
    maximum,
    lambda a, b: floordiv(a, 2) + b,
    lambda a, b: ceildiv(a, 3) + b,
]


@st.composite
def _extents(draw: st.DrawFn) -> tuple[Dim, int, dict[str, int]]:
    """An expression, its value computed with numbers, and the numbers."""
    values = {name: draw(st.integers(0, 9)) for name in NAMES}
    made: list[tuple[Dim, int]] = [(symbol(name), number) for name, number in values.items()]
    made += [(number, number) for number in (0, 1, 5)]
    for _ in range(draw(st.integers(1, 4))):
        (left, one), (right, two) = draw(st.sampled_from(made)), draw(st.sampled_from(made))
        operation = draw(st.sampled_from(OPERATIONS))
        number = operation(one, two)
        assert isinstance(number, int)
        made.append((operation(left, right), number))
    return *made[-1], values


@given(_extents())
def test_binding_gives_what_numbers_give(case: tuple[Dim, int, dict[str, int]]) -> None:
    extent, number, values = case
    assert bind(extent, values) == number
    assert symbols_of(extent) <= set(NAMES)


@given(_extents(), _extents())
def test_order_and_bounds_hold_for_every_binding(
    one: tuple[Dim, int, dict[str, int]], two: tuple[Dim, int, dict[str, int]]
) -> None:
    left, right = one[0], two[0]
    for values in (one[2], two[2], dict.fromkeys(NAMES, 0)):
        a, b = bind(left, values), bind(right, values)
        assert isinstance(a, int)
        assert isinstance(b, int)
        order, bound = at_most(left, right), least(left)
        assert order is None or order == (a <= b)
        assert bound is None or a >= bound


@given(_extents(), st.integers(-5, 5).filter(bool))
def test_quotients_are_rounded_toward_zero(case: tuple[Dim, int, dict[str, int]], divisor: int) -> None:
    extent, number, values = case
    quotient = truncdiv(extent, divisor)
    assert quotient is not None
    assert bind(quotient, values) == math.trunc(number / divisor)


def test_only_divisors_of_known_sign_divide() -> None:
    batch, past = symbol("batch"), symbol("past")
    assert truncdiv(past, batch) == floordiv(past, batch)
    assert truncdiv(past, batch * -1) == floordiv(past, batch) * -1
    assert truncdiv(past, batch - 4) is None
    assert truncdiv(past, 0) is None


def test_equal_polynomials_are_equal() -> None:
    a, b = symbol("a"), symbol("b")
    assert (a + b) * 2 - b == a * 2 + b
    assert floordiv(a * b * 4, b * 2) == a * 2
    assert a - a == 0


def _repeated(step: Callable[[Dim], Dim], extent: Dim, times: int) -> Dim:
    for _ in range(times):
        extent = step(extent)
    return extent


def test_expressions_that_explode_are_refused() -> None:
    with pytest.raises(ModelError, match="polynomial"):
        _repeated(lambda extent: extent * extent, symbol("a") + symbol("b"), 10)
    with pytest.raises(ModelError, match="nests"):
        _repeated(lambda extent: floordiv(extent + 1, 2), symbol("a"), 500)
