"""Hand-made networks with a Schedule each: one for every way in which tiles depend on one another."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tests.property.random_graphs import Builder, P, S, same
from tests.targets import small_target
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.ir.index_map import Access, affine, axis_index
from tilewright.compiler_core.ir.ops import AxisKind
from tilewright.compiler_core.lowering.pipeline import compile_graph, plan_groups
from tilewright.compiler_core.lowering.program import KernelCall, KernelProgram, Program
from tilewright.compiler_core.lowering.schedule import CoreRange, Placed, Schedule, Tiling
from tilewright.compiler_core.target_model.target import Target
from tilewright.compiler_core.transforms.fuse import Group

Inputs = dict[int, np.ndarray[Any, Any]]


@dataclass(frozen=True, eq=False)
class Case:
    """A Graph with data, how it is grouped and tiled, and the chip it is compiled for."""

    graph: Graph
    inputs: Inputs
    groups: tuple[Group, ...]
    tilings: tuple[Tiling, ...]
    target: Target
    cores: tuple[int, ...] = ()

    def compile(self) -> Program:
        """The Program: groups one after the other."""
        plan = plan_groups(self.graph, self.groups, self.target)
        counts = self.cores or (1,) * len(self.groups)
        stages = tuple((Placed(index, CoreRange(0, count)),) for index, count in enumerate(counts))
        return compile_graph(
            self.graph, Schedule(self.groups, stages, self.tilings, plan.levels), self.target
        )

    def kernel(self, stage: int = 0) -> KernelProgram:
        """The lowered kernel of one stage."""
        call = self.compile().stages[stage][0]
        assert isinstance(call, KernelCall)
        return call.program


def _window(b: Builder, x: int, kind: str = "max", size: int = 3) -> int:
    """A padded window of `size` over the last two of four dims, stride one."""
    n, c, h, w = b.shape(x)
    rows = affine((2, 1), (4, 1), offset=-(size // 2))
    columns = affine((3, 1), (5, 1), offset=-(size // 2))
    pad = float("-inf") if kind == "max" else 0.0
    access = Access(x, (axis_index(0), axis_index(1), rows, columns), pad)
    return b.op(kind, (n, c, h, w), (size, size), (access,))


def _matmul(b: Builder, x: int, columns: int) -> int:
    rows, depth = b.shape(x)
    weight = b.input((depth, columns))
    left = Access(x, (axis_index(0), axis_index(2)))
    right = Access(weight, (axis_index(2), axis_index(1)))
    return b.op("contract", (rows, columns), (depth,), (left, right))


def _unary(b: Builder, x: int, kind: str = "relu") -> int:
    return b.op(kind, b.shape(x), (), (same(x, len(b.shape(x))),))


def _scan(b: Builder, x: int) -> int:
    shape = b.shape(x)
    kinds: tuple[AxisKind, ...] = (*(P for _ in shape[:-1]), S)
    return b.op("sum", shape, (), (same(x, len(shape)),), (), kinds)


def split_matmul() -> Case:
    """x @ w + bias, relu: a reduction of 40 in tiles of 16, on two cores."""
    b = Builder(DType.F32, 1)
    product = _matmul(b, b.input((12, 40)), 10)
    bias = b.input((10,))
    total = b.op("add", (12, 10), (), (same(product, 2), Access(bias, (axis_index(1),))))
    _unary(b, total)
    graph = b.graph((b.ops[-1].result,))
    return Case(graph, b.data, ((0, 1, 2),), (Tiling((5, 10), (16,), (0, 1)),), small_target(), (2,))


def product_chain() -> Case:
    """relu(x @ w) @ v + x as one kernel, two row tiles in flight: the second product is a tile behind."""
    b = Builder(DType.F32, 12)
    x = b.input((12, 10))
    product = _matmul(b, _unary(b, _matmul(b, x, 8)), 10)
    total = b.op("add", (12, 10), (), (same(product, 2), same(x, 2)))
    tiling = Tiling((2, 10), (8,), (0, 1), tiles_in_flight=2)
    return Case(b.graph((total,)), b.data, ((0, 1, 2, 3),), (tiling,), small_target(), (2,))


def window_chain() -> Case:
    """Four padded windows as one kernel, tiled across every border: halos of halos."""
    b = Builder(DType.F32, 2)
    x = b.input((1, 2, 9, 8))
    for kind in ("max", "sum", "max", "max"):
        x = _window(b, x, kind)
    tiling = Tiling((1, 2, 4, 3), (3, 3), (0, 1, 3, 2))
    return Case(b.graph((x,)), b.data, ((0, 1, 2, 3),), (tiling,), small_target(), (3,))


def residual() -> Case:
    """relu(x) plus two windows over it: one value stays while others come and go."""
    b = Builder(DType.F32, 8)
    kept = _unary(b, b.input((1, 1, 8, 6)))
    result = _window(b, _window(b, kept), "max")
    total = b.op("add", (1, 1, 8, 6), (), (same(result, 4), same(kept, 4)))
    tiling = Tiling((1, 1, 3, 6), (), (0, 1, 2, 3))
    return Case(b.graph((total,)), b.data, ((0, 1, 2, 3),), (tiling,), small_target(), (2,))


def turned() -> Case:
    """relu of x, then relu of its transpose: an elementwise op that may not overwrite what it reads."""
    b = Builder(DType.F32, 21)
    first = _unary(b, b.input((8, 8)))
    b.op("relu", (8, 8), (), (Access(first, (axis_index(1), axis_index(0))),))
    graph = b.graph((b.ops[-1].result,))
    return Case(graph, b.data, ((0, 1),), (Tiling((8, 8), (), (0, 1)),), small_target())


def two_maps() -> Case:
    """relu of relu of x: the second op may overwrite what it reads."""
    b = Builder(DType.F32, 22)
    y = _unary(b, _unary(b, b.input((8, 8))))
    return Case(b.graph((y,)), b.data, ((0, 1),), (Tiling((8, 8), (), (0, 1)),), small_target())


def four_maps(first_is_an_output: bool = False) -> Case:
    """relu four times, a kernel each, on cores 0 and 1."""
    b = Builder(DType.F32, 23)
    values = [b.input((8, 8))]
    for _ in range(4):
        values.append(_unary(b, values[-1]))
    graph = b.graph((values[1], values[4]) if first_is_an_output else (values[4],))
    tiling = Tiling((4, 8), (), (0, 1))
    groups = ((0,), (1,), (2,), (3,))
    return Case(graph, b.data, groups, (tiling,) * 4, small_target(), (2,) * 4)


def sums_in_accumulators() -> Case:
    """The split product on a target that keeps sums in a memory of their own."""
    case = split_matmul()
    return replace(case, target=small_target(accumulator_kib=16))


def scanned_rows() -> Case:
    """A prefix sum cut along its scan axis."""
    b = Builder(DType.F32, 3)
    result = _scan(b, b.input((6, 11)))
    return Case(b.graph((result,)), b.data, ((0,),), (Tiling((2, 4), (), (0, 1)),), small_target(), (2,))


def scan_inside() -> Case:
    """A prefix sum whose result a tiled window reads: no carry crosses the tiles, so each starts anew."""
    b = Builder(DType.F32, 4)
    scanned = _scan(b, b.input((1, 1, 4, 12)))
    result = _window(b, scanned)
    tiling = Tiling((1, 1, 4, 5), (3, 3), (0, 1, 2, 3))
    return Case(b.graph((result,)), b.data, ((0, 1),), (tiling,), small_target(), (2,))


def scan_in_padding() -> Case:
    """A prefix sum of which some tiles read nothing but the padding around it."""
    b = Builder(DType.F32, 9)
    scanned = _scan(b, b.input((2, 5)))
    exprs = (axis_index(0), affine((1, 1), offset=-4))
    result = b.op("move", (2, 12), (), (Access(scanned, exprs, 0.0),))
    tiling = Tiling((2, 3), (), (0, 1))
    return Case(b.graph((result,)), b.data, ((0, 1),), (tiling,), small_target(), (2,))


def stored_inside() -> Case:
    """relu(x) is an output and is read by the next op of the same kernel."""
    b = Builder(DType.F32, 5)
    positive = _unary(b, b.input((7, 9)))
    result = _unary(b, positive, "neg")
    tilings = (Tiling((3, 4), (), (1, 0)),)
    return Case(b.graph((positive, result)), b.data, ((0, 1),), tilings, small_target())


def inner_reduction() -> Case:
    """x minus its row's maximum, times w: a reduction whole in every tile beside a split one."""
    b = Builder(DType.F32, 6)
    x = b.input((6, 8))
    largest = b.op("max", (6, 1), (8,), (Access(x, (axis_index(0), axis_index(2))),))
    row = Access(largest, (axis_index(0), affine()))
    shifted = b.op("sub", (6, 8), (), (same(x, 2), row))
    _matmul(b, shifted, 5)
    tiling = Tiling((2, 5), (3,), (0, 1))
    return Case(b.graph((b.ops[-1].result,)), b.data, ((0, 1, 2),), (tiling,), small_target())


def three_kernels() -> Case:
    """relu, then two windows, a kernel each; the values between them live in the LLB."""
    b = Builder(DType.F32, 7)
    x = _unary(b, b.input((1, 2, 6, 6)))
    y = _window(b, _window(b, x), "sum")
    tiling = Tiling((1, 2, 3, 6), (), (0, 1, 2, 3))
    windows = Tiling((1, 2, 3, 6), (3, 3), (0, 1, 2, 3))
    return Case(
        b.graph((y,)), b.data, ((0,), (1,), (2,)), (tiling, windows, windows), small_target(), (2, 2, 2)
    )


def one_row() -> Case:
    """relu of [1, 1, 4]."""
    b = Builder(DType.F32, 7)
    y = _unary(b, b.input((1, 1, 4)))
    return Case(b.graph((y,)), b.data, ((0,),), (Tiling((1, 1, 4), (), (0, 1, 2)),), small_target())


CASES: Mapping[str, Callable[[], Case]] = {
    case.__name__: case
    for case in (
        split_matmul,
        product_chain,
        window_chain,
        residual,
        scanned_rows,
        scan_inside,
        scan_in_padding,
        stored_inside,
        inner_reduction,
        three_kernels,
        turned,
        two_maps,
        sums_in_accumulators,
    )
}
