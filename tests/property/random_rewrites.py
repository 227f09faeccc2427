"""Any legal rewrite of any op of a graph."""

from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import strategies as st

from tilewright.compiler_core.ir.graph import Graph, Rewrite, Rewrites
from tilewright.compiler_core.transforms.rewrites import Split, Unfold


def forms(graph: Graph, at: int) -> Iterator[Rewrite]:
    """Every other form of op `at`, useful or not."""
    op = graph.ops[at]
    tried: list[Rewrite] = [Unfold(operand) for operand in range(len(op.operands))]
    tried += [Split(axis, parts) for axis in op.reduction_axes for parts in range(2, op.extents[axis] + 1)]
    return (rewrite for rewrite in tried if not rewrite.objection(graph, op))


@st.composite
def rewrites(draw: Callable[..., Any], graph: Graph) -> Rewrites:
    """Other forms for some of the ops that have any."""
    drawn: dict[int, Rewrite] = {}
    for index in range(len(graph.ops)):
        found = list(forms(graph, index))
        if found and draw(st.booleans()):
            drawn[index] = draw(st.sampled_from(found))
    return drawn
