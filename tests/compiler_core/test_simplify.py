"""Simplifying changes no number: views through any reader, constants, dead ops."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.ir.index_map import IndexExpr, affine, axis_index, constant_index
from tilewright.compiler_core.meaning.constants import Constants
from tilewright.compiler_core.meaning.interpret import interpret
from tilewright.compiler_core.onnx_import.building.builder import Builder, Tensor
from tilewright.compiler_core.transforms.simplify import simplify


def _graph(builder: Builder, inputs: list[Tensor], outputs: list[Tensor]) -> Graph:
    return Graph(
        tuple(builder.values),
        tuple(builder.ops),
        tuple(tensor.value for tensor in inputs),
        tuple(tensor.value for tensor in outputs),
        Constants(builder.recipes),
        builder.names,
    )


def _assert_same(graph: Graph, seed: int) -> Graph:
    rng = np.random.default_rng(seed)
    feeds = {v: rng.integers(-8, 8, graph.shape(v)).astype(graph.values[v].dtype.numpy) for v in graph.inputs}
    simple, places = simplify(graph)
    before = interpret(graph, feeds)
    after = interpret(simple, {places[value]: array for value, array in feeds.items()})
    for value in graph.outputs:
        np.testing.assert_array_equal(before[value], after[places[value]])
    assert len(simple.ops) <= len(graph.ops)
    return simple


@st.composite
def _views(draw: st.DrawFn, builder: Builder, x: Tensor) -> Tensor:
    """Some views of x, one behind the other."""
    for _ in range(draw(st.integers(0, 4))):
        shape = [int(str(extent)) for extent in x.shape]
        kind = draw(st.sampled_from(["reshape", "transpose", "slice", "expand", "squeeze"]))
        if kind == "reshape":
            flat = int(np.prod(shape))
            first = draw(st.sampled_from([n for n in range(1, flat + 1) if flat % n == 0]))
            rest = flat // first
            second = draw(st.sampled_from([n for n in range(1, rest + 1) if rest % n == 0]))
            x = builder.reshape(x, (first, second, rest // second))
        elif kind == "transpose":
            x = builder.transpose(x, draw(st.permutations(range(x.rank))))
        elif kind == "slice" and shape:
            dim = draw(st.integers(0, len(shape) - 1))
            step = draw(st.sampled_from([-2, -1, 1, 2]))
            start = draw(st.integers(0, shape[dim] - 1))
            count = (shape[dim] - 1 - start) // step + 1 if step > 0 else start // -step + 1
            exprs = [axis_index(index) for index in range(x.rank)]
            exprs[dim] = affine((dim, step), offset=start)
            x = builder.view(x, [count if index == dim else n for index, n in enumerate(shape)], exprs)
        elif kind == "expand" and x.rank < 4:
            x = builder.expand(x, (draw(st.integers(1, 3)), *x.shape))
        elif kind == "squeeze" and 1 in shape:
            dim = shape.index(1)
            exprs = [axis_index(index - (index > dim)) for index in range(x.rank)]
            exprs[dim] = constant_index(0)
            x = builder.view(x, shape[:dim] + shape[dim + 1 :], exprs)
    return x


@st.composite
def _cases(draw: st.DrawFn) -> Graph:
    """Views between an input or a constant and a reader of each sort."""
    builder = Builder()
    x = builder.new_value(draw(st.lists(st.integers(1, 5), min_size=2, max_size=4)), DType.I64)
    constant = builder.constant(np.arange(12, dtype=np.int64).reshape(3, 4))
    source = draw(st.sampled_from([x, constant]))
    y = draw(_views(builder, source))
    if draw(st.booleans()):
        y = builder.elementwise("neg", y)
        y = draw(_views(builder, y))
    reader = draw(st.sampled_from(["add", "window", "sum", "move", "gather", "contract"]))
    rank = y.rank
    identity = [axis_index(dim) for dim in range(rank)]
    if reader == "add" or not rank:
        z = builder.elementwise("add", y, y)
    elif reader == "window":
        dim = draw(st.integers(0, rank - 1))
        exprs = list(identity)
        exprs[dim] = affine((dim, draw(st.integers(1, 2))), (rank, 1), offset=draw(st.integers(-2, 1)))
        z = builder.op("max", [*y.shape, 3], [(y, exprs, -100.0)], DType.I64, reduced=1)
    elif reader == "sum":
        z = builder.reduce("sum", y, [draw(st.integers(0, rank - 1))], keep=draw(st.booleans()))
    elif reader == "move":
        exprs = [affine((dim, 1), offset=draw(st.integers(-2, 2))) for dim in range(rank)]
        z = builder.op("move", y.shape, [(y, exprs, 7.0)], DType.I64)
    elif reader == "gather":
        last = int(str(y.shape[-1]))
        rows = builder.constant(
            np.array(draw(st.lists(st.integers(-last, last - 1), min_size=1, max_size=4)))
        )
        picked = [*identity[:-1], IndexExpr(source=1)]
        shape = [*y.shape[:-1], *rows.shape]
        z = builder.op("gather", shape, [(y, picked), (rows, [axis_index(rank - 1)])], DType.I64)
    else:
        exprs = list(identity)
        z = builder.op("contract", y.shape, [(y, exprs), (y, exprs)], DType.I64, reduced=1)
    builder.elementwise("abs", y)
    return _graph(builder, [x], [draw(_views(builder, z))])


@given(_cases(), st.integers(0, 3))
def test_numbers_stay(graph: Graph, seed: int) -> None:
    _assert_same(graph, seed)


def test_views_between_pointwise_ops_vanish() -> None:
    builder = Builder()
    x = builder.new_value((2, 3, 4), DType.F32)
    turned = builder.reshape(builder.transpose(x, (2, 0, 1)), (4, 6))
    y = builder.elementwise("relu", turned)
    simple = _assert_same(_graph(builder, [x], [y]), 0)
    assert [op.kind for op in simple.ops] == ["relu"]


def test_a_padded_window_does_not_read_through_a_slice() -> None:
    """Beside the slice lie elements, not padding: the view has to stay."""
    builder = Builder()
    x = builder.new_value((8,), DType.I64)
    part = builder.view(x, (4,), [affine((0, 1), offset=2)])
    z = builder.op("sum", (4, 3), [(part, [affine((0, 1), (1, 1), offset=-1)], 0.0)], DType.I64, reduced=1)
    simple = _assert_same(_graph(builder, [x], [z]), 1)
    assert [op.kind for op in simple.ops] == ["view", "sum"]


def test_floor_divisions_of_plain_axes_compose() -> None:
    """(n // 3) // 2 is n // 6."""
    builder = Builder()
    x = builder.new_value((2,), DType.I64)
    twice = builder.view(x, (4,), [affine((0, 1), divisor=2)])
    often = builder.view(twice, (12,), [affine((0, 1), divisor=3)])
    z = builder.elementwise("neg", often)
    simple = _assert_same(_graph(builder, [x], [z]), 2)
    assert [op.kind for op in simple.ops] == ["neg"]
    assert simple.ops[0].operands[0].exprs == (affine((0, 1), divisor=6),)


def test_constants_are_folded_when_looked_at_and_dead_ops_dropped() -> None:
    builder = Builder()
    x = builder.new_value((3,), DType.F32)
    ones = builder.constant(np.ones(3, dtype=np.float32))
    two = builder.elementwise("add", ones, ones)
    builder.elementwise("exp", x)
    y = builder.elementwise("mul", x, builder.expand(two, (3,)))
    simple = _assert_same(_graph(builder, [x], [y]), 3)
    assert [op.kind for op in simple.ops] == ["mul"]
    assert isinstance(simple.constants, Constants)
    (value,) = simple.constants
    np.testing.assert_array_equal(simple.constants[value], np.full(3, 2, dtype=np.float32))


def test_a_reshaped_weight_is_a_constant_of_its_own_shape() -> None:
    """Read through the reshape, two rows of a tile would span all that lies between them."""
    builder = Builder()
    x = builder.new_value((4, 6), DType.F32)
    flat = builder.constant(np.arange(12, dtype=np.float32))
    weights = builder.reshape(flat, (6, 2))
    spread = builder.reshape(builder.constant(np.ones(6, dtype=np.float32)), (2, 3))
    y = builder.op(
        "contract",
        (4, 2, 6),
        [(x, (axis_index(0), axis_index(2))), (weights, (axis_index(2), axis_index(1)))],
        DType.F32,
        reduced=1,
    )
    z = builder.elementwise("add", builder.reshape(y, (4, 2, 1)), spread)
    simple = _assert_same(_graph(builder, [x], [z]), 1)
    assert {simple.shape(value) for value in simple.constants} == {(6, 2), (2, 3)}


def test_a_broadcast_weight_stays_small() -> None:
    builder = Builder()
    x = builder.new_value((50, 3), DType.F32)
    bias = builder.expand(builder.constant(np.arange(3, dtype=np.float32)), (50, 3))
    simple = _assert_same(_graph(builder, [x], [builder.elementwise("add", x, bias)]), 1)
    assert [simple.shape(value) for value in simple.constants] == [(3,)]
