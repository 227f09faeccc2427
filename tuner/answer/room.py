"""Whether this machine has the memory to check a network: asked before a trial is spent on it."""

from collections.abc import Iterator
from math import prod

from tilewright.compiler_core.errors import UsageError
from tilewright.compiler_core.ir.graph import Graph, Op
from tilewright.compiler_core.ir.index_map import Access, unclamped_interval
from tilewright.compiler_core.ir.ops import Unit
from tilewright.compiler_core.meaning.bounded import blocks
from tilewright.db.service.process import memory_bytes

BYTES_AN_ELEMENT = 40
"""Bytes for an element of an op's operands and result while the op is judged: its data in the model's dtype
and in float64, the computed value, its tolerance. Measured on elementwise ops, sums and windows.
"""
BYTES_A_TERM = 16
"""Bytes for a term of a fold, all of which are there at once for a block of its results."""
BYTES_KEPT = 24
"""Bytes for an element of a value that a later op reads: plain, in float64, and its two tolerances."""
SHARE = 0.5
"""The share of this machine's memory that a check may take."""


def require_room(graph: Graph) -> None:
    """UsageError where what is there at once while an op is checked is too much."""
    memory = memory_bytes()
    for op, needed in checking_bytes(graph):
        if needed > SHARE * memory:
            raise UsageError(
                f"checking what computes {graph.name_of(op.result)} takes about {needed / 1e9:.0f} GB, more"
                f" than {SHARE:.0%} of the {memory / 1e9:.0f} GB of memory of this machine; bind smaller"
                " sizes, or ask for -O1, which checks nothing"
            )


def checking_bytes(graph: Graph) -> Iterator[tuple[Op, int]]:
    """By op, the bytes that are there while it is checked: its operands, result and terms, and other values
    that are still to be read.
    """
    last = {access.value: at for at, op in enumerate(graph.ops) for access in op.operands}
    live = {value: graph.elements(value) for value in graph.inputs}
    all_live = sum(live.values())
    for at, op in enumerate(graph.ops):
        held = {access.value: _padded_elements(graph, op, access) for access in op.operands}
        kept = all_live - sum(live.get(value, 0) for value in held)
        worked_on = graph.elements(op.result) + sum(held.values())
        yield op, BYTES_AN_ELEMENT * worked_on + BYTES_A_TERM * _terms(op) + BYTES_KEPT * kept
        live[op.result] = graph.elements(op.result)
        all_live += live[op.result]
        for value in (op.result, *held):
            if last.get(value, -1) <= at:
                all_live -= live.pop(value, 0)


def _terms(op: Op) -> int:
    """The terms of the first block of a fold; products are added up without all of them being there."""
    if op.row.reducer is None or op.row.contraction or op.row.unit is Unit.HOST:
        return 0
    return prod(high - low for low, high in next(blocks(op)))


def _padded_elements(graph: Graph, op: Op, access: Access) -> int:
    """Elements of an operand with the pads that an op reads beside it."""
    shape, box = graph.shape(access.value), [(0, extent) for extent in op.extents]
    if any(not expr.is_affine for expr in access.exprs):
        return prod(shape)
    elements = 1
    for expr, dim in zip(access.exprs, shape, strict=True):
        low, high = unclamped_interval(expr, box, dim)
        elements *= max(dim, high) - min(0, low)
    return elements
