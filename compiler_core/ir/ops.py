"""The structured-op table: the meaning of each kind of op at one point of its domain, and its unit.

A structured op is a domain, one index map per operand, a *body* applied at every point, and a *reducer* that
folds the body over the reduction axes (or, on a scan axis, keeps every prefix of the fold):

    matmul     body multiply, reducer sum, axes (m, n | k)          max pool   body identity, reducer max
    add        body add, no reduction axes                          cumsum     body identity, sum, scan axis

A new op is one row here, one entry in the importer, one golden.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tilewright.compiler_core.ir import host_ops
from tilewright.compiler_core.ir.dtypes import DType, dtype_of
from tilewright.compiler_core.ir.rounding import converted

Array: TypeAlias = npt.NDArray[Any]
AttributeValue: TypeAlias = bool | int | float | str
Attributes: TypeAlias = Mapping[str, Any]
Body: TypeAlias = Callable[[Sequence[Array], Attributes], Array]


class AxisKind(StrEnum):
    """The legal cuts of a domain axis: any; into partial sums; or in ascending order with a carry."""

    PARALLEL = "parallel"
    REDUCTION = "reduction"
    SCAN = "scan"


class Unit(StrEnum):
    """Which engine of a core works on an op. NONE costs nothing: the op only renames elements."""

    MATRIX = "matrix"
    VECTOR = "vector"
    DMA = "dma"
    NONE = "none"
    HOST = "host"


class Undefined(StrEnum):
    """Inputs without a value in the standard: NaN in ops that order numbers, integers beyond their type."""

    NONE = "none"
    ORDER = "order"
    RANGE = "range"


@dataclass(frozen=True)
class Reducer:
    """An associative fold with its identity, and the ufunc that does it."""

    name: str
    ufunc: np.ufunc
    identity: float

    def start_for(self, dtype: np.dtype[Any]) -> Any:
        """The identity in `dtype`: infinities become the type's own extremes for integers."""
        if dtype == np.bool_:
            return self.identity > 0
        if np.isinf(self.identity) and not dtype_of(dtype).is_float:
            return dtype_of(dtype).limits[self.identity > 0]
        return dtype.type(self.identity)


SUM = Reducer("sum", np.add, 0.0)
PROD = Reducer("prod", np.multiply, 1.0)
MAX = Reducer("max", np.maximum, -np.inf)
MIN = Reducer("min", np.minimum, np.inf)


@dataclass(frozen=True)
class OpRow:
    """One row: unit, numpy meaning, cost of a point in vector lane operations, and algebraic properties.

    `exact` says that on small integers any order of evaluation gives the same bits; rows without it are
    compared with a tolerance. `contraction` marks a sum of products that a matrix unit can take. `emit` names
    the native meaning (codegen/expressions.py) where it is not called as the op is. `gap` says on which
    operands the standard leaves the result open.
    """

    unit: Unit
    body: Body
    arity: int
    reducer: Reducer | None = None
    lane_ops: int = 1
    commutative: bool = False
    exact: bool = True
    contraction: bool = False
    emit: str = ""
    gap: Undefined = Undefined.NONE


def _unary(function: Callable[[Array], Array]) -> Body:
    return lambda args, attributes: function(args[0])


def _binary(function: Callable[[Array, Array], Array]) -> Body:
    return lambda args, attributes: function(args[0], args[1])


def _power(args: Sequence[Array], attributes: Attributes) -> Array:
    """Powers; those of integers to negative ones, which numpy refuses, are 1 / x cut to an integer."""
    x, y = args[0], args[1]
    if x.dtype.kind != "i" or not (y < 0).any():
        return np.power(x, y)
    with np.errstate(all="ignore"):
        # Infinity becomes the least integer, as processors convert it and onnxruntime has it.
        others = np.where(x == 0, np.iinfo(x.dtype).min, 0)
        inverse = np.where(np.abs(x) == 1, np.where(y % 2 == 0, 1, x), others)
    return np.where(y < 0, inverse, np.power(x, np.maximum(y, 0))).astype(x.dtype)


def _same(args: Sequence[Array], attributes: Attributes) -> Array:
    return args[0]


def _concat(args: Sequence[Array], attributes: Attributes) -> Array:
    # Every operand reads zero bits outside its own stretch, so exactly one has others.
    kind = args[0].dtype
    total = args[0].view(f"u{kind.itemsize}")
    for part in args[1:]:
        total = np.bitwise_or(total, part.view(total.dtype))
    return total.view(kind)


def _divide(a: Array, b: Array) -> Array:
    if not np.issubdtype(a.dtype, np.integer):
        return np.asarray(np.divide(a, b))
    # Integers truncate toward zero, as C and ONNX do.
    if not np.min(a, initial=0) < 0 and not np.min(b, initial=1) < 1:
        return np.asarray(np.floor_divide(a, b))
    quotient = np.floor_divide(np.abs(a), np.maximum(np.abs(b), 1))
    return np.asarray(quotient * (np.sign(a) * np.sign(b)), dtype=a.dtype)


def _modulo(args: Sequence[Array], attributes: Attributes) -> Array:
    if attributes.get("fmod", 0):
        return np.asarray(np.fmod(args[0], args[1]))
    return np.asarray(np.mod(args[0], args[1]))


def _clip(args: Sequence[Array], attributes: Attributes) -> Array:
    low, high = attributes.get("low"), attributes.get("high")
    x = args[0]
    if low is not None:
        x = np.maximum(x, x.dtype.type(low))
    return x if high is None else np.minimum(x, x.dtype.type(high))


def _scaled(x: Array, factor: float) -> Array:
    return np.asarray(x * x.dtype.type(factor))


def _hard_sigmoid(args: Sequence[Array], attributes: Attributes) -> Array:
    x = args[0]
    line = _scaled(x, attributes["alpha"]) + x.dtype.type(attributes["beta"])
    return np.asarray(np.clip(line, x.dtype.type(0), x.dtype.type(1)))


def _hard_swish(x: Array) -> Array:
    gate = np.clip(_scaled(x, 1 / 6) + x.dtype.type(0.5), x.dtype.type(0), x.dtype.type(1))
    return np.asarray(x * gate)


def _leaky_relu(args: Sequence[Array], attributes: Attributes) -> Array:
    x = args[0]
    return np.where(x < 0, _scaled(x, attributes["alpha"]), x)


def _elu(args: Sequence[Array], attributes: Attributes) -> Array:
    x = args[0]
    return np.where(x < 0, _scaled(np.expm1(np.minimum(x, 0)), attributes["alpha"]), x)


# Importing scipy takes as long as a lookup; most processes never evaluate one of these two.


def _sigmoid(x: Array) -> Array:
    from scipy.special import expit

    return np.asarray(expit(x))


def _erf(x: Array) -> Array:
    from scipy.special import erf

    return np.asarray(erf(x))


def _quantize(args: Sequence[Array], attributes: Attributes) -> Array:
    """X / scale + zero point in type `to`, the division in type `work` (or that of the operands)."""
    x, scale, zero_point = args
    scale = scale.astype(np.float32) if dtype_of(scale.dtype) is DType.F8E8M0FNU else scale
    if work := attributes.get("work"):
        x, scale = x.astype(work), scale.astype(work)
    scaled = x / scale
    to = dtype_of(np.dtype(attributes["to"]))
    if to.is_float:
        shifted = scaled + zero_point.astype(scaled.dtype)
        return converted(
            shifted, attributes["to"], saturate=bool(attributes.get("saturate", 1)), rounding="nearest"
        )
    low, high = to.limits
    whole = np.clip(np.rint(scaled) + zero_point.astype(np.float32), low, high)
    return np.where(np.isnan(whole), low, whole).astype(to.numpy)


def _dequantize(args: Sequence[Array], attributes: Attributes) -> Array:
    """(q - zero point) * scale, in f32 where the scale is shorter."""
    q, scale, zero_point = args
    wide = scale.astype(scale.dtype if dtype_of(scale.dtype).bits >= 32 else np.float32)
    if dtype_of(q.dtype).is_float:
        centred = q.astype(wide.dtype) - zero_point.astype(wide.dtype)
    else:
        centred = (q.astype(np.int32) - zero_point.astype(np.int32)).astype(wide.dtype)
    return np.asarray(centred * wide)


def _cast(args: Sequence[Array], attributes: Attributes) -> Array:
    saturate, rounding = bool(attributes.get("saturate", 1)), str(attributes.get("rounding", "up"))
    return converted(args[0], str(attributes["to"]), saturate=saturate, rounding=rounding)


def _where(args: Sequence[Array], attributes: Attributes) -> Array:
    return np.where(args[0].astype(np.bool_), args[1], args[2])


def _host(args: Sequence[Array], attributes: Attributes) -> Array:
    results = host_ops.run(str(attributes["function"]), args, attributes)
    return np.asarray(results[int(attributes["output"])])


def _vector(
    body: Body,
    arity: int,
    lane_ops: int = 1,
    *,
    commutative: bool = False,
    emit: str = "",
    gap: Undefined = Undefined.NONE,
) -> OpRow:
    return OpRow(Unit.VECTOR, body, arity, lane_ops=lane_ops, commutative=commutative, emit=emit, gap=gap)


def _transcendental(function: Callable[[Array], Array], lane_ops: int) -> OpRow:
    return OpRow(Unit.VECTOR, _unary(function), 1, lane_ops=lane_ops, exact=False)


def _fold(reducer: Reducer, gap: Undefined) -> OpRow:
    return OpRow(Unit.VECTOR, _same, 1, reducer=reducer, emit="same", gap=gap)


OPS: dict[str, OpRow] = {
    # sums of products; a batch of one or an axis of one is still the same row
    "contract": OpRow(
        Unit.MATRIX, _binary(np.multiply), 2, reducer=SUM, contraction=True, emit="mul", gap=Undefined.RANGE
    ),
    # folds over reduction axes: reductions, pooling windows, prefix sums
    "sum": _fold(SUM, Undefined.RANGE),
    "prod": _fold(PROD, Undefined.RANGE),
    "max": _fold(MAX, Undefined.ORDER),
    "min": _fold(MIN, Undefined.ORDER),
    # elements renamed or copied
    "view": OpRow(Unit.NONE, _same, 1, lane_ops=0, emit="same"),
    "move": OpRow(Unit.VECTOR, _same, 1, emit="same"),
    "concat": OpRow(Unit.NONE, _concat, -1, lane_ops=0),
    "gather": OpRow(Unit.DMA, _same, -1, lane_ops=0, emit="same"),
    # no structured form: attribute `function` names the meaning, `output` which of its results this is
    "host": OpRow(Unit.HOST, _host, -1, lane_ops=0, exact=False, gap=Undefined.ORDER),
    # steps of a body with a carry: written out before a network is planned, on the host where it cannot be
    "loop": OpRow(Unit.HOST, _same, -1, lane_ops=0),
    # elementwise, exact on small integers
    "add": _vector(_binary(np.add), 2, commutative=True, gap=Undefined.RANGE),
    "sub": _vector(_binary(np.subtract), 2, gap=Undefined.RANGE),
    "mul": _vector(_binary(np.multiply), 2, commutative=True, gap=Undefined.RANGE),
    "div": OpRow(Unit.VECTOR, _binary(_divide), 2, lane_ops=4, exact=False),
    "maximum": _vector(_binary(np.maximum), 2, commutative=True, gap=Undefined.ORDER),
    "minimum": _vector(_binary(np.minimum), 2, commutative=True, gap=Undefined.ORDER),
    "mod": _vector(_modulo, 2, 4),
    "neg": _vector(_unary(np.negative), 1, gap=Undefined.RANGE),
    "abs": _vector(_unary(np.abs), 1, gap=Undefined.RANGE),
    "sign": _vector(_unary(np.sign), 1, gap=Undefined.ORDER),
    "floor": _vector(_unary(np.floor), 1),
    "ceil": _vector(_unary(np.ceil), 1),
    "round": _vector(_unary(np.rint), 1),
    "relu": _vector(_unary(lambda x: np.maximum(x, x.dtype.type(0))), 1, gap=Undefined.ORDER),
    "clip": _vector(_clip, 1, 2, gap=Undefined.ORDER),
    "leaky_relu": OpRow(Unit.VECTOR, _leaky_relu, 1, lane_ops=2, exact=False, gap=Undefined.ORDER),
    "prelu": _vector(_binary(lambda x, slope: np.where(x < 0, x * slope, x)), 2, 2, gap=Undefined.ORDER),
    "where": _vector(_where, 3),
    "equal": _vector(_binary(np.equal), 2, commutative=True),
    "less": _vector(_binary(np.less), 2),
    "less_equal": _vector(_binary(np.less_equal), 2),
    "logical_and": _vector(_binary(np.logical_and), 2, commutative=True),
    "logical_or": _vector(_binary(np.logical_or), 2, commutative=True),
    "logical_not": _vector(_unary(np.logical_not), 1),
    "bit_and": _vector(_binary(np.bitwise_and), 2, commutative=True, emit="both"),
    "bit_or": _vector(_binary(np.bitwise_or), 2, commutative=True, emit="either"),
    "bit_xor": _vector(_binary(np.bitwise_xor), 2, commutative=True, emit="differ"),
    "bit_not": _vector(_unary(np.bitwise_not), 1),
    "shift_left": _vector(_binary(np.left_shift), 2),
    "shift_right": _vector(_binary(np.right_shift), 2),
    "is_nan": _vector(_unary(np.isnan), 1),
    "cast": _vector(_cast, 1, gap=Undefined.RANGE),
    "quantize": OpRow(Unit.VECTOR, _quantize, 3, lane_ops=4, exact=False, gap=Undefined.ORDER),
    "dequantize": OpRow(Unit.VECTOR, _dequantize, 3, lane_ops=2, exact=False),
    # elementwise, rounded
    "exp": _transcendental(np.exp, 8),
    "log": _transcendental(np.log, 8),
    "sqrt": _transcendental(np.sqrt, 4),
    "reciprocal": _transcendental(np.reciprocal, 4),
    "erf": _transcendental(_erf, 12),
    "tanh": _transcendental(np.tanh, 10),
    "sigmoid": _transcendental(_sigmoid, 10),
    "sin": _transcendental(np.sin, 10),
    "cos": _transcendental(np.cos, 10),
    "tan": _transcendental(np.tan, 12),
    "asin": _transcendental(np.arcsin, 12),
    "acos": _transcendental(np.arccos, 12),
    "atan": _transcendental(np.arctan, 12),
    "sinh": _transcendental(np.sinh, 10),
    "cosh": _transcendental(np.cosh, 10),
    "asinh": _transcendental(np.arcsinh, 12),
    "acosh": _transcendental(np.arccosh, 12),
    "atanh": _transcendental(np.arctanh, 12),
    "softplus": _transcendental(lambda x: np.logaddexp(x, x.dtype.type(0)), 16),
    "pow": OpRow(Unit.VECTOR, _power, 2, lane_ops=16, exact=False, gap=Undefined.RANGE),
    "elu": OpRow(Unit.VECTOR, _elu, 1, lane_ops=10, exact=False, gap=Undefined.ORDER),
    "hard_sigmoid": OpRow(Unit.VECTOR, _hard_sigmoid, 1, lane_ops=3, exact=False, gap=Undefined.ORDER),
    "hard_swish": OpRow(Unit.VECTOR, _unary(_hard_swish), 1, lane_ops=4, exact=False, gap=Undefined.ORDER),
}
