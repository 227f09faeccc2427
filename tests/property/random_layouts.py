"""Any Layout for any of the values of a graph that may have one."""

from collections.abc import Callable, Mapping
from typing import Any

from hypothesis import strategies as st

from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.ir.layouts import Layout, may_be_laid_out


@st.composite
def layouts(draw: Callable[..., Any], graph: Graph) -> Mapping[int, Layout]:
    """Any order of dims, and any block that divides one, for some of the values that only kernels see."""
    laid = {}
    for value in graph.producer:
        if may_be_laid_out(graph, value) and graph.shape(value) and draw(st.booleans()):
            shape = graph.shape(value)
            blocked = draw(st.integers(0, len(shape) - 1))
            divisors = [block for block in range(1, shape[blocked] + 1) if shape[blocked] % block == 0]
            order = tuple(draw(st.permutations(range(len(shape)))))
            laid[value] = Layout(order, blocked, draw(st.sampled_from(divisors or [1])))
    return laid
