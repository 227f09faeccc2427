"""What an op means over a box, against numbers worked by hand or by another route through numpy."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tilewright.compiler_core.ir.dtypes import DType, TensorType
from tilewright.compiler_core.ir.graph import Op
from tilewright.compiler_core.ir.index_map import Access, IndexExpr, affine, axis_index
from tilewright.compiler_core.ir.ops import OPS, AxisKind
from tilewright.compiler_core.meaning.evaluate import Held, evaluate, read_over

P, R, S = AxisKind.PARALLEL, AxisKind.REDUCTION, AxisKind.SCAN
Array = npt.NDArray[Any]


def _whole(array: Array) -> Held:
    return Held(array, (0,) * array.ndim, array.shape)


def _op(
    kind: str, domain: tuple[int, ...], kinds: tuple[AxisKind, ...], *accesses: Access, **attributes: Any
) -> Op:
    return Op(kind, domain, kinds, accesses, len(accesses), tuple(attributes.items()))


def _run(
    op: Op, box: list[tuple[int, int]], arrays: list[Array], dtype: DType, partial: bool = False
) -> Array:
    shape = tuple(op.extents[axis] for axis in op.result_axes)
    return evaluate(op, box, [_whole(a) for a in arrays], TensorType(shape, dtype), partial=partial)


WINDOW = Access(0, (affine((0, 2), (1, 1), offset=-1),), 0.0)


def test_a_padded_window_reads_its_pad_at_both_borders() -> None:
    """Windows of three, stride two, one before the start: [p 1 2] [2 3 4] [4 5 p]."""
    x = np.array([1, 2, 3, 4, 5], dtype=np.float32)
    op = _op("sum", (3, 3), (P, R), WINDOW)
    assert _run(op, [(0, 3), (0, 3)], [x], DType.F32).tolist() == [3, 9, 9]
    assert _run(op, [(2, 3), (0, 3)], [x], DType.F32).tolist() == [9]


def test_a_held_part_is_read_at_its_own_place() -> None:
    x = np.arange(10, dtype=np.float32)
    held = Held(x[3:8], (3,), x.shape)
    assert read_over(Access(0, (affine((0, 1), offset=2),)), held, [(2, 5)], ()).tolist() == [4, 5, 6]


def test_a_maximum_over_integers_pads_with_the_least_of_them() -> None:
    x = np.array([-100, -90, -80, -70, -60], dtype=np.int8)
    op = _op("max", (3, 3), (P, R), Access(0, WINDOW.exprs, float("-inf")))
    assert _run(op, [(0, 3), (0, 3)], [x], DType.I8).tolist() == [-90, -70, -60]


def test_int8_products_add_up_in_int32_and_are_rounded_once() -> None:
    x, w = np.full((1, 300), 100, dtype=np.int8), np.full((300, 1), 100, dtype=np.int8)
    left, right = Access(0, (axis_index(0), axis_index(2))), Access(1, (axis_index(2), axis_index(1)))
    op = _op("contract", (1, 1, 300), (P, P, R), left, right)
    assert _run(op, [(0, 1), (0, 1), (0, 300)], [x, w], DType.I32).tolist() == [[3_000_000]]
    halves = [
        _run(op, [(0, 1), (0, 1), half], [x, w], DType.F16, partial=True) for half in ((0, 150), (150, 300))
    ]
    assert halves[0].dtype == np.float32
    assert (halves[0] + halves[1]).tolist() == [[3_000_000]]


@pytest.mark.parametrize("seed", range(4))
def test_contractions_agree_with_einsum(seed: int) -> None:
    """Batched, with a transposed operand, over part of the domain."""
    rng = np.random.default_rng(seed)
    x, w = (rng.integers(-9, 9, shape).astype(np.float32) for shape in ((3, 5, 4), (3, 6, 4)))
    left = Access(0, (axis_index(0), axis_index(1), axis_index(3)))
    right = Access(1, (axis_index(0), axis_index(2), axis_index(3)))
    op = _op("contract", (3, 5, 6, 4), (P, P, P, R), left, right)
    got = _run(op, [(1, 3), (0, 5), (2, 6), (0, 4)], [x, w], DType.F32)
    np.testing.assert_array_equal(got, np.einsum("bmk,bnk->bmn", x, w)[1:3, :, 2:6])


def test_a_scan_keeps_every_prefix() -> None:
    op = _op("sum", (2, 3), (P, S), Access(0, (axis_index(0), axis_index(1))))
    x = np.array([[1, 2, 3], [4, 5, 6]], dtype=np.int64)
    assert _run(op, [(0, 2), (0, 3)], [x], DType.I64).tolist() == [[1, 3, 6], [4, 9, 15]]


def test_division_and_modulus_rename_elements() -> None:
    """A row-major [2, 3] read as [6], and each element twice."""
    x = np.array([[0, 1, 2], [3, 4, 5]], dtype=np.int32)
    flat = Access(0, (affine((0, 1), divisor=3), affine((0, 1), modulus=3)))
    assert _run(_op("view", (6,), (P,), flat), [(1, 5)], [x], DType.I32).tolist() == [1, 2, 3, 4]
    twice = Access(0, (axis_index(0), affine((1, 1), divisor=2)))
    assert _run(_op("move", (1, 6), (P, P), twice), [(0, 1), (0, 6)], [x], DType.I32).tolist() == [
        [0, 0, 1, 1, 2, 2]
    ]


def test_rows_by_data_count_from_the_end_when_negative() -> None:
    x, rows = np.array([[1.0], [2.0], [3.0]], dtype=np.float32), np.array([2, -3], dtype=np.int64)
    op = _op(
        "gather", (2, 1), (P, P), Access(0, (IndexExpr(source=1), axis_index(1))), Access(1, (axis_index(0),))
    )
    assert _run(op, [(0, 2), (0, 1)], [x, rows], DType.F32).tolist() == [[3.0], [1.0]]


def test_integers_divide_toward_zero() -> None:
    a, b = np.array([7, -7, 7, -7], dtype=np.int32), np.array([2, 2, -2, -2], dtype=np.int32)
    same = (Access(0, (axis_index(0),)), Access(1, (axis_index(0),)))
    assert _run(_op("div", (4,), (P,), *same), [(0, 4)], [a, b], DType.I32).tolist() == [3, -3, -3, 3]


def test_quantizing_rounds_half_to_even_and_saturates() -> None:
    x = np.array([0.5, 1.5, -2.5, 1000.0], dtype=np.float32)
    scale, zero = np.array(1.0, dtype=np.float32), np.array(1, dtype=np.int8)
    op = _op("quantize", (4,), (P,), Access(0, (axis_index(0),)), Access(1, ()), Access(2, ()), to="int8")
    assert _run(op, [(0, 4)], [x, scale, zero], DType.I8).tolist() == [1, 3, -1, 127]


@pytest.mark.parametrize("kind", [kind for kind, row in OPS.items() if row.reducer is not None])
def test_an_empty_fold_is_the_identity(kind: str) -> None:
    reducer = OPS[kind].reducer
    assert reducer is not None
    operands = [Access(place, (axis_index(1),)) for place in range(OPS[kind].arity)]
    op = _op(kind, (2, 0), (P, R), *operands)
    got = _run(op, [(0, 2), (0, 0)], [np.zeros(0, dtype=np.float32)] * len(operands), DType.F32)
    assert got.tolist() == [reducer.identity] * 2


@pytest.mark.parametrize("large", [100_000, 2**31 - 1])
def test_sums_of_integer_products_wrap_around(large: int) -> None:
    """As machine code has them, also where the sum is no longer exact in a float of 64 bits."""
    rows, columns = Access(0, (axis_index(0), axis_index(2))), Access(1, (axis_index(2), axis_index(1)))
    op = Op("contract", (2, 3, 8), (P, P, R), (rows, columns), 2)
    left, right = (np.full(shape, large, np.int32) for shape in ((2, 8), (8, 3)))
    made = _run(op, [(0, 2), (0, 3), (0, 8)], [left, right], DType.I32)
    wrapped = (8 * large * large + 2**31) % 2**32 - 2**31
    assert made.tolist() == [[wrapped] * 3] * 2
