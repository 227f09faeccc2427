"""Strides in memory along an axis, for every read of a stage and for the value it fills."""

from collections.abc import Sequence

from tilewright.compiler_core.codegen.affine import Affine, Variable, of, whole
from tilewright.compiler_core.codegen.nest import KernelNest
from tilewright.compiler_core.codegen.places import Place
from tilewright.compiler_core.codegen.stages import Stage
from tilewright.compiler_core.ir.dims import known
from tilewright.compiler_core.ir.index_map import Access, IndexExpr

Strides = dict[int, "int | None"]
"""By axis of the core; None where neighbours are not evenly apart. Axes that are not there stay put."""


def strides_of(nest: KernelNest, stage: Stage) -> list[Strides]:
    """One entry per read of memory, or value stored on the way, the last for the value the stage fills."""
    op = nest.graph.ops[stage.core]
    axes: list[Affine | None] = [
        of(Variable(f"a{axis:03d}", 1, 0, max(0, extent - 1))) for axis, extent in enumerate(op.extents)
    ]
    found: list[Strides] = []
    kept = {nest.graph.ops[index].result for each in nest.stages for index in each.filled}

    def read(access: Access, at: Sequence[Affine | None]) -> None:
        index = [composed(expr, at) for expr in access.exprs]
        maker = nest.graph.producer.get(access.value)
        if maker == stage.core:
            return
        if maker is None or (access.value in kept and maker not in stage.filled):
            found.append(_strides(_place(nest, access.value), index, len(op.domain)))
            return
        if maker in stage.passing:
            found.append(_strides(_place(nest, access.value), index, len(op.domain)))
        for operand in nest.graph.ops[maker].operands:
            read(operand, index + [None] * len(nest.graph.ops[maker].domain))

    for operand in op.operands:
        read(operand, axes)
    result = [axes[axis] for axis in stage.axes]
    if stage.root != stage.core:
        for operand in nest.graph.ops[stage.root].operands:
            read(operand, result)
    value = nest.graph.ops[stage.root].result
    found.append(_strides(_place(nest, value), result, len(op.domain)))
    return found


def _place(nest: KernelNest, value: int) -> Place:
    return nest.outer[value] if value in nest.outer else nest.inner[value]


def composed(expr: IndexExpr, at: Sequence[Affine | None]) -> Affine | None:
    """An index at a point, where it has a closed form."""
    if expr.source >= 0:
        return None
    total = whole(known(expr.offset, "an offset"))
    for axis, coefficient in expr.terms:
        point = at[axis]
        if point is None:
            return None
        total = total.plus(point.times(known(coefficient, "a coefficient")))
    for divisor, wants in ((known(expr.divisor, "a divisor"), 0), (known(expr.modulus, "a modulus"), 1)):
        if divisor > 1:
            parts = total.divided(divisor)
            if parts is None:
                return None
            total = parts[wants]
    return total


def _strides(place: Place, index: Sequence[Affine | None], axes: int) -> Strides:
    found: Strides = {}
    for piece in place.pieces:
        at = index[piece.dim]
        if at is None:
            return dict.fromkeys(range(axes))
        for variable, factor in at.terms:
            axis = int(variable.name[1:])
            # Inside a block neighbours are a piece's stride apart; the step from block to block is rare.
            if piece.divisor == 1 and factor == int(factor):
                found[axis] = (found.get(axis) or 0) + int(factor) * piece.stride
    return found
