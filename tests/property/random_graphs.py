"""Small random networks over integer data, for laws that must hold of all of them.

Values stay small (every op that can grow them is followed by a clip), so every order of evaluation is exact
and results compare bit for bit.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tilewright.compiler_core.ir.dtypes import DType, TensorType
from tilewright.compiler_core.ir.graph import Graph, Op
from tilewright.compiler_core.ir.index_map import (
    Access,
    IndexExpr,
    affine,
    axis_index,
    constant_index,
    reshape_exprs,
)
from tilewright.compiler_core.ir.ops import OPS, AxisKind, Unit

P, R, S = AxisKind.PARALLEL, AxisKind.REDUCTION, AxisKind.SCAN
LIMIT = 8


class Builder:
    """Collects values and ops; inputs get integer data as they are made. `rough` are values between an op
    that is not exact and its rounding, which nothing else may read.
    """

    def __init__(self, dtype: DType, seed: int) -> None:
        self.dtype = dtype
        self.rough: set[int] = set()
        self.rng = np.random.default_rng(seed)
        self.values: list[TensorType] = []
        self.ops: list[Op] = []
        self.data: dict[int, np.ndarray[Any, Any]] = {}

    def shape(self, value: int) -> tuple[int, ...]:
        return tuple(int(str(dim)) for dim in self.values[value].shape)

    def input(
        self, shape: tuple[int, ...], dtype: DType | None = None, high: int = LIMIT, low: int | None = None
    ) -> int:
        """Integers from `low` (-high; 0 for another dtype, which holds indices) up to but without `high`."""
        dtype = dtype or self.dtype
        self.values.append(TensorType(shape, dtype))
        if low is None:
            low = -high if dtype is self.dtype else 0
        self.data[len(self.values) - 1] = self.rng.integers(low, high, shape).astype(dtype.numpy)
        return len(self.values) - 1

    def op(
        self,
        kind: str,
        shape: tuple[int, ...],
        folded: tuple[int, ...],
        operands: tuple[Access, ...],
        attributes: tuple[tuple[str, Any], ...] = (),
        kinds: tuple[AxisKind, ...] | None = None,
    ) -> int:
        self.values.append(TensorType(shape, self.dtype))
        axis_kinds = kinds or (*(P for _ in shape), *(R for _ in folded))
        self.ops.append(Op(kind, (*shape, *folded), axis_kinds, operands, len(self.values) - 1, attributes))
        return len(self.values) - 1

    def earlier(self) -> list[int]:
        """Values that any op may read."""
        return [v for v, kind in enumerate(self.values) if kind.dtype is self.dtype and v not in self.rough]

    def clipped(self, value: int) -> int:
        limits = (("low", -LIMIT), ("high", LIMIT))
        return self.op("clip", self.shape(value), (), (same(value, len(self.shape(value))),), limits)

    def graph(self, outputs: tuple[int, ...]) -> Graph:
        return Graph(tuple(self.values), tuple(self.ops), tuple(self.data), outputs)


def same(value: int, rank: int) -> Access:
    """A read at the point's own index."""
    return Access(value, tuple(axis_index(axis) for axis in range(rank)))


def convolution(b: Builder, x: int, draw: Callable[..., Any]) -> int | None:
    if len(b.shape(x)) != 4:
        return None
    n, c, h, w = b.shape(x)
    kernel, stride = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    dilation, pad = draw(st.integers(1, 2)), draw(st.integers(0, 2))
    reach = dilation * (kernel - 1) + 1
    out_h, out_w = (h + 2 * pad - reach) // stride + 1, (w + 2 * pad - reach) // stride + 1
    if out_h < 1 or out_w < 1:
        return None
    rows = affine((2, stride), (5, dilation), offset=-pad)
    columns = affine((3, stride), (6, dilation), offset=-pad)
    if draw(st.booleans()):
        weight = b.input((c, kernel, kernel))
        rows, columns = (
            affine((2, stride), (4, dilation), offset=-pad),
            affine((3, stride), (5, dilation), offset=-pad),
        )
        data = Access(x, (axis_index(0), axis_index(1), rows, columns), 0.0)
        taps = Access(weight, (axis_index(1), axis_index(4), axis_index(5)))
        return b.clipped(b.op("contract", (n, c, out_h, out_w), (kernel, kernel), (data, taps)))
    filters = draw(st.integers(1, 5))
    weight = b.input((filters, c, kernel, kernel))
    data = Access(x, (axis_index(0), axis_index(4), rows, columns), 0.0)
    taps = Access(weight, tuple(axis_index(axis) for axis in (1, 4, 5, 6)))
    return b.clipped(b.op("contract", (n, filters, out_h, out_w), (c, kernel, kernel), (data, taps)))


def matmul(b: Builder, x: int, draw: Callable[..., Any]) -> int | None:
    shape = b.shape(x)
    if len(shape) < 2:
        return None
    rank, columns = len(shape), draw(st.integers(1, 6))
    weight = b.input((shape[-1], columns))
    data = Access(x, (*(axis_index(axis) for axis in range(rank - 1)), axis_index(rank)))
    return b.clipped(
        b.op(
            "contract",
            (*shape[:-1], columns),
            (shape[-1],),
            (data, Access(weight, (axis_index(rank), axis_index(rank - 1)))),
        )
    )


def gram(b: Builder, x: int, draw: Callable[..., Any]) -> int | None:
    """x times its own transpose: one value read by one op through two maps."""
    shape = b.shape(x)
    if len(shape) != 2:
        return None
    return b.clipped(
        b.op(
            "contract",
            (shape[0], shape[0]),
            (shape[1],),
            (Access(x, (axis_index(0), axis_index(2))), Access(x, (axis_index(1), axis_index(2)))),
        )
    )


ATTRIBUTES: dict[str, tuple[tuple[str, Any], ...]] = {
    "clip": (("low", -3), ("high", 5)),
    "mod": (("fmod", 1),),
    "leaky_relu": (("alpha", 0.25),),
    "elu": (("alpha", 2.0),),
    "hard_sigmoid": (("alpha", 0.25), ("beta", 0.5)),
    "quantize": (("to", "int8"),),
}
INTEGERS_ONLY = {kind for kind in OPS if kind.startswith(("bit_", "shift_"))}
POSITIVE_SECOND = {"shift_left", "shift_right", "mod", "div", "pow", "quantize", "dequantize"}
DRAWN_BY_MAP = {"contract", "sum", "prod", "max", "min", "view", "concat", "gather", "host", "loop"}
ELEMENTWISE = tuple(
    kind for kind, row in OPS.items() if row.unit is Unit.VECTOR and row.reducer is None and kind != "concat"
)


def elementwise(b: Builder, x: int, draw: Callable[..., Any]) -> int:
    """Any pointwise row of the table. What is not exact is rounded, so that what follows is exact again."""
    shape, rank = b.shape(x), len(b.shape(x))
    whole = b.dtype is not DType.F32
    kinds = [k for k in ELEMENTWISE if (OPS[k].exact if whole else k not in INTEGERS_ONLY)]
    kind = draw(st.sampled_from(kinds))
    operands = [same(x, rank)]
    for place in range(1, OPS[kind].arity):
        positive = place == 1 and kind in POSITIVE_SECOND
        axis = draw(st.integers(0, rank - 1))
        vector = b.input((shape[axis], 1), low=1 if positive else -LIMIT)
        operands.append(Access(vector, (axis_index(axis), constant_index(0))))
    attributes = ATTRIBUTES.get(kind, ())
    if kind == "cast":
        attributes = (("to", str(b.dtype.numpy)),)
    made = b.op(kind, shape, (), tuple(operands), attributes)
    if not OPS[kind].exact:
        b.rough.add(made)
        made = b.op("round", shape, (), (same(made, rank),))
    return b.clipped(made)


def on_host(b: Builder, x: int, draw: Callable[..., Any]) -> int:
    """An op without structured form (rows sorted): it runs whole, and no kernel reaches across it."""
    shape = b.shape(x)
    sort = (("axis", len(shape) - 1), ("k", shape[-1]), ("largest", 1))
    attributes = (("function", "top_k"), ("output", 0), *sort)
    return b.op("host", shape, (), (same(x, len(shape)),), attributes)


def binary(b: Builder, x: int, draw: Callable[..., Any]) -> int:
    """With an earlier value of the same shape (a residual, or itself), or a broadcast vector."""
    shape = b.shape(x)
    rank = len(shape)
    kind = draw(st.sampled_from(["add", "sub", "mul", "maximum"]))
    alike = [v for v in b.earlier() if b.shape(v) == shape]
    if draw(st.booleans()) and alike:
        other = same(draw(st.sampled_from(alike)), rank)
    else:
        axis = draw(st.integers(0, rank - 1))
        vector = b.input((shape[axis], 1))
        other = Access(vector, (axis_index(axis), constant_index(0)))
    return b.clipped(b.op(kind, shape, (), (same(x, rank), other)))


def reduction(b: Builder, x: int, draw: Callable[..., Any]) -> int | None:
    """Over one axis, which is kept with extent one or dropped."""
    shape = b.shape(x)
    axis, kind = draw(st.integers(0, len(shape) - 1)), draw(st.sampled_from(["sum", "max", "min", "prod"]))
    if kind == "prod" and shape[axis] > 7:
        return None  # beyond exact f32
    keep = draw(st.booleans()) or len(shape) == 1
    result = tuple(1 if a == axis else n for a, n in enumerate(shape) if keep or a != axis)
    folded = len(result)
    exprs = tuple(
        axis_index(folded) if a == axis else axis_index(a if keep or a < axis else a - 1)
        for a in range(len(shape))
    )
    return b.clipped(b.op(kind, result, (shape[axis],), (Access(x, exprs),)))


def pooling(b: Builder, x: int, draw: Callable[..., Any]) -> int | None:
    if len(b.shape(x)) != 4:
        return None
    n, c, h, w = b.shape(x)
    window, stride, pad = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(0, 1))
    out_h, out_w = (h + 2 * pad - window) // stride + 1, (w + 2 * pad - window) // stride + 1
    if out_h < 1 or out_w < 1 or pad >= window:
        return None
    kind = draw(st.sampled_from(["max", "sum"]))
    access = Access(
        x,
        (
            axis_index(0),
            axis_index(1),
            affine((2, stride), (4, 1), offset=-pad),
            affine((3, stride), (5, 1), offset=-pad),
        ),
        float("-inf") if kind == "max" else 0.0,
    )
    return b.clipped(b.op(kind, (n, c, out_h, out_w), (window, window), (access,)))


def view(b: Builder, x: int, draw: Callable[..., Any]) -> int:
    """A transpose, a slice with a step, or a reshape."""
    shape = b.shape(x)
    rank = len(shape)
    choice = draw(st.sampled_from(["transpose", "slice", "reshape"]))
    if choice == "transpose":
        order = draw(st.permutations(range(rank)))
        exprs = tuple(axis_index(order.index(dim)) for dim in range(rank))
        return b.op("view", tuple(shape[dim] for dim in order), (), (Access(x, exprs),))
    if choice == "slice":
        axis = draw(st.integers(0, rank - 1))
        start, step = draw(st.integers(0, shape[axis] - 1)), draw(st.sampled_from([1, 2, -1]))
        extent = start + 1 if step < 0 else -(-(shape[axis] - start) // step)
        exprs = tuple(
            affine((dim, step), offset=start) if dim == axis else axis_index(dim) for dim in range(rank)
        )
        return b.op(
            "view", tuple(extent if d == axis else n for d, n in enumerate(shape)), (), (Access(x, exprs),)
        )
    elements = int(np.prod(shape))
    divisors = [d for d in range(1, elements + 1) if elements % d == 0]
    first = draw(st.sampled_from(divisors))
    second = draw(st.sampled_from([d for d in divisors if (elements // first) % d == 0]))
    result = (first, second, elements // first // second)
    return b.op("view", result, (), (Access(x, reshape_exprs(shape, result)),))


def resize(b: Builder, x: int, draw: Callable[..., Any]) -> int:
    """Nearest neighbour by a rational factor along one axis: floor division in the map."""
    shape = b.shape(x)
    axis = draw(st.integers(0, len(shape) - 1))
    up, down = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    extent = max(1, shape[axis] * up // down)
    if (extent - 1) * down // up >= shape[axis]:
        extent = shape[axis]
        up = down = 1
    exprs = tuple(
        affine((dim, down), divisor=up) if dim == axis else axis_index(dim) for dim in range(len(shape))
    )
    return b.op(
        "move", tuple(extent if d == axis else n for d, n in enumerate(shape)), (), (Access(x, exprs),)
    )


def concat(b: Builder, x: int, draw: Callable[..., Any]) -> int:
    """With an earlier value that differs at most along one axis, or with itself."""
    shape = b.shape(x)
    axis = draw(st.integers(0, len(shape) - 1))

    def fits(value: int) -> bool:
        other = b.shape(value)
        return len(other) == len(shape) and all(
            a == n for d, (a, n) in enumerate(zip(other, shape, strict=True)) if d != axis
        )

    others = [v for v in b.earlier() if fits(v)]
    other = draw(st.sampled_from(others))
    parts, offset = [], 0
    for part in (x, other):
        exprs = tuple(
            affine((dim, 1), offset=-offset) if dim == axis else axis_index(dim) for dim in range(len(shape))
        )
        parts.append(Access(part, exprs, 0.0))
        offset += b.shape(part)[axis]
    return b.op("concat", tuple(offset if d == axis else n for d, n in enumerate(shape)), (), tuple(parts))


def cumulative_sum(b: Builder, x: int, draw: Callable[..., Any]) -> int:
    shape = b.shape(x)
    axis = draw(st.integers(0, len(shape) - 1))
    kinds = tuple(S if dim == axis else P for dim in range(len(shape)))
    return b.clipped(b.op("sum", shape, (), (same(x, len(shape)),), (), kinds))


def gather(b: Builder, x: int, draw: Callable[..., Any]) -> int:
    """Rows picked by data."""
    shape = b.shape(x)
    count = draw(st.integers(1, 5))
    indices = b.input((count,), DType.I64, high=shape[0])
    exprs = (IndexExpr(source=1), *(axis_index(dim) for dim in range(1, len(shape))))
    return b.op("gather", (count, *shape[1:]), (), (Access(x, exprs), Access(indices, (axis_index(0),))))


def loop(b: Builder, x: int, draw: Callable[..., Any]) -> int | None:
    """A recurrence along the first dim: state = clip(weight * state + element), the last or all of them."""
    shape = b.shape(x)
    if len(shape) < 2 or not 1 <= shape[0] <= 7:
        return None
    kind, whole = TensorType(shape[1:], b.dtype), len(shape) - 1
    state, weight = b.input(shape[1:]), b.input((shape[-1],), high=3)
    scaled = Access(2, (axis_index(whole - 1),))
    limits = (("high", LIMIT), ("low", -LIMIT))
    pointwise = (P,) * whole
    body = Graph(
        values=(kind, kind, TensorType((shape[-1],), b.dtype), kind, kind, kind),
        ops=(
            Op("mul", shape[1:], pointwise, (same(0, whole), scaled), 3),
            Op("sub", shape[1:], pointwise, (same(1, whole), same(3, whole)), 4),
            Op("clip", shape[1:], pointwise, (same(4, whole),), 5, limits),
        ),
        inputs=(0, 1, 2),
        outputs=(5, 5),
    )
    output = draw(st.integers(0, 1))
    attributes = (("carried", 1), ("conditional", 0), ("most_steps", 0), ("output", output), ("scanned", 1))
    operands = tuple(
        Access(value, (IndexExpr(source=0),) * len(b.shape(value))) for value in (state, x, weight)
    )
    b.values.append(TensorType(shape if output else shape[1:], b.dtype))
    domain = shape if output else (*shape[1:], shape[0])
    kinds = (S, *pointwise) if output else (*pointwise, R)
    b.ops.append(Op("loop", domain, kinds, operands, len(b.values) - 1, attributes, body))
    return len(b.values) - 1


STEPS = (
    convolution, convolution, matmul, gram, elementwise, elementwise, binary, binary, reduction,
    pooling, view, resize, concat, cumulative_sum, gather, on_host, loop,
)  # fmt: skip


@st.composite
def graphs(draw: Callable[..., Any], most_steps: int = 6) -> tuple[Graph, dict[int, np.ndarray[Any, Any]]]:
    """A Graph of at least one kernel, and integer data for its inputs."""
    b = Builder(draw(st.sampled_from([DType.F32, DType.I32])), draw(st.integers(0, 2**31)))
    shape = draw(
        st.sampled_from([(1, 3, 9, 8), (2, 2, 5, 7), (1, 1, 6, 6), (5, 7), (3, 4, 6), (12,), (2, 3, 1, 4)])
    )
    made = [b.input(shape)]
    for _ in range(draw(st.integers(1, most_steps))):
        source = made[-1] if draw(st.integers(0, 3)) else draw(st.sampled_from(made))
        result = draw(st.sampled_from(STEPS))(b, source, draw)
        if result is not None and 0 < np.prod(b.shape(result)) <= 3000:
            made.append(result)
    if all(op.kind in ("host", "loop") for op in b.ops):
        made.append(elementwise(b, made[-1], draw))
    unread = {op.result for op in b.ops} - {access.value for op in b.ops for access in op.operands}
    return b.graph(tuple(sorted(unread))), b.data
