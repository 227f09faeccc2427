"""Strides in memory along an axis, for every read of a stage and for the value it fills."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from tilewright.compiler_core.codegen.affine import Affine, Variable, of, whole
from tilewright.compiler_core.codegen.nest import KernelNest
from tilewright.compiler_core.codegen.places import Place
from tilewright.compiler_core.codegen.stages import Stage
from tilewright.compiler_core.ir.dims import known
from tilewright.compiler_core.ir.index_map import Access, IndexExpr

Strides = dict[int, "int | None"]
"""By axis of the core; None where neighbours are not evenly apart. Axes that are not there stay put."""


STRETCH, MOST_BREAKS = 8, 8
"""An axis is cut where padding begins or ends into parts of this length or more, and so often at most."""


@dataclass(frozen=True)
class Read:
    """A read of a stage at a point of its core: a value, its index there by the core's axes (None: no closed
    form), whether it lies in memory, and the share of the points at which it is more than padding.
    """

    access: Access
    index: tuple[Affine | None, ...]
    is_memory: bool
    share: float


def reads_of(nest: KernelNest, stage: Stage) -> list[Read]:
    """Every read of a stage, down to memory, those on the way before those behind them."""
    op = nest.graph.ops[stage.core]
    axes: list[Affine | None] = [
        of(Variable(f"a{axis:03d}", 1, 0, max(0, extent - 1))) for axis, extent in enumerate(op.extents)
    ]
    found: list[Read] = []
    kept = {nest.graph.ops[index].result for each in nest.stages for index in each.filled}

    def read(access: Access, at: Sequence[Affine | None], share: float) -> None:
        index = tuple(composed(expr, at) for expr in access.exprs)
        maker = nest.graph.producer.get(access.value)
        if maker == stage.core:
            return
        share *= _share(access, index, nest.graph.shape(access.value))
        if maker is None or (access.value in kept and maker not in stage.filled):
            found.append(Read(access, index, True, share))
            return
        found.append(Read(access, index, maker in stage.passing, share))
        for operand in nest.graph.ops[maker].operands:
            read(operand, [*index, *[None] * len(nest.graph.ops[maker].domain)], share)

    for operand in op.operands:
        read(operand, axes, 1.0)
    if stage.root != stage.core:
        for operand in nest.graph.ops[stage.root].operands:
            read(operand, [axes[axis] for axis in stage.axes], 1.0)
    return found


def strides_of(nest: KernelNest, stage: Stage) -> list[Strides]:
    """One entry per read of memory, or value stored on the way, the last for the value the stage fills."""
    op = nest.graph.ops[stage.core]
    found = [
        _strides(_place(nest, read.access.value), read.index, len(op.domain))
        for read in reads_of(nest, stage)
        if read.is_memory
    ]
    result = [of(Variable(f"a{axis:03d}", 1, 0, max(0, op.extents[axis] - 1))) for axis in stage.axes]
    value = nest.graph.ops[stage.root].result
    found.append(_strides(_place(nest, value), result, len(op.domain)))
    return found


def values_read(nest: KernelNest, stage: Stage) -> list[int]:
    """The value of every read of `strides_of`."""
    return [read.access.value for read in reads_of(nest, stage) if read.is_memory]


def shares_of(nest: KernelNest, stage: Stage) -> list[float]:
    """By read of `strides_of` the share of points at which it is more than padding; 1 for the store."""
    return [*(read.share for read in reads_of(nest, stage) if read.is_memory), 1.0]


def breaks_of(nest: KernelNest, stage: Stage) -> dict[int, tuple[int, ...]]:
    """By axis of the core, where reads that run along it alone begin or end to be padding, as those of a
    concatenation do. On either side of such a place there is nothing left to test.
    """
    extents = nest.graph.ops[stage.core].extents
    found: dict[int, set[int]] = {}
    for read in reads_of(nest, stage):
        if read.access.pad is None:
            continue
        for at, extent in zip(read.index, nest.graph.shape(read.access.value), strict=True):
            if at is None or len(at.terms) != 1 or at.terms[0][1] != 1:
                continue
            axis = int(at.terms[0][0].name[1:])
            found.setdefault(axis, set()).update((-at.constant, extent - at.constant))
    breaks = {axis: tuple(sorted(n for n in at if 0 < n < extents[axis])) for axis, at in found.items()}
    return {axis: at for axis, at in breaks.items() if at and _is_coarse((0, *at, extents[axis]))}


def _is_coarse(ends: Sequence[int]) -> bool:
    return len(ends) - 2 <= MOST_BREAKS and all(b - a >= STRETCH for a, b in pairwise(ends))


def _share(access: Access, index: Sequence[Affine | None], shape: Sequence[int]) -> float:
    """The share of the range of an index that lies in the value; the rest is padding."""
    share = 1.0
    for at, extent in zip(index, shape, strict=True):
        if access.pad is None or at is None or len(at.terms) != 1:
            continue
        low, high = at.range
        share *= max(0, min(high + 1, extent) - max(low, 0)) / max(1, high + 1 - low)
    return share


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
