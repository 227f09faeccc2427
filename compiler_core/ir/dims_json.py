"""Extents as plain JSON and back: integers, and extents that a step of a loop decides (loops.py).

8                    ->   8
%0 + 1               ->   [[1], [1, "%0"]]
(2 * %0) // 3        ->   [[1, {"div": [[[2, "%0"]], 3]}]]
"""

from typing import Any

from tilewright.compiler_core.digest import Json
from tilewright.compiler_core.errors import RecordError
from tilewright.compiler_core.ir.dims import (
    LOCAL,
    Atom,
    Dim,
    FloorDiv,
    floordiv,
    known,
    minimum,
    symbol,
    symbols_of,
)

MOST_NESTED = 8
"""Divisions and minima inside each other."""


def dim_to_json(dim: Dim, what: str) -> Json:
    """`dim` as JSON; ModelError naming `what` where a symbol of the model is unbound."""
    if isinstance(dim, int) or not all(name.startswith(LOCAL) for name in symbols_of(dim)):
        return known(dim, what)
    return [[coefficient, *map(_atom_to_json, monomial)] for monomial, coefficient in dim.terms]


def _atom_to_json(atom: Atom) -> Json:
    if isinstance(atom, str):
        return atom
    what = "a part of an extent"
    if isinstance(atom, FloorDiv):
        return {"div": [dim_to_json(atom.numerator, what), dim_to_json(atom.denominator, what)]}
    return {"min": [dim_to_json(atom.left, what), dim_to_json(atom.right, what)]}


def dim_from_json(form: Any, nested: int = 0) -> Dim:
    """Inverse of `dim_to_json`; RecordError when it is no extent."""
    if isinstance(form, int) and not isinstance(form, bool):
        return form
    if not isinstance(form, list) or nested > MOST_NESTED:
        raise RecordError(f"a recorded extent is {str(form)[:80]!r}, which is neither a number nor a sum")
    total: Dim = 0
    for coefficient, *atoms in form:
        product: Dim = int(coefficient)
        for atom in atoms:
            product = product * _atom_from_json(atom, nested)
        total = total + product
    return total


def _atom_from_json(form: Any, nested: int) -> Dim:
    if isinstance(form, str) and form.startswith(LOCAL) and form[1:].isdecimal() and len(form) < 16:
        return symbol(form)
    if isinstance(form, dict) and len(form) == 1:
        ((name, (left, right)),) = form.items()
        parts = dim_from_json(left, nested + 1), dim_from_json(right, nested + 1)
        if name == "min":
            return minimum(*parts)
        if name == "div" and parts[1] != 0:
            return floordiv(*parts)
    raise RecordError(f"a recorded extent has {str(form)[:80]!r} as a factor")
