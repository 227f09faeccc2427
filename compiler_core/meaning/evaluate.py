"""The numpy meaning of one structured op over a box of its domain.

The interpreter asks for the whole domain, the emulator for the box of one tile; both read operands through
the op's index maps and nothing else.
"""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.dims import bind, known, sizes_in
from tilewright.compiler_core.ir.dtypes import TensorType, dtype_of
from tilewright.compiler_core.ir.graph import Graph, Op, SymbolicConstants
from tilewright.compiler_core.ir.index_map import Access, Interval, unclamped_interval
from tilewright.compiler_core.ir.ops import Array, AxisKind, Unit
from tilewright.compiler_core.meaning.loops import told_sizes
from tilewright.runtime.host.meanings import fitted

Box = Sequence[Interval]


@dataclass(frozen=True)
class Held:
    """The part of an operand at hand: its elements, the index of the first one, the operand's full shape."""

    elements: Array
    start: tuple[int, ...]
    shape: tuple[int, ...]


def read_over(access: Access, held: Held, box: Box, others: Sequence[Array]) -> Array:
    """The operand's element at every point of `box`, as an array that broadcasts over the box.

    Shape: one dim a domain axis, of the box's extent where the access moves with that axis, else 1.
    Points outside the operand read `access.pad`.
    """
    if all(expr.is_affine for expr in access.exprs):
        return _read_strided(access, held, box)
    return _read_indexed(access, held, box, others)


def _read_strided(access: Access, held: Held, box: Box) -> Array:
    """Affine accesses are a strided view of the held elements, padded where the box reaches outside."""
    wanted = [unclamped_interval(e, list(box), n) for e, n in zip(access.exprs, held.shape, strict=True)]
    below = [max(0, start - low) for (low, _), start in zip(wanted, held.start, strict=True)]
    ends = [start + n for start, n in zip(held.start, held.elements.shape, strict=True)]
    above = [max(0, high - end) for (_, high), end in zip(wanted, ends, strict=True)]
    elements = held.elements
    if any(below) or any(above):
        fill = 0 if access.pad is None else access.pad
        elements = _padded(elements, below, above, fill)
    used = access.axes
    shape = [box[axis][1] - box[axis][0] if axis in used else 1 for axis in range(len(box))]
    if not elements.size or 0 in shape:
        return np.zeros(shape, dtype=elements.dtype)
    strides = [0] * len(box)
    corner: list[slice] = []
    for expr, start, extra, stride in zip(access.exprs, held.start, below, elements.strides, strict=True):
        at = known(expr.offset, "an index offset") - (start - extra)
        for axis, coefficient in expr.terms:
            step = known(coefficient, "an index coefficient")
            at += step * box[axis][0]
            strides[axis] += step * stride
        corner.append(slice(at, None))
    from_corner = elements[tuple(corner)]
    if from_corner.dtype.isbuiltin == 1:
        return as_strided(from_corner, shape=shape, strides=strides, writeable=False)
    # numpy cannot name floats of 8 bits in the interface that as_strided goes through.
    bits = from_corner.view(f"u{from_corner.itemsize}")
    return as_strided(bits, shape=shape, strides=strides, writeable=False).view(from_corner.dtype)


def _padded(elements: Array, below: list[int], above: list[int], fill: float) -> Array:
    shape = [b + n + a for b, n, a in zip(below, elements.shape, above, strict=True)]
    padded = np.full(shape, _in_dtype(fill, elements.dtype), dtype=elements.dtype)
    padded[tuple(slice(b, b + n) for b, n in zip(below, elements.shape, strict=True))] = elements
    return padded


def _in_dtype(fill: float, dtype: np.dtype[Any]) -> Any:
    """`fill` as an element: zero is zero bits also where a type has no zero, infinity the most there is."""
    if not fill:
        return np.zeros((), dtype)[()]
    if np.isinf(fill) and dtype != np.bool_ and not dtype_of(dtype).is_float:
        return dtype_of(dtype).limits[fill > 0]
    return dtype.type(fill)


def _read_indexed(access: Access, held: Held, box: Box, others: Sequence[Array]) -> Array:
    """Divisions, moduli and data-dependent indices: index arrays, masked where they fall outside."""
    rank = len(box)
    inside: Array = np.ones((1,) * rank, dtype=np.bool_)
    indices: list[Array] = []
    for expr, start, extent, size in zip(
        access.exprs, held.start, held.shape, held.elements.shape, strict=True
    ):
        if expr.source >= 0:
            index = others[expr.source].astype(np.int64)
            index = np.where(index < 0, index + extent, index)
        else:
            index = np.full((1,) * rank, known(expr.offset, "offset"), dtype=np.int64)
            for axis, coefficient in expr.terms:
                along = np.arange(box[axis][0], box[axis][1], dtype=np.int64)
                shape = [1] * rank
                shape[axis] = -1
                index = index + known(coefficient, "coefficient") * along.reshape(shape)
            index = index // known(expr.divisor, "divisor")
            modulus = known(expr.modulus, "modulus")
            if modulus:
                index = index % modulus
        inside = inside & (index >= max(0, start)) & (index < min(extent, start + size))
        indices.append(np.clip(index - start, 0, max(size - 1, 0)))
    if not held.elements.size:
        shape_out = np.broadcast_shapes(*(i.shape for i in indices))
        return np.full(shape_out, _in_dtype(access.pad or 0, held.elements.dtype), dtype=held.elements.dtype)
    got = held.elements[tuple(indices)] if indices else held.elements.reshape((1,) * rank)
    if access.pad is None or bool(inside.all()):
        return got
    return np.where(inside, got, _in_dtype(access.pad, held.elements.dtype))


def evaluate(
    op: Op, box: Box, operands: Sequence[Held], result: TensorType, *, partial: bool = False
) -> Array:
    """The op's result over `box`, shaped like the box's result axes.

    Sums are kept in the accumulator type. With `partial` they are returned in it, as one addend of a
    reduction that is split; otherwise they are rounded to the result's dtype, once, here.
    """
    rank = op.rank
    shape = tuple(high - low for low, high in box[:rank])
    row = op.row
    attributes = dict(op.attributes)
    accumulator = result.dtype.accumulator.numpy
    args: list[Array] = []
    if row.unit is Unit.HOST:
        whole = on_host(op, [held.elements for held in operands], result)
        try:
            made = fitted(whole, op.extents[:rank])
        except ValueError as error:
            raise ModelError(str(error)) from None
        return made[tuple(slice(low, high) for low, high in box[:rank])]
    if row.contraction:
        total = _contract_by_blocks(op, box, operands, accumulator)
        return total if partial else total.astype(result.dtype.numpy)
    for access, held in reversed(list(zip(op.operands, operands, strict=True))):
        # Later operands first: a data-dependent index is an operand behind the one it indexes.
        args.insert(0, read_over(access, held, box, [*[_NOTHING] * (len(operands) - len(args)), *args]))
    with np.errstate(all="ignore"):
        # Infinities and NaNs are values like others; a network may compute with them.
        point = row.body(args, attributes)
    point = np.broadcast_to(point, tuple(high - low for low, high in box))
    if row.reducer is None:
        return np.ascontiguousarray(point).reshape(shape).astype(result.dtype.numpy, copy=False)
    folded = point.astype(accumulator)
    if op.reduction_axes:
        folded = row.reducer.ufunc.reduce(
            folded,
            axis=tuple(op.reduction_axes),
            initial=row.reducer.start_for(accumulator),
        )
    for axis in range(rank):
        if op.axis_kinds[axis] is AxisKind.SCAN:
            folded = row.reducer.ufunc.accumulate(folded, axis=axis)
    folded = np.asarray(folded).reshape(shape)
    return folded if partial else folded.astype(result.dtype.numpy)


_NOTHING = np.zeros(())


def on_host(op: Op, operands: Sequence[Array], result: TensorType) -> Array:
    """The whole result of a host op, of any shape."""
    if op.body is None:
        return np.asarray(op.row.body(operands, dict(op.attributes)), dtype=result.dtype.numpy)
    return np.asarray(_looped(op, op.body, operands)[0], dtype=result.dtype.numpy)


def _looped(op: Op, body: Graph, operands: Sequence[Array]) -> tuple[Array, int]:
    """The output of a loop: its body step by step, until its steps or its condition end (loops.py); how many
    steps that took.
    """
    attributes = dict(op.attributes)
    carried, scanned, output = (int(attributes[name]) for name in ("carried", "scanned", "output"))
    conditional = int(attributes["conditional"])
    state = list(operands[:carried])
    sequences, invariant = operands[carried : carried + scanned], operands[carried + scanned :]
    without_end = int(attributes["most_steps"])
    most = op.turns if isinstance(op.turns, int) else without_end
    collected: list[Array] = []
    done = 0
    for step in range(most):
        if conditional and not state[0].item():
            break
        done += 1
        results = _step(body, [*state, *(s[step] for s in sequences), *invariant])
        state = results[:carried]
        if output >= carried:
            collected.append(results[output])
    if conditional and most == without_end and state[0].item():
        raise ModelError(f"on these inputs a loop does not end within {most} turns; bind how many it takes")
    if output < carried:
        return state[output], done
    if len({element.shape for element in collected}) > 1:
        raise ModelError("the loop collects values whose shape changes from step to step")
    if not collected:
        inner = [extent if isinstance(extent, int) else 0 for extent in op.domain[1:]]
        return np.zeros((0, *inner), body.values[body.outputs[output]].dtype.numpy), done
    return np.stack(collected), done


def _step(body: Graph, inputs: Sequence[Array]) -> list[Array]:
    """The outputs of one step. Extents that only the step can tell are those of the arrays that are there."""
    sizes = told_sizes(body, [array.shape for array in inputs])
    made = run_open(body, dict(zip(body.inputs, inputs, strict=True)), sizes)
    for left, right in body.constraints:
        if bind(left, sizes) != bind(right, sizes):
            raise ModelError(f"a step of a loop needs {left} to equal {right}, and has {sizes}")
    return [made(value) for value in body.outputs]


def run_open(
    graph: Graph, made: dict[int, Array], sizes: dict[str, int], needed: Collection[int] | None = None
) -> Callable[[int], Array]:
    """Run a graph of which data decide some extents on the host ops that they come from.

    `made` has the inputs, and fills with what ops make; `sizes` fills with the extents that turn up. Without
    `needed` (results) every op is run. The result gives any value, constants too.
    """

    def known(value: int) -> Array:
        if value not in made:  # a constant, which may depend on extents
            constants = graph.constants
            made[value] = (
                constants.bound_to(sizes) if isinstance(constants, SymbolicConstants) else constants
            )[value]
        return made[value]

    for op in graph.ops:
        if needed is not None and op.result not in needed:
            continue
        operands = [known(access.value) for access in op.operands]
        result = graph.values[op.result]
        bound = op.bound_to(sizes) if op.symbols or op.body is not None else op
        if bound.body is not None:
            array, turns = _looped(bound, bound.body, operands)
            sizes |= sizes_in((*result.shape, op.turns), (*array.shape, turns))
        elif op.row.unit is Unit.HOST:
            array = on_host(bound, operands, result)
            sizes |= sizes_in(result.shape, array.shape)
        else:
            held = [Held(array, (0,) * array.ndim, array.shape) for array in operands]
            array = evaluate(bound, [(0, extent) for extent in bound.extents], held, result)
        made[op.result] = array
    return known


MOST_UNFOLDED = 1 << 26
"""Most elements that an operand of a product may unfold to at once (windows repeat their elements)."""


def _contract_by_blocks(op: Op, box: Box, operands: Sequence[Held], accumulator: np.dtype[Any]) -> Array:
    """The product over `box`, halved along its longest result axis until operands unfold to few elements."""
    size = [high - low for low, high in box]
    unfolded = max(math.prod(size[axis] for axis in access.axes) for access in op.operands)
    longest = max(op.result_axes, key=lambda axis: size[axis], default=0)
    if unfolded <= MOST_UNFOLDED or not op.rank or size[longest] < 2:
        left, right = (read_over(a, h, box, ()) for a, h in zip(op.operands, operands, strict=True))
        return _contract(op, box, left, right, accumulator)
    low, high = box[longest]
    halves = [
        [(start, end) if axis == longest else span for axis, span in enumerate(box)]
        for start, end in ((low, (low + high) // 2), ((low + high) // 2, high))
    ]
    return np.concatenate(
        [_contract_by_blocks(op, half, operands, accumulator) for half in halves], axis=longest
    )


def _contract(op: Op, box: Box, left: Array, right: Array, accumulator: np.dtype[Any]) -> Array:
    """Sum of products as one batched matrix product; axes are sorted by the operands that move with them."""
    left_axes, right_axes = op.operands[0].axes, op.operands[1].axes
    both = left_axes & right_axes
    batch = [a for a in op.result_axes if a in both or (a not in left_axes and a not in right_axes)]
    rows = [a for a in op.result_axes if a in left_axes and a not in both]
    columns = [a for a in op.result_axes if a in right_axes and a not in both]
    inner = list(op.reduction_axes)
    size = [high - low for low, high in box]
    work = _work_dtype(accumulator, left, right, math.prod(size[axis] for axis in inner))

    def count(axes: list[int]) -> int:
        return int(np.prod([size[a] for a in axes], dtype=np.int64))

    def matrix(operand: Array, first: list[int], second: list[int]) -> Array:
        axes = batch + first + second
        full = np.broadcast_to(operand, [size[a] if a in axes else 1 for a in range(len(size))]).transpose(
            [*axes, *[a for a in range(len(size)) if a not in axes]]
        )
        return full.reshape(count(batch), count(first), count(second)).astype(work, copy=False)

    product = np.matmul(matrix(left, rows, inner), matrix(right, inner, columns))
    order = batch + rows + columns
    if work != accumulator and accumulator.kind in "iu":
        product = product.astype(np.int64)  # a shorter integer wraps around from there
    unflattened: Array = product.reshape([size[a] for a in order])
    return unflattened.transpose(np.argsort(order)).astype(accumulator)


def _work_dtype(accumulator: np.dtype[Any], left: Array, right: Array, terms: int) -> np.dtype[Any]:
    """Integers multiply in f64 where the sums stay exact, below 2**53: BLAS takes it."""
    if accumulator.kind not in "iu":
        return accumulator
    most = math.prod(_magnitude(array) for array in (left, right))
    return np.dtype(np.float64) if terms * most < 1 << 53 else accumulator


def _magnitude(array: Array) -> int:
    return max(-int(np.min(array, initial=0)), int(np.max(array, initial=0)))
