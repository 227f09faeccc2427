"""Blockings of stages: the axis across the lanes, the numbers of vectors and rows in flight."""

from collections.abc import Mapping
from dataclasses import replace
from math import prod

import numpy as np

from tilewright.compiler_core.codegen.machine.cpu import Machine
from tilewright.compiler_core.codegen.nest import MOST_ELEMENTS, NO_AXIS, Blocking, KernelNest
from tilewright.compiler_core.codegen.places import Place, blocked, row_major
from tilewright.compiler_core.codegen.stages import Stage, folds, joined, stages_of
from tilewright.compiler_core.codegen.strides import strides_of
from tilewright.compiler_core.errors import ConfigError
from tilewright.compiler_core.ir.graph import Op
from tilewright.compiler_core.ir.ops import AxisKind
from tilewright.compiler_core.ir.workload import Level
from tilewright.compiler_core.lowering.program import KernelProgram
from tilewright.compiler_core.lowering.regions import Regions

GAINS = {1: 1.0, 0: 0.4, 2: 0.5, 3: 0.35, 4: 0.3}
"""The worth of lanes by the elements between them as they are read: those that lie near are picked out."""
LATENCY = 4
"""Rows of a block under way at once while a multiply-add has not ended."""


def main_stage(stages: tuple[Stage, ...], regions: Regions) -> int:
    """The stage of the anchor, else the last one."""
    return next((n for n, s in enumerate(stages) if s.core == regions.anchor), len(stages) - 1)


def nest_of(
    regions: Regions,
    program: KernelProgram,
    machine: Machine,
    chosen: Blocking | None = None,
    *,
    shows: bool = False,
) -> KernelNest:
    """The nest of a lowered kernel; `chosen` blocks the stage of the anchor (or the root's), else a default.

    With `shows` all inner values are stored, too. ConfigError where a blocking names axes that are not there.
    """
    stages = stages_of(regions, every=shows)
    if not shows:
        stages = joined(stages, regions.graph, program)
    for value in range(len(regions.graph.values)):
        if regions.graph.elements(value) >= MOST_ELEMENTS:
            raise ConfigError(
                f"value {value} has {regions.graph.elements(value)} elements; 2^31 are too many"
            )
    bare = KernelNest(regions, program, machine, stages, (), shows=shows)
    main = main_stage(stages, regions)
    blockings = tuple(
        _checked(chosen, regions.graph.ops[stage.core])
        if chosen is not None and number == main
        else default_blocking(bare, stage)
        for number, stage in enumerate(stages)
    )
    return replace(bare, blockings=blockings, arranged=_arranged(bare, stages[main], blockings[main]))


def _arranged(nest: KernelNest, stage: Stage, blocking: Blocking) -> dict[int, Place]:
    """Constants that the core alone reads, in the order of their use: panels as wide as a block."""
    op = nest.graph.ops[stage.core]
    workload = nest.regions.workload
    if not op.row.contraction or blocking.vector not in op.result_axes:
        return {}
    found: dict[int, Place] = {}
    for access in op.operands:
        shape, dtype = nest.graph.shape(access.value), nest.graph.values[access.value].dtype
        axes = [
            NO_AXIS if extent == 1 else expr.projected_axis
            for expr, extent in zip(access.exprs, shape, strict=True)
        ]
        is_weight = access.value in nest.graph.inputs and workload.level_of(access.value) is Level.CONSTANT
        alone = nest.graph.readers[access.value] == (stage.core,) and axes.count(blocking.vector) == 1
        if not is_weight or not alone or None in axes:
            continue
        ranks = {axis: index for index, axis in enumerate((NO_AXIS, *blocking.order, *blocking.folded))}
        order = sorted(range(len(axes)), key=lambda dim: ranks[axes[dim] or 0])
        dim = axes.index(blocking.vector)
        cut = [n for n in (blocking.vectors, 1) if _whole_blocks(nest, stage, blocking.vector, n)]
        if cut:
            found[access.value] = blocked(dtype, shape, order, dim, cut[0] * nest.lanes)
        else:
            found[access.value] = row_major(dtype, shape, [*(d for d in order if d != dim), dim])
    return found


def _whole_blocks(nest: KernelNest, stage: Stage, axis: int, vectors: int) -> bool:
    """Whether every tile of an axis begins with a block of so many vectors."""
    low, _ = nest.regions.axis_span(stage.core, axis, nest.sizes)
    return not (low % (vectors * nest.lanes)).any()


def _checked(blocking: Blocking, op: Op) -> Blocking:
    named = [blocking.vector, *(axis for axis, _ in blocking.rows), *(axis for axis, _ in blocking.unroll)]
    counts = [blocking.vectors, *(n for _, n in blocking.rows), *(n for _, n in blocking.unroll)]
    if not all(NO_AXIS <= axis < len(op.domain) for axis in named) or not all(1 <= n <= 64 for n in counts):
        raise ConfigError(f"the blocking {blocking} does not fit {op.kind} of {len(op.domain)} axes")
    if sorted(blocking.order) != list(op.result_axes) or sorted(blocking.folded) != list(op.reduction_axes):
        raise ConfigError(f"the blocking {blocking} does not order the axes of {op.kind}")
    return blocking


def default_blocking(nest: KernelNest, stage: Stage) -> Blocking:
    """Vectors along the axis that lies together in most operands, rows of one that reuses them."""
    op = nest.graph.ops[stage.core]
    reads = strides_of(nest, stage)
    usable = [
        axis
        for axis in range(len(op.domain))
        if op.axis_kinds[axis] is not AxisKind.SCAN and op.extents[axis] > 1
    ]

    def worth(axis: int) -> tuple[float, int]:
        steps = [strides.get(axis, 0) for strides in reads]
        if op.row.contraction:
            if axis in op.reduction_axes:
                return -1.0, axis  # sums across lanes are expensive, and constants can be rearranged
            steps = [step and 1 if free else step for step, free in zip(steps, free_order, strict=True)]
        gains = [GAINS.get(NO_AXIS if step is None else step, 0.0) for step in steps]
        gains[-1] *= 0.9 if steps[-1] == 1 else 1.0
        together = sum(gain * weight for gain, weight in zip(gains, weights, strict=True))
        short = min(1.0, op.extents[axis] / nest.lanes)
        return together * short, axis

    constants = [
        access.value in nest.graph.inputs and nest.regions.workload.level_of(access.value) is Level.CONSTANT
        for access in op.operands
    ]
    free_order = [*constants, *[False] * len(reads)][: len(reads)]
    weights = [1.0 if op.row.contraction else _share_read(op, strides) for strides in reads]
    if not usable:
        return Blocking(NO_AXIS, 1, (), tuple(op.result_axes), tuple(op.reduction_axes))
    vector = max(usable, key=worth)
    along = -(-op.extents[vector] // nest.lanes)
    vectors = min(2 if op.row.contraction else 4, along)
    others = [a for a in op.result_axes if a in usable and a != vector]
    rows: tuple[tuple[int, int], ...] = ()
    apart = [a for a in others if reads[-1].get(a, 0) == 1 and reads[-1].get(vector, 0) not in (0, 1)]
    if apart and not folds(op):
        # Elements that lie together as they are read, but not as they are stored, are turned round.
        vectors = 1
        rows = ((apart[0], min(nest.lanes, op.extents[apart[0]])),)
    if others and folds(op):
        room = max(1, (nest.machine.registers - 4) // (vectors + 1))
        best = max(others, key=lambda axis: (_reuses(reads, axis, vector), axis))
        widths = _widths(nest, stage, best)
        rows = ((best, _even(widths, 4 if nest.shows else min(room, 12))),)
    blocked = [axis for axis in (vector, *(a for a, _ in rows)) if axis in op.result_axes]
    order = (*(a for a in op.result_axes if a not in blocked), *blocked)
    folded = tuple(op.reduction_axes)
    if nest.shows:
        return Blocking(vector, 1, rows, order, folded, apart=False)
    inner = [a for a in folded if a != vector]
    unroll = tuple((a, min(4, op.extents[a])) for a in inner[-1:] if op.extents[a] > 1)
    return Blocking(vector, vectors, rows, order, folded, unroll)


def _share_read(op: Op, strides: Mapping[int, int | None]) -> float:
    """Elements of an operand per point of the op: an operand that is read again and again stays in a near
    cache anyway.
    """
    again = [extent for axis, extent in enumerate(op.extents) if strides.get(axis, 0) == 0]
    return 1.0 / max(1, prod(again))


def _reuses(reads: list[dict[int, int | None]], axis: int, vector: int) -> int:
    """Operands read along the vector axis that stay the same along another."""
    return sum(strides.get(vector, 0) != 0 and strides.get(axis, 0) == 0 for strides in reads)


def _widths(nest: KernelNest, stage: Stage, axis: int) -> list[int]:
    """All widths of a tile along an axis of a stage's core."""
    low, high = nest.program.domains[stage.core][axis]
    return [width for width in np.unique(high - low).tolist() if width > 0] or [1]


def _even(widths: list[int], most: int) -> int:
    """The count up to `most` that does all widths in the least time.

    A block takes as long as its rows, but no less than LATENCY of them, and one more for its ends; a block of
    another height is more code.
    """

    def cost(count: int) -> int:
        total = 0
        for width in widths:
            blocks, rest = divmod(width, count)
            total += blocks * (max(count, LATENCY) + 1) + (max(rest, LATENCY) + 3 if rest else 0)
        return total

    return min(range(1, min(max(widths), most) + 1), key=lambda count: (cost(count), -count))
