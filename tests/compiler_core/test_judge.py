"""The rule of judging: what any order of the same arithmetic may make passes, a planted error does not."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.property.random_graphs import Builder, P, R, same
from tilewright.compiler_core.checking.judge import Expected, expect
from tilewright.compiler_core.ir.dtypes import DType, TensorType
from tilewright.compiler_core.ir.graph import Graph, Op
from tilewright.compiler_core.ir.index_map import Access, axis_index, constant_index
from tilewright.compiler_core.meaning.interpret import interpret
from tilewright.compiler_core.meaning.tolerance import epsilon

FLOATS = (DType.F64, DType.F32, DType.F16, DType.BF16)
ROWS, COLUMNS = 6, 96


def _row(b: Builder, value: int) -> Access:
    """A vector with one element a row, read along rows."""
    return Access(value, (axis_index(0), constant_index(0)))


def _row_sum(b: Builder, x: int) -> int:
    rows, columns = b.shape(x)
    access = Access(x, (axis_index(0), axis_index(2)))
    return b.op("sum", (rows, 1), (columns,), (access,), kinds=(P, P, R))


def _pair(b: Builder, kind: str, x: int, rowwise: int) -> int:
    return b.op(kind, b.shape(x), (), (same(x, 2), _row(b, rowwise)))


def _scaled(b: Builder, x: int, factor: float) -> int:
    scale = b.input((1, 1))
    b.data[scale] = np.full((1, 1), factor, b.dtype.numpy)
    access = Access(scale, (constant_index(0), constant_index(0)))
    return b.op("mul", b.shape(x), (), (same(x, 2), access))


def _normalised(b: Builder, x: int) -> tuple[int, int]:
    """A layer norm without scale and shift, and the sum of its rows."""
    total = _row_sum(b, x)
    mean = _scaled(b, total, 1 / COLUMNS)
    centred = _pair(b, "sub", x, mean)
    squared = b.op("mul", b.shape(x), (), (same(centred, 2), same(centred, 2)))
    deviation = b.op("sqrt", (ROWS, 1), (), (same(_scaled(b, _row_sum(b, squared), 1 / COLUMNS), 2),))
    return _pair(b, "div", centred, deviation), total


def _two_norms(dtype: DType) -> tuple[Graph, dict[int, Any], int]:
    b = Builder(dtype, 0)
    x = b.input((ROWS, COLUMNS))
    b.data[x] = b.rng.standard_normal((ROWS, COLUMNS)).astype(dtype.numpy)
    once, _ = _normalised(b, x)
    twice, total = _normalised(b, once)
    return b.graph((twice,)), b.data, total


def _attention(dtype: DType) -> tuple[Graph, dict[int, Any]]:
    """softmax(x w) x: sums, a maximum, an exponential and a division."""
    b = Builder(dtype, 1)
    x, w = b.input((COLUMNS, ROWS)), b.input((ROWS, COLUMNS))
    for value in (x, w):
        b.data[value] = b.rng.standard_normal(b.shape(value)).astype(dtype.numpy)
    product = (Access(x, (axis_index(0), axis_index(2))), Access(w, (axis_index(2), axis_index(1))))
    scores = b.op("contract", (COLUMNS, COLUMNS), (ROWS,), product)
    most = b.op("max", (COLUMNS, 1), (COLUMNS,), (Access(scores, (axis_index(0), axis_index(2))),))
    raised = b.op("exp", (COLUMNS, COLUMNS), (), (same(_pair(b, "sub", scores, most), 2),))
    shares = _pair(b, "div", raised, _row_sum(b, raised))
    product = (Access(shares, (axis_index(0), axis_index(2))), Access(x, (axis_index(2), axis_index(1))))
    return b.graph((b.op("contract", (COLUMNS, ROWS), (COLUMNS,), product),)), b.data


def _backwards(graph: Graph, inputs: dict[int, Any]) -> dict[int, Any]:
    """All values, every product summed from its last term to its first: another order of the arithmetic."""
    values = dict(inputs)
    for op in graph.ops:
        if op.row.contraction:
            left, right = (values[access.value].astype(np.float64) for access in op.operands)
            kind = graph.values[op.result].dtype
            total = np.zeros((left.shape[0], right.shape[1]), kind.accumulator.numpy)
            for at in reversed(range(left.shape[1])):
                total += (left[:, at : at + 1] * right[at : at + 1]).astype(total.dtype)
            values[op.result] = total.astype(kind.numpy)
        else:
            read = tuple({access.value for access in op.operands})
            values |= interpret(replace(graph, ops=(op,), inputs=read, outputs=(op.result,)), values)
    return values


def _expected(graph: Graph, values: dict[int, Any]) -> dict[int, Expected]:
    """What every op is to make of its operands among `values`."""
    return {
        op.result: expect(
            op,
            [values[access.value] for access in op.operands],
            [graph.values[access.value] for access in op.operands],
            graph.values[op.result],
        )
        for op in graph.ops
    }


@pytest.mark.parametrize("dtype", FLOATS)
def test_another_order_of_the_same_arithmetic_is_right(dtype: DType) -> None:
    graph, inputs = _attention(dtype)
    got = _backwards(graph, inputs)
    for value, each in _expected(graph, got).items():
        assert each.judge(got[value]).ok, f"{value}: {each.judge(got[value])}"


@pytest.mark.parametrize("dtype", FLOATS)
def test_a_planted_error_is_caught_wherever_it_is(dtype: DType) -> None:
    graph, inputs = _attention(dtype)
    for value, each in _expected(graph, _backwards(graph, inputs)).items():
        for place in ((0, 0), tuple(n - 1 for n in graph.shape(value))):
            wrong = each.exact.value.copy()
            wrong[place] += 1.01 * each.caught * each.largest
            # Rounding to the dtype must not take it back.
            wrong[place] += np.spacing(np.abs(wrong[place]).astype(dtype.numpy)).astype(np.float64)
            judged = each.judge(wrong.astype(dtype.numpy))
            assert not judged.ok
            assert judged.place == place
            assert str(list(place)) in str(judged)


@pytest.mark.parametrize("dtype", FLOATS)
def test_what_is_still_caught_is_a_few_steps_of_the_dtype(dtype: DType) -> None:
    graph, inputs = _attention(dtype)
    few = 40 if dtype.accumulator is dtype else 4
    for each in _expected(graph, _backwards(graph, inputs)).values():
        assert 0 < each.caught < few * epsilon(dtype)


@pytest.mark.parametrize("dtype", FLOATS)
def test_a_sum_that_cancels_is_judged_by_its_terms(dtype: DType) -> None:
    """The sum of a normalised row is noise; other noise is right, a wrong term is not."""
    graph, inputs, total = _two_norms(dtype)
    each = _expected(graph, _backwards(graph, inputs))[total]
    terms = each.exact.value + COLUMNS * epsilon(dtype.accumulator)
    assert each.judge(terms.astype(dtype.numpy)).ok
    assert not each.judge((each.exact.value + 0.3).astype(dtype.numpy)).ok


def _quantised(values: np.ndarray[Any, Any]) -> tuple[Graph, dict[int, Any]]:
    """x -> quantize -> dequantize, less a half -> erf, steep enough to say only its operand's sign."""
    n = values.shape[0]
    kinds = [(n,), (), (), (n,), (n,), (n,), (), (n,)]
    types = [TensorType(shape, DType.I8 if at in (2, 3) else DType.F32) for at, shape in enumerate(kinds)]
    scale, zero, q = Access(1, ()), Access(2, ()), Access(3, (axis_index(0),))
    one = (axis_index(0),)
    ops = (
        Op("quantize", (n,), (P,), (Access(0, one), scale, zero), 3, (("to", "int8"),)),
        Op("dequantize", (n,), (P,), (q, scale, zero), 4),
        Op("sub", (n,), (P,), (Access(4, one), Access(6, ())), 5),
        Op("erf", (n,), (P,), (Access(5, one),), 7),
    )
    data = {0: values, 1: np.float32(20.0), 2: np.int8(0), 6: np.float32(50.0)}
    return Graph(tuple(types), ops, (0, 1, 2, 6), (7,)), {v: np.asarray(array) for v, array in data.items()}


def test_a_rounding_that_falls_the_other_way_is_right_and_so_is_all_behind_it() -> None:
    """50 / 20 = 2.5 is a tie: 2 is right and 3 is, and erf is -1 or 1; elsewhere a step is wrong."""
    graph, inputs = _quantised(np.array([50.0, 43.0], np.float32))
    for steps, right in (([2, 2], True), ([3, 2], True), ([2, 3], False), ([4, 2], False)):
        got = dict(inputs) | {3: np.array(steps, np.int8)}
        for op in graph.ops[1:]:
            read = tuple({access.value for access in op.operands})
            got |= interpret(replace(graph, ops=(op,), inputs=read, outputs=(op.result,)), got)
        assert got[7].tolist() == [1.0 if step > 2 else -1.0 for step in steps]
        judged = [each.judge(got[value]).ok for value, each in _expected(graph, got).items()]
        assert judged == [right, True, True, True]


def test_what_a_dtype_cannot_hold_may_overflow_and_nothing_else() -> None:
    graph, inputs = _attention(DType.F16)
    inputs = {value: array * np.float16(300) for value, array in inputs.items()}
    with np.errstate(all="ignore"):
        scores = expect(
            graph.ops[0], [inputs[0], inputs[1]], [graph.values[0], graph.values[1]], graph.values[2]
        )
        got = scores.plain.copy()
        assert np.isinf(got).any()
        assert scores.judge(got).ok
        got[np.unravel_index(np.argmin(np.abs(scores.exact.value)), got.shape)] = np.inf
        assert not scores.judge(got).ok


def test_another_shape_or_dtype_is_wrong() -> None:
    graph, inputs = _attention(DType.F32)
    each = _expected(graph, _backwards(graph, inputs))[2]
    assert "float64" in str(each.judge(each.plain.astype(np.float64)))
    assert not each.judge(each.plain[:1]).ok
