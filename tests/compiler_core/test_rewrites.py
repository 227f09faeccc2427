"""Other forms of ops: what they look like, that they mean the same, what has none."""

import numpy as np
import pytest

from tests.property.random_graphs import Builder, same
from tilewright.compiler_core.errors import ConfigError, RecordError
from tilewright.compiler_core.ir.dtypes import DType, TensorType
from tilewright.compiler_core.ir.graph import Graph, Rewrite
from tilewright.compiler_core.ir.index_map import Access, affine, axis_index
from tilewright.compiler_core.lowering.formats.text import graph_text
from tilewright.compiler_core.meaning.interpret import interpret
from tilewright.compiler_core.target_model.file import load_target
from tilewright.compiler_core.transforms.rewrites import Split, Unfold, places, rewrite_from, rewritten


def product(depth: int = 24) -> tuple[Graph, Builder]:
    """x[4, depth] y[depth, 3], and its negative."""
    b = Builder(DType.F32, 0)
    x, y = b.input((4, depth)), b.input((depth, 3))
    reads = (Access(x, (axis_index(0), axis_index(2))), Access(y, (axis_index(2), axis_index(1))))
    made = b.op("contract", (4, 3), (depth,), reads)
    return b.graph((b.op("neg", (4, 3), (), (same(made, 2),)),)), b


def convolution() -> tuple[Graph, Builder]:
    """Three channels, 3 x 3 with stride 2 and padding."""
    b = Builder(DType.F32, 0)
    x, w = b.input((1, 3, 9, 9)), b.input((8, 3, 3, 3))
    rows, columns = affine((2, 2), (5, 1), offset=-1), affine((3, 2), (6, 1), offset=-1)
    data = Access(x, (axis_index(0), axis_index(4), rows, columns), 0.0)
    taps = Access(w, tuple(axis_index(axis) for axis in (1, 4, 5, 6)))
    return b.graph((b.op("contract", (1, 8, 5, 5), (3, 3, 3), (data, taps)),)), b


def windows() -> tuple[Graph, Builder]:
    """The largest of every 2 x 6 window."""
    b = Builder(DType.F32, 0)
    x = b.input((7, 9))
    access = Access(x, (affine((0, 2), (2, 1), offset=-1), affine((1, 3), (3, 1))), float("-inf"))
    return b.graph((b.op("max", (4, 2), (2, 6), (access,)),)), b


def test_a_product_in_parts() -> None:
    graph, _ = product()
    assert graph_text(rewritten(graph, {0: Split(2, 6)})) == (
        "graph (%0: f32[4, 24], %1: f32[24, 3]) -> %3\n"
        "%4: f32[4, 6, 4] = view (a0: 4, a1: 6, a2: 4) %0[a0, 4*a1 + a2]\n"
        "%5: f32[6, 4, 3] = view (a0: 6, a1: 4, a2: 3) %1[4*a0 + a1, a2]\n"
        "%6: f32sum[6, 4, 3] = contract (a0: 6, a1: 4, a2: 3 | a3: 4) %4[a1, a0, a3] %5[a0, a3, a2]\n"
        "%2: f32[4, 3] = sum (a0: 4, a1: 3 | a2: 6) %6[a2, a0, a1]\n"
        "%3: f32[4, 3] = neg (a0: 4, a1: 3) %2[a0, a1]\n"
    )


def test_windows_in_parts() -> None:
    graph, _ = windows()
    assert graph_text(rewritten(graph, {0: Split(3, 2)})) == (
        "graph (%0: f32[7, 9]) -> %1\n"
        "%2: f32[2, 4, 2] = max (a0: 2, a1: 4, a2: 2 | a3: 2, a4: 3)"
        " %0[2*a1 + a3 - 1, 3*a0 + 3*a2 + a4 else -inf]\n"
        "%1: f32[4, 2] = max (a0: 4, a1: 2 | a2: 2) %2[a2, a0, a1]\n"
    )


def test_a_convolution_unfolded() -> None:
    graph, _ = convolution()
    assert graph_text(rewritten(graph, {0: Unfold(0)})) == (
        "graph (%0: f32[1, 3, 9, 9], %1: f32[8, 3, 3, 3]) -> %2\n"
        "%3: f32[1, 5, 5, 3, 3, 3] = move (a0: 1, a1: 5, a2: 5, a3: 3, a4: 3, a5: 3)"
        " %0[a0, a3, 2*a1 + a4 - 1, 2*a2 + a5 - 1 else 0]\n"
        "%2: f32[1, 8, 5, 5] = contract (a0: 1, a1: 8, a2: 5, a3: 5 | a4: 3, a5: 3, a6: 3)"
        " %3[a0, a2, a3, a4, a5, a6] %1[a1, a4, a5, a6]\n"
    )


@pytest.mark.parametrize(
    ("made", "rewrite"),
    [
        (product, Split(2, 2)),
        (product, Split(2, 24)),
        (convolution, Split(4, 3)),
        (convolution, Unfold(0)),
        (windows, Split(2, 2)),
        (windows, Split(3, 3)),
    ],
)
def test_a_form_means_the_same(made: object, rewrite: Rewrite) -> None:
    assert callable(made)
    graph, built = made()
    meant, got = interpret(graph, built.data), interpret(rewritten(graph, {0: rewrite}), built.data)
    for value, array in meant.items():
        np.testing.assert_array_equal(got[value], array)


@pytest.mark.parametrize(
    ("made", "rewrite", "why"),
    [
        (product, Split(0, 2), "axis 0 of contract is no reduction"),
        (product, Split(2, 5), "24 is not cut into 5 equal parts"),
        (product, Split(2, 0), "24 is not cut into 0 equal parts"),
        (product, Unfold(0), "slides no window"),
        (product, Unfold(2), "no contraction with an operand 2"),
        (convolution, Split(5, 3), "axis 5 is not a dim of %0"),
        (windows, Unfold(0), "max is no contraction"),
    ],
)
def test_what_has_no_such_form(made: object, rewrite: Rewrite, why: str) -> None:
    assert callable(made)
    graph, _ = made()
    with pytest.raises(ConfigError, match=why):
        rewritten(graph, {0: rewrite})


def test_no_op_is_rewritten_twice_or_outside_the_network() -> None:
    graph, _ = product()
    for of, op in ((rewritten(graph, {0: Split(2, 2)}), 1), (graph, 2)):
        with pytest.raises(ConfigError, match="rewrites name ops"):
            rewritten(of, {op: Split(2, 2)})
    assert rewritten(graph, {}) is graph


def test_ops_behind_a_form_move_up() -> None:
    graph, _ = product()
    assert places(graph, {0: Split(2, 2)}) == (range(4), range(4, 5))
    assert places(graph, {}) == (range(1), range(1, 2))


def test_partial_sums_keep_the_width_they_are_summed_in() -> None:
    target = load_target("ascend910")
    assert target.storage_dtype(DType.F32) is DType.F16
    assert target.storage_dtype(DType.F32_SUM).bytes == 4
    graph, _ = product()
    short = Graph(
        tuple(TensorType(value.shape, DType.I8) for value in graph.values),
        graph.ops,
        graph.inputs,
        graph.outputs,
    )
    assert rewritten(short, {0: Split(2, 2)}).values[-1].dtype is DType.I32
    largest, _ = windows()
    assert rewritten(largest, {0: Split(2, 2)}).values[-1].dtype is DType.F32


@pytest.mark.parametrize("rewrite", [Split(2, 16), Unfold(1)])
def test_text_is_read_back(rewrite: Rewrite) -> None:
    assert rewrite_from(str(rewrite)) == rewrite


@pytest.mark.parametrize("text", ["", "split", "split.2", "split.x.2", "unfold", "unfold.0.1", "fold.0"])
def test_what_is_no_rewrite_is_refused(text: str) -> None:
    with pytest.raises(RecordError, match="is not a rewrite"):
        rewrite_from(text)
