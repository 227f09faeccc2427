"""Networks whose one reduction fills no chip in its own form: a loss of millions of values, and a product of
few results over a long sum.
"""

from collections.abc import Callable, Mapping

from tilewright.compiler_core.ir.dtypes import DType, TensorType
from tilewright.compiler_core.ir.graph import Graph, Op
from tilewright.compiler_core.ir.index_map import Access, axis_index
from tilewright.compiler_core.ir.ops import AxisKind

P, R = AxisKind.PARALLEL, AxisKind.REDUCTION


def _read(value: int, *axes: int) -> Access:
    return Access(value, tuple(axis_index(axis) for axis in axes))


def loss(rows: int = 64, columns: int = 65536) -> Graph:
    """The sum of (x - y)^2 over [rows, columns] values."""
    whole = TensorType((rows, columns), DType.F32)
    return Graph(
        (whole, whole, whole, whole, TensorType((), DType.F32)),
        (
            Op("sub", (rows, columns), (P, P), (_read(0, 0, 1), _read(1, 0, 1)), 2),
            Op("mul", (rows, columns), (P, P), (_read(2, 0, 1), _read(2, 0, 1)), 3),
            Op("sum", (rows, columns), (R, R), (_read(3, 0, 1),), 4),
        ),
        (0, 1),
        (4,),
    )


def product(rows: int = 16, depth: int = 65536, columns: int = 16) -> Graph:
    """[rows, depth] times [depth, columns]."""
    shapes = (rows, depth), (depth, columns), (rows, columns)
    factors = _read(0, 0, 2), _read(1, 2, 1)
    return Graph(
        tuple(TensorType(shape, DType.F32) for shape in shapes),
        (Op("contract", (rows, columns, depth), (P, P, R), factors, 2),),
        (0, 1),
        (2,),
    )


EXAMPLES: Mapping[str, Callable[[], Graph]] = {"loss_64x65536": loss, "product_16x65536x16": product}
