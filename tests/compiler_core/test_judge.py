"""The rule of judging: what any order of the same arithmetic may make passes, a planted error does not."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.property.random_graphs import Builder, P, R, same
from tilewright.compiler_core.checking.judge import Judgement, is_right_at_a_glance, judge_op
from tilewright.compiler_core.ir.dtypes import DType, TensorType
from tilewright.compiler_core.ir.graph import Graph, Op
from tilewright.compiler_core.ir.index_map import Access, axis_index, constant_index
from tilewright.compiler_core.meaning import bounded
from tilewright.compiler_core.meaning.bounded import Bounded
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
            for index in reversed(range(left.shape[1])):
                total += (left[:, index : index + 1] * right[index : index + 1]).astype(total.dtype)
            values[op.result] = total.astype(kind.numpy)
        else:
            read = tuple({access.value for access in op.operands})
            values |= interpret(replace(graph, ops=(op,), inputs=read, outputs=(op.result,)), values)
    return values


def _judged(graph: Graph, values: dict[int, Any], got: dict[int, Any] | None = None) -> dict[int, Judgement]:
    """Every op judged from its operands among `values`; results are `got`, else those of `values`."""
    found = {}
    for op in graph.ops:
        read = [access.value for access in op.operands]
        operands, kinds = [Bounded(values[each]) for each in read], [graph.values[each] for each in read]
        made = (got or {}).get(op.result, values[op.result])
        found[op.result] = judge_op(op, operands, kinds, graph.values[op.result], [(made, None)]).judgements[
            0
        ]
    return found


@pytest.mark.parametrize("dtype", FLOATS)
def test_another_order_of_the_same_arithmetic_is_right(dtype: DType) -> None:
    graph, inputs = _attention(dtype)
    for value, judgement in _judged(graph, _backwards(graph, inputs)).items():
        assert judgement.ok, f"{value}: {judgement}"


@pytest.mark.parametrize("block", [1000, 1 << 20])
@pytest.mark.parametrize("dtype", FLOATS)
def test_a_planted_error_is_caught_wherever_it_is(
    dtype: DType, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Judged at once or in boxes: each as small as is promised, in the first and in the last element."""
    monkeypatch.setattr(bounded, "BLOCK", block)
    graph, inputs = _attention(dtype)
    values = _backwards(graph, inputs)
    for value, judgement in _judged(graph, values).items():
        right = values[value]
        largest = float(np.abs(right.astype(np.float64)).max())
        for place in ((0, 0), tuple(n - 1 for n in right.shape)):
            wrong = right.copy()
            # What is there may be as far on the other side, and rounding must not take the error back.
            error = 2.02 * judgement.caught * largest
            wrong[place] += np.asarray(error).astype(dtype.numpy)
            wrong[place] += np.spacing(np.abs(wrong[place]))
            judged = _judged(graph, values, {value: wrong})[value]
            assert not judged.ok
            assert judged.place == place
            assert str(list(place)) in str(judged)


def test_boxes_find_what_the_whole_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, inputs = _attention(DType.F32)
    values = _backwards(graph, inputs)
    whole = _judged(graph, values)
    monkeypatch.setattr(bounded, "BLOCK", 300)
    for value, judgement in _judged(graph, values).items():
        assert judgement.share == pytest.approx(whole[value].share, rel=0.5, abs=1e-3)
        assert judgement.caught == pytest.approx(whole[value].caught, rel=0.5)


@pytest.mark.parametrize("dtype", FLOATS)
def test_what_is_still_caught_is_a_few_steps_of_the_dtype(dtype: DType) -> None:
    graph, inputs = _attention(dtype)
    few = 40 if dtype.accumulator is dtype else 4
    for judgement in _judged(graph, _backwards(graph, inputs)).values():
        assert 0 < judgement.caught < few * epsilon(dtype)


@pytest.mark.parametrize("dtype", FLOATS)
def test_a_sum_that_cancels_is_judged_by_its_terms(dtype: DType) -> None:
    """The sum of a normalised row is noise; other noise is right, a wrong term is not."""
    graph, inputs, total = _two_norms(dtype)
    values = _backwards(graph, inputs)
    noise = values[total].astype(np.float64) + COLUMNS * epsilon(dtype.accumulator)
    assert _judged(graph, values, {total: noise.astype(dtype.numpy)})[total].ok
    wrong = (values[total].astype(np.float64) + 0.3).astype(dtype.numpy)
    assert not _judged(graph, values, {total: wrong})[total].ok


def _quantised(values: np.ndarray[Any, Any]) -> tuple[Graph, dict[int, Any]]:
    """x -> quantize -> dequantize, less a half -> erf, steep enough to say only its operand's sign."""
    n = values.shape[0]
    kinds = [(n,), (), (), (n,), (n,), (n,), (), (n,)]
    types = [
        TensorType(shape, DType.I8 if index in (2, 3) else DType.F32) for index, shape in enumerate(kinds)
    ]
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
        assert [each.ok for each in _judged(graph, got).values()] == [right, True, True, True]


def test_what_a_dtype_cannot_hold_may_overflow_and_nothing_else() -> None:
    graph, inputs = _attention(DType.F16)
    scores = replace(graph, ops=graph.ops[:1], outputs=(2,))
    with np.errstate(all="ignore"):
        values = interpret(scores, {value: array * np.float16(300) for value, array in inputs.items()})
        assert np.isinf(values[2]).any()
        assert _judged(scores, values)[2].ok
        wrong = values[2].copy()
        wrong[np.unravel_index(np.argmin(np.abs(wrong)), wrong.shape)] = np.inf
        assert not _judged(scores, values, {2: wrong})[2].ok


def test_another_shape_or_dtype_is_wrong() -> None:
    graph, inputs = _attention(DType.F32)
    values = _backwards(graph, inputs)
    assert "float64" in str(_judged(graph, values, {2: values[2].astype(np.float64)})[2])
    assert not _judged(graph, values, {2: values[2][:1]})[2].ok


@pytest.mark.parametrize("dtype", FLOATS)
def test_what_is_right_at_a_glance_is_right_and_a_planted_error_is_not(dtype: DType) -> None:
    """Sums near zero, whose slack lies in their terms, need a closer look."""
    graph, inputs = _attention(dtype)
    values = interpret(replace(graph, outputs=tuple(graph.producer)), inputs)
    values |= inputs
    judged = _judged(graph, values)
    seen = {op.result: _at_a_glance(graph, op, values, values[op.result]) for op in graph.ops}
    assert any(seen.values())
    assert all(judged[value].ok for value, right in seen.items() if right)
    for op in graph.ops:
        wrong = values[op.result].copy()
        wrong.flat[-1] *= dtype.numpy.type(1 + 256 * epsilon(dtype))
        assert not _at_a_glance(graph, op, values, wrong)
        wrong.flat[-1] = np.nan
        assert not _at_a_glance(graph, op, values, wrong)
        assert not _at_a_glance(graph, op, values, values[op.result][:-1])


def _at_a_glance(graph: Graph, op: Op, values: dict[int, Any], got: Any) -> bool:
    return is_right_at_a_glance(op, [values[a.value] for a in op.operands], graph.values[op.result], got)
