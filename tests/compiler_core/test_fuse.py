"""Fusion groups: what joins, what stays apart, and which unions are legal."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.property.random_graphs import Builder, graphs, same
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.ir.index_map import Access, axis_index
from tilewright.compiler_core.ir.ops import Unit
from tilewright.compiler_core.ir.workload import is_remade
from tilewright.compiler_core.transforms.fuse import FusionPolicy, group_greedily, in_data_order, merged

SHAPE = (6, 8)


class Small(Builder):
    """Ops over one shape, by position."""

    def __init__(self) -> None:
        super().__init__(DType.F32, 0)

    def unary(self, x: int, kind: str = "relu") -> int:
        return self.op(kind, SHAPE, (), (same(x, 2),))

    def add(self, x: int, y: int) -> int:
        return self.op("add", SHAPE, (), (same(x, 2), same(y, 2)))

    def matmul(self, x: int) -> int:
        weight = self.input((8, 8))
        left, right = (
            Access(x, (axis_index(0), axis_index(2))),
            Access(weight, (axis_index(2), axis_index(1))),
        )
        return self.op("contract", SHAPE, (8,), (left, right))

    def transposed(self, x: int) -> int:
        rows, columns = self.shape(x)
        return self.op("view", (columns, rows), (), (Access(x, (axis_index(1), axis_index(0))),))

    def host(self, x: int) -> int:
        sort = (("function", "top_k"), ("output", 0), ("axis", 1), ("k", 8), ("largest", 1))
        return self.op("host", SHAPE, (), (same(x, 2),), sort)


def _groups(graph: Graph, *, epilogues: bool = True, most: int = 24) -> tuple[tuple[int, ...], ...]:
    return group_greedily(graph, FusionPolicy(epilogues=epilogues, max_ops=most))


def test_epilogues_join_the_product_they_follow() -> None:
    b = Small()
    b.unary(b.add(b.matmul(b.input(SHAPE)), b.input(SHAPE)))
    graph = b.graph((b.ops[-1].result,))
    assert _groups(graph) == ((0, 1, 2),)
    assert _groups(graph, epilogues=False) == ((0,), (1,), (2,))
    assert _groups(graph, most=2) == ((0, 1), (2,))


def test_a_residual_joins_the_side_with_more_arithmetic() -> None:
    b = Small()
    x = b.input(SHAPE)
    b.add(b.unary(x), b.matmul(x))
    assert _groups(b.graph((b.ops[-1].result,))) == ((0,), (1, 2))


def test_a_value_with_another_reader_or_an_output_is_a_border() -> None:
    b = Small()
    product = b.matmul(b.input(SHAPE))
    b.add(b.unary(product), b.unary(product, "neg"))
    graph = b.graph((b.ops[-1].result,))
    assert _groups(graph) == ((0,), (2,), (1, 3))
    c = Small()
    first = c.unary(c.input(SHAPE))
    second = c.unary(first, "neg")
    assert _groups(c.graph((first, second))) == ((0,), (1,))


def test_views_belong_to_each_of_their_readers() -> None:
    b = Small()
    turned = b.transposed(b.unary(b.input(SHAPE)))
    for kind in ("neg", "abs"):
        b.op(kind, (8, 6), (), (same(turned, 2),))
    graph = b.graph((b.ops[2].result, b.ops[3].result))
    assert _groups(graph) == ((0,), (1, 2), (1, 3))


def test_a_view_that_is_an_output_is_a_kernel() -> None:
    b = Small()
    b.transposed(b.unary(b.input(SHAPE)))
    assert _groups(b.graph((b.ops[-1].result,))) == ((0,), (1,))


def test_a_host_op_is_a_barrier() -> None:
    b = Small()
    b.unary(b.host(b.unary(b.input(SHAPE))))
    graph = b.graph((b.ops[-1].result,))
    assert _groups(graph) == ((0,), (1,), (2,))
    assert merged(graph, (0,), (1,)) is None
    assert merged(graph, (1,), (2,)) is None


def test_chains_merge_and_detours_do_not() -> None:
    """0 feeds 1 and 3; 1 feeds 2; 2 feeds 3: a group of 0 and 3 would need itself through 1."""
    b = Small()
    first = b.matmul(b.input(SHAPE))
    second = b.matmul(first)
    b.add(first, b.unary(second))
    graph = b.graph((b.ops[-1].result,))
    assert merged(graph, (0,), (1,)) == (0, 1)
    assert merged(graph, (0,), (3,)) is None
    assert merged(graph, (1, 2), (3,)) == (1, 2, 3)
    assert merged(graph, (0,), (1, 2, 3)) == (0, 1, 2, 3)


def test_a_union_needs_one_root_that_everything_leads_to() -> None:
    b = Small()
    x = b.input(SHAPE)
    b.unary(x)
    b.unary(x, "neg")
    graph = b.graph((b.ops[0].result, b.ops[1].result))
    assert merged(graph, (0,), (1,)) is None


def test_groups_that_need_each_other_have_no_order() -> None:
    """Two diamonds, grouped crosswise: each group's root reads the other group's first op."""
    b = Small()
    x, y = b.input(SHAPE), b.input(SHAPE)
    one, two = b.unary(x), b.unary(y)
    b.add(one, two)
    b.add(two, one)
    graph = b.graph((b.ops[2].result, b.ops[3].result))
    assert in_data_order(graph, [(0, 2), (1, 3)]) is None
    assert in_data_order(graph, [(2,), (3,), (1,), (0,)]) == ((0,), (1,), (2,), (3,))


@given(st.data())
def test_every_op_is_in_one_group_and_reads_what_came_before(data: Any) -> None:
    graph, _ = data.draw(graphs())
    groups = _groups(graph, epilogues=data.draw(st.booleans()), most=data.draw(st.integers(1, 6)))
    stored = [op for group in groups for op in group if not is_remade(graph, op)]
    assert sorted(stored) == [index for index in range(len(graph.ops)) if not is_remade(graph, index)]
    assert in_data_order(graph, groups) == groups
    for group in groups:
        assert len(group) == 1 or all(graph.ops[index].row.unit is not Unit.HOST for index in group)
