"""Folds across lanes, work done inside the fold that reads it first, constants in the order of their use."""

from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from benchmarks.host.kernels import convolution, product, softmax
from tests.targets import simd_target
from tilewright.compiler_core.codegen import nest as module
from tilewright.compiler_core.codegen.blocking import nest_of
from tilewright.compiler_core.codegen.emit import emit
from tilewright.compiler_core.codegen.machine.native import host_machine
from tilewright.compiler_core.codegen.nest import Blocking, KernelNest
from tilewright.compiler_core.codegen.run import compile_kernel, run_kernel
from tilewright.compiler_core.ir.dtypes import DType, TensorType
from tilewright.compiler_core.ir.graph import Graph, Op
from tilewright.compiler_core.ir.index_map import Access, axis_index
from tilewright.compiler_core.ir.layouts import Layout
from tilewright.compiler_core.ir.ops import AxisKind
from tilewright.compiler_core.ir.workload import Level, Workload, kernel_of
from tilewright.compiler_core.lowering.lower import lower_kernel
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.lowering.schedule import Tiling
from tilewright.compiler_core.onnx_import.importer import import_model

Array = np.ndarray[Any, Any]


def imported(model: onnx.ModelProto, folder: Path) -> Workload:
    onnx.save(model, folder / "kernel.onnx")
    graph = import_model(folder / "kernel.onnx").graph
    return kernel_of(graph, range(len(graph.ops)), {}).workload


def nest(workload: Workload, blocking: Blocking | None = None) -> KernelNest:
    """In one tile."""
    regions, machine = Regions(workload), host_machine()
    target = simd_target(bits=machine.vector_bits, registers=machine.registers)
    rank = workload.graph.ops[regions.root].rank
    sizes = [loop.extent for loop in regions.loops]
    tiling = Tiling(tuple(sizes[:rank]), tuple(sizes[rank:]), tuple(range(rank)))
    return nest_of(regions, lower_kernel(regions, tiling, 1, target), machine, blocking)


@pytest.mark.parametrize("width", [5, 16, 100, 259])
def test_softmax_works_out_exponentials_where_they_are_summed(width: int, tmp_path: Path) -> None:
    made = nest(imported(softmax(6, width), tmp_path))
    assert [len(stage.passing) for stage in made.stages] == [0, 1, 0]
    x = np.random.default_rng(width).normal(0.0, 20.0, (6, width)).astype(np.float32)
    x[1, width - 1] = np.nan
    x[2, :2] = -np.inf
    x[3] = -np.inf
    x[4, 0] = np.inf
    with np.errstate(invalid="ignore"):
        e = np.exp((x - x.max(1, keepdims=True)).astype(np.float64))
        wanted = e / e.sum(1, keepdims=True)
    (got,) = run_kernel(compile_kernel(made), {made.graph.inputs[0]: x}).values()
    np.testing.assert_allclose(got, wanted, rtol=2e-6, atol=1e-37)


@pytest.mark.parametrize("kind", ["max", "min"])
@pytest.mark.parametrize(("rows", "vectors", "width"), [(1, 1, 3), (3, 2, 50), (4, 4, 130), (7, 3, 16)])
def test_extremes_across_lanes_keep_every_nan(kind: str, rows: int, vectors: int, width: int) -> None:
    count = 2 * rows + 1
    types = (TensorType((count, width), DType.F32), TensorType((count,), DType.F32))
    kinds = (AxisKind.PARALLEL, AxisKind.REDUCTION)
    op = Op(kind, (count, width), kinds, (Access(0, (axis_index(0), axis_index(1))),), 1)
    workload = kernel_of(Graph(types, (op,), (0,), (1,)), [0], {}).workload
    kernel = compile_kernel(nest(workload, Blocking(1, vectors, ((0, rows),), (0,), (1,))))
    rng = np.random.default_rng(width)
    for _ in range(6):
        x = rng.normal(size=(count, width)).astype(np.float32)
        x[rng.random(x.shape) < 0.3 / width] = np.nan
        (got,) = run_kernel(kernel, {workload.graph.inputs[0]: x}).values()
        np.testing.assert_array_equal(got, getattr(np, kind)(x, axis=1))


def test_weights_of_depthwise_products_lie_as_they_are_read(tmp_path: Path) -> None:
    workload = imported(convolution(32, 9, 9, 32, 3, groups=32), tmp_path)
    laid = [value for value in workload.outer if workload.level_of(value) is not Level.CONSTANT]
    made = nest(workload.laid(dict.fromkeys(laid, Layout((0, 2, 3, 1)))))
    assert made.arranged
    assert "gather" not in emit(made)


def test_a_fold_of_folds_stays_two_stages() -> None:
    p, r = AxisKind.PARALLEL, AxisKind.REDUCTION
    shapes = ((5, 9, 8), (9, 8), (9, 8), (8,))
    first = Access(0, (axis_index(2), axis_index(0), axis_index(1)))
    ops = (
        Op("sum", (9, 8, 5), (p, p, r), (first,), 1),
        Op("relu", (9, 8), (p, p), (Access(1, (axis_index(0), axis_index(1))),), 2),
        Op("sum", (8, 9), (p, r), (Access(2, (axis_index(1), axis_index(0))),), 3),
    )
    graph = Graph(tuple(TensorType(shape, DType.F32) for shape in shapes), ops, (0,), (3,))
    made = nest(kernel_of(graph, [0, 1, 2], {}).workload)
    x = np.random.default_rng(0).integers(-4, 5, shapes[0]).astype(np.float32)
    (got,) = run_kernel(compile_kernel(made), {made.graph.inputs[0]: x}).values()
    np.testing.assert_array_equal(got, np.maximum(x.sum(0), 0).sum(0))


@pytest.mark.parametrize("rows", [5, 8])
def test_constants_too_large_for_a_near_cache_are_fetched_ahead(
    rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the step, not between its loads; what is fetched behind the end of memory does no harm."""
    workload = imported(product(rows, 70, 9), tmp_path)
    assert "llvm.prefetch" not in emit(nest(workload))
    monkeypatch.setattr(module, "STREAMED_BYTES", 0)
    made = nest(workload)
    calls = [line for line in emit(made).splitlines() if " call " in line and "llvm." in line]
    first = next(index for index, line in enumerate(calls) if "llvm.prefetch" in line)
    assert first == prod(count for _, count in made.blockings[0].rows) * made.blockings[0].vectors
    rng = np.random.default_rng(rows)
    left, right = rng.integers(-9, 9, (rows, 9)), rng.integers(-9, 9, (9, 70))
    given = {
        value: array.astype(np.float32) for value, array in zip(made.graph.inputs, (left, right), strict=True)
    }
    (got,) = run_kernel(compile_kernel(made), given).values()
    np.testing.assert_array_equal(got, (left @ right).astype(np.float32))
