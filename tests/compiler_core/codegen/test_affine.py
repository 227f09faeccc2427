"""Divisions of affine indices: exact where blocks are aligned, refused where no closed form is right."""

from tilewright.compiler_core.codegen.affine import Affine, Variable, of

TENS = Variable("%i", 8, 0, 24)


def test_aligned_parts_are_divided_exactly() -> None:
    quotient, rest = of(TENS).plus(Affine((), 3)).divided(8) or (None, None)
    assert quotient is not None
    assert rest is not None
    assert quotient.range == (0, 3)
    assert rest.range == (3, 3)


def test_what_crosses_a_block_has_no_closed_form() -> None:
    assert of(TENS).plus(Affine((), 0, 1, 16)).divided(8) is None
    assert of(Variable("%j", 1, 0, 8)).divided(8) is None
    assert of(Variable("%j", 1, 0, 7)).divided(8) is not None


def test_numbers_that_vary_by_lane_are_not_divided() -> None:
    assert Affine(varying="%v", lanes=4).divided(8) is None
    assert Affine(varying="%v", lanes=4).multiple_of == 1
