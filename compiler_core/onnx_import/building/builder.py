"""The Graph under construction: tensors, and the few ways to make a structured op from them.

Shapes follow from construction: every method checks its operands and raises ModelError where extents cannot
agree. An op whose operands are all constants becomes a constant recipe instead of an op.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.dims import Dim, Shape, bind, product_of, symbols_in, symbols_of
from tilewright.compiler_core.ir.dtypes import DType, TensorType, dtype_of
from tilewright.compiler_core.ir.graph import Op
from tilewright.compiler_core.ir.index_map import Access, IndexExpr, axis_index, constant_index, reshape_exprs
from tilewright.compiler_core.ir.names import Origin
from tilewright.compiler_core.ir.ops import OPS, Array, AxisKind, Unit
from tilewright.compiler_core.meaning.constants import (
    UNKNOWN_WORK,
    Recipe,
    fits,
    recipe_of,
    recipe_of_op,
    run,
)

MAX_RANK = 32
MAX_CONTENT_ELEMENTS = 65_536
"""Largest constant that shape arithmetic may look into."""
MAX_CONTENT_WORK = 1 << 22
"""Most elements that may be computed at import to learn such a constant."""
MAX_CONTENT_STEPS = 25_000
"""Most folded nodes that may be run at import to learn such a constant."""
MAX_EXTENT = 1 << 48


@dataclass(slots=True, eq=False)
class Tensor:
    """A value of the Graph as the importer sees it.

    `recipe` is there for constants; `content` for small integer tensors some elements of which are symbolic
    extents; `quantized` for what a DequantizeLinear made; `scaled` rebuilds a convolution with its weights
    scaled and shifted per channel; `fill` for tensors that hold one number everywhere.
    """

    value: int
    type: TensorType
    recipe: Recipe | None = None
    content: Array | None = None
    quantized: "Quantized | None" = None
    scaled: "Callable[[Tensor, Tensor], Tensor] | None" = None
    fill: float | None = None

    @property
    def shape(self) -> Shape:
        """Extents, symbolic where not bound."""
        return self.type.shape

    @property
    def rank(self) -> int:
        """Number of dims."""
        return len(self.type.shape)

    @property
    def dtype(self) -> DType:
        """Element type."""
        return self.type.dtype


@dataclass(frozen=True)
class Quantized:
    """An integer tensor and what turns it into reals: (integers - zero_point) * scale along `axis`."""

    integers: Tensor
    scale: Tensor
    zero_point: Tensor
    axis: int


Operand = tuple[Tensor, Sequence[IndexExpr]] | tuple[Tensor, Sequence[IndexExpr], float]


@dataclass
class Builder:
    """Values, ops, constants and names gathered so far; `nodes` are those of the model at hand."""

    values: list[TensorType] = field(default_factory=list)
    ops: list[Op] = field(default_factory=list)
    recipes: dict[int, Recipe] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    origins: dict[int, tuple[Origin, ...]] = field(default_factory=dict)
    nodes: tuple[Origin, ...] = ()
    constraints: list[tuple[Dim, Dim]] = field(default_factory=list)
    scalars: dict[tuple[float, DType], Tensor] = field(default_factory=dict)

    def new_value(self, shape: Sequence[Dim], dtype: DType) -> Tensor:
        """A value without a producer yet."""
        if len(shape) > MAX_RANK:
            raise ModelError(f"rank {len(shape)} is above the limit of {MAX_RANK}")
        for extent in shape:
            if isinstance(extent, int) and not 0 <= extent <= MAX_EXTENT:
                raise ModelError(f"extent {extent} of a result lies outside 0..2**48")
        type_ = TensorType(tuple(shape), dtype)
        self.values.append(type_)
        return Tensor(len(self.values) - 1, type_)

    def lazy_constant(self, shape: Sequence[Dim], dtype: DType, recipe: Recipe) -> Tensor:
        """A constant by recipe."""
        tensor = self.new_value(shape, dtype)
        tensor.recipe = recipe
        self.recipes[tensor.value] = recipe
        return tensor

    def constant(self, array: Array) -> Tensor:
        """A constant that is already there."""
        return self.lazy_constant(array.shape, dtype_of(array.dtype), recipe_of(array))

    def scalar(self, number: float, dtype: DType) -> Tensor:
        """A rank-0 constant; equal ones are one value."""
        key = (number, dtype)
        if key not in self.scalars:
            self.scalars[key] = self.constant(np.asarray(number, dtype=dtype.numpy))
        return self.scalars[key]

    def extents(self, dims: Sequence[Dim], shape: Sequence[int], dtype: DType = DType.I64) -> Tensor:
        """A constant whose elements are extents, row-major; symbolic ones are kept as content."""
        if all(isinstance(dim, int) for dim in dims):
            return self.constant(np.array(dims, dtype=dtype.numpy).reshape(shape))
        content = np.empty(len(dims), dtype=object)
        content[:] = dims

        def compute(sources: Sequence[Array], symbols: Mapping[str, int]) -> Array:
            return np.array([bound_extent(dim, symbols) for dim in dims], dtype=dtype.numpy).reshape(shape)

        tensor = self.lazy_constant(shape, dtype, Recipe(compute, work=len(dims), symbols=symbols_in(dims)))
        tensor.content = content.reshape(shape)
        return tensor

    def content(self, tensor: Tensor | None) -> Array | None:
        """The elements of a small constant, symbolic or not; None where they cannot be known now."""
        if tensor is None:
            return None
        recipe = tensor.recipe
        if tensor.content is None and recipe is not None and not recipe.symbols:
            size = product_of(tensor.shape)
            small = isinstance(size, int) and size <= MAX_CONTENT_ELEMENTS
            if small and fits(recipe, MAX_CONTENT_STEPS, MAX_CONTENT_WORK):
                tensor.content = run(recipe, {})
                # Recipes built on it from here on start from the array.
                tensor.recipe = recipe_of(tensor.content)
                if tensor.value in self.recipes:
                    self.recipes[tensor.value] = tensor.recipe
        return tensor.content

    def equal(self, left: Dim, right: Dim, what: str) -> Dim:
        """The extent that both are, integers before symbols; ModelError naming `what` where they differ."""
        if left == right:
            return left
        if isinstance(left, int) and isinstance(right, int):
            raise ModelError(f"{what} differ: {left} and {right}")
        self.constraints.append((left, right))
        return right if isinstance(right, int) else left

    def broadcast(self, shapes: Sequence[Shape]) -> Shape:
        """The shape that `shapes` broadcast to, numpy's rule; symbolic extents are taken not to be 1."""
        if all(shape == shapes[0] for shape in shapes):
            return shapes[0]
        rank = max(len(shape) for shape in shapes)
        result: list[Dim] = [1] * rank
        for shape in shapes:
            for index, extent in enumerate(shape, rank - len(shape)):
                if extent != 1:
                    known = result[index]
                    result[index] = extent if known == 1 else self.equal(known, extent, "broadcast extents")
        return tuple(result)

    def op(
        self,
        kind: str,
        domain: Sequence[Dim],
        operands: Sequence[Operand],
        dtype: DType,
        *,
        reduced: int = 0,
        scan: Sequence[int] = (),
        **attributes: Any,
    ) -> Tensor:
        """One structured op; the last `reduced` axes of `domain` are folded away."""
        rank = len(domain) - reduced
        result = self.new_value(domain[:rank], dtype)
        kinds = [AxisKind.PARALLEL] * rank
        for axis in scan:
            kinds[axis] = AxisKind.SCAN
        op = Op(
            kind,
            tuple(domain),
            (*kinds, *[AxisKind.REDUCTION] * reduced),
            tuple(Access(o[0].value, tuple(o[1]), *o[2:]) for o in operands),
            result.value,
            tuple(sorted(attributes.items())),
        )
        sources = [operand[0].recipe for operand in operands]
        constants = [source for source in sources if source is not None]
        if operands and len(constants) == len(sources):
            result.recipe = recipe_of_op(op, result.type, constants)
            if OPS[kind].unit is not Unit.NONE:
                self.recipes[result.value] = result.recipe
                return result
        self.append(op)
        return result

    def append(self, op: Op) -> None:
        """Add an op that the nodes at hand make."""
        self.ops.append(op)
        self.origins[op.result] = self.nodes

    def elementwise(
        self, kind: str, *tensors: Tensor, dtype: DType | None = None, **attributes: Any
    ) -> Tensor:
        """`kind` at every point of the broadcast of `tensors`; their dtype unless another is given."""
        shape = self.broadcast([tensor.shape for tensor in tensors])
        operands = [(tensor, aligned(tensor.shape, shape)) for tensor in tensors]
        return self.op(kind, shape, operands, dtype or tensors[-1].dtype, **attributes)

    def with_number(self, kind: str, tensor: Tensor, number: float) -> Tensor:
        """`kind` of a tensor and a number of its own dtype."""
        return self.elementwise(kind, tensor, self.scalar(number, tensor.dtype), dtype=tensor.dtype)

    def cast(self, tensor: Tensor, dtype: DType, **attributes: Any) -> Tensor:
        """The same numbers in another dtype; `attributes` decide about numbers that do not fit it."""
        if tensor.dtype is dtype:
            return tensor
        return self.elementwise("cast", tensor, dtype=dtype, to=str(dtype.numpy), **attributes)

    def view(self, tensor: Tensor, shape: Sequence[Dim], exprs: Sequence[IndexExpr]) -> Tensor:
        """The elements of `tensor` under other indices, inside its extents."""
        if tuple(shape) == tensor.shape and all(e.projected_axis == index for index, e in enumerate(exprs)):
            return tensor
        return self.op("view", shape, [(tensor, exprs)], tensor.dtype)

    def reshape(self, tensor: Tensor, shape: Sequence[Dim]) -> Tensor:
        """Row-major reshape; ModelError where the element counts differ."""
        if tuple(shape) == tensor.shape:
            return tensor
        self.equal(product_of(tensor.shape), product_of(tuple(shape)), "element counts of a reshape")
        return self.view(tensor, shape, reshape_exprs(tensor.shape, tuple(shape)))

    def transpose(self, tensor: Tensor, order: Sequence[int]) -> Tensor:
        """Dim i of the result is dim order[i] of `tensor`."""
        if sorted(order) != list(range(tensor.rank)):
            raise ModelError(f"{list(order)} is not a permutation of {tensor.rank} dims")
        place = {dim: index for index, dim in enumerate(order)}
        exprs = [axis_index(place[dim]) for dim in range(tensor.rank)]
        return self.view(tensor, [tensor.shape[dim] for dim in order], exprs)

    def expand(self, tensor: Tensor, shape: Sequence[Dim]) -> Tensor:
        """`tensor` broadcast to `shape`, which it must fit."""
        return self.view(tensor, shape, aligned(tensor.shape, tuple(shape)))

    def reduce(self, kind: str, tensor: Tensor, dims: Sequence[int], *, keep: bool) -> Tensor:
        """Fold `dims` of `tensor`; they stay as extent 1 with `keep`."""
        folded = sorted(set(dims))
        kept = [dim for dim in range(tensor.rank) if keep or dim not in folded]
        domain = [1 if dim in folded else tensor.shape[dim] for dim in kept]
        rank = len(domain)
        place = {dim: index for index, dim in enumerate(kept)} | {
            dim: rank + index for index, dim in enumerate(folded)
        }
        exprs = [axis_index(place[dim]) for dim in range(tensor.rank)]
        domain += [tensor.shape[dim] for dim in folded]
        return self.op(kind, domain, [(tensor, exprs)], tensor.dtype, reduced=len(folded))

    def count(self, dims: Sequence[Dim], dtype: DType) -> Tensor:
        """The rank-0 constant that is the product of `dims`."""
        total = product_of(tuple(dims))
        if isinstance(total, int):
            return self.scalar(total, dtype)
        return self.extents([total], (), dtype)

    def table(
        self, shape: Sequence[Dim], dtype: DType, compute: Callable[[tuple[int, ...]], Array]
    ) -> Tensor:
        """A constant computed from its own shape once that is known (positions, masks)."""
        return self.derived_table(shape, dtype, [], lambda extents, sources: compute(extents))

    def derived_table(
        self,
        shape: Sequence[Dim],
        dtype: DType,
        sources: Sequence[Tensor],
        compute: Callable[[tuple[int, ...], Sequence[Array]], Array],
    ) -> Tensor:
        """A constant computed from its own shape and other constants."""
        fixed = tuple(shape)

        def made(arrays: Sequence[Array], symbols: Mapping[str, int]) -> Array:
            extents = tuple(bound_extent(dim, symbols) for dim in fixed)
            return np.asarray(compute(extents, arrays)).astype(dtype.numpy).reshape(extents)

        size = product_of(fixed)
        work = size if isinstance(size, int) else UNKNOWN_WORK
        recipes = tuple(source.recipe for source in sources if source.recipe is not None)
        if len(recipes) < len(sources):
            raise ModelError("a table is made of values that are not constants")
        return self.lazy_constant(fixed, dtype, Recipe(made, recipes, work=work, symbols=symbols_in(fixed)))


def bound_extent(dim: Dim, symbols: Mapping[str, int]) -> int:
    """`dim` once symbols are bound; ModelError naming those that are not."""
    bound = bind(dim, symbols)
    if isinstance(bound, int):
        return bound
    missing = ", ".join(sorted(symbols_of(bound)))
    raise ModelError(f"a constant needs a value for {missing}; bind it with --dim NAME=VALUE")


def aligned(shape: Shape, result: Shape) -> list[IndexExpr]:
    """Index of each dim of `shape` broadcast to `result`: trailing dims meet, an extent of 1 is read at 0."""
    if shape == result:
        return [axis_index(index) for index in range(len(shape))]
    first = len(result) - len(shape)
    if first < 0:
        raise ModelError(f"shape {list(shape)} does not broadcast to {list(result)}")
    return [
        constant_index(0) if extent == 1 and result[first + index] != 1 else axis_index(first + index)
        for index, extent in enumerate(shape)
    ]


def integers(content: Array, what: str) -> list[int]:
    """The elements as plain integers; ModelError where one is symbolic."""
    numbers: list[Any] = content.ravel().tolist()
    for number in numbers:
        if not isinstance(number, (int, float)):
            raise ModelError(f"{what} depends on {number}; bind it with --dim NAME=VALUE")
    return [int(number) for number in numbers]
