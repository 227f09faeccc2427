"""Whether this machine has the memory to check a network: asked before a trial is spent on it."""

from math import prod

from tilewright.compiler_core.errors import UsageError
from tilewright.compiler_core.ir.graph import Graph, Op
from tilewright.compiler_core.ir.index_map import Access, unclamped_interval
from tilewright.db.service.process import memory_bytes

BYTES_AN_ELEMENT = 40
"""Bytes for an element of an op's operands and result while the op is judged: its data in the model's dtype
and in float64, the computed value, its tolerance. Measured on elementwise ops, sums and windows.
"""


def require_room(graph: Graph) -> None:
    """UsageError where an op's operands and result, all there at once for a check, are too much."""
    room = memory_bytes()
    for op in graph.ops:
        held = {access.value: _padded_elements(graph, op, access) for access in op.operands}
        needed = BYTES_AN_ELEMENT * (graph.elements(op.result) + sum(held.values()))
        if needed > room:
            raise UsageError(
                f"checking what computes {graph.name_of(op.result)} takes about {needed / 1e9:.0f} GB,"
                f" this machine has {room / 1e9:.0f} GB of memory; bind smaller sizes, or ask for -O1,"
                " which checks nothing"
            )


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
