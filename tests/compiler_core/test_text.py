"""The printer, on the two operators that the docs add as examples, and on every kind of index."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.compiler_core.onnx_import.against_onnxruntime import differences
from tests.onnx_models import model, node, reals, saved, value
from tests.property.random_graphs import Builder
from tests.small_networks import split_matmul
from tests.targets import small_target
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.ir.index_map import Access, IndexExpr, affine, axis_index
from tilewright.compiler_core.lowering.formats.text import graph_text, kernel_text
from tilewright.compiler_core.lowering.pipeline import compile_graph, default_schedule, plan_graph
from tilewright.compiler_core.lowering.program import KernelCall
from tilewright.compiler_core.onnx_import.importer import import_model

OPERATORS = {
    "hard_swish": model([node("HardSwish", "x", "y")], [value("x", ["batch", 40])], ["y"]),
    "cumsum": model(
        [node("CumSum", "x axis", "y", exclusive=1, reverse=1)],
        [value("x", [6, 11])],
        ["y"],
        {"axis": np.array(1, dtype=np.int64)},
    ),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator_imports_and_lowers_as_reviewed(
    name: str, tmp_path: Path, golden: Callable[[str, str], None]
) -> None:
    made: onnx.ModelProto = OPERATORS[name]
    path = saved(made, tmp_path)
    graph = import_model(path).graph
    bound = graph.bound_to({"batch": 4})
    target = small_target(cores=2)
    plan = plan_graph(bound, target)
    program = compile_graph(bound, default_schedule(plan, target), target, plan)
    kernels = [call.program for stage in program.stages for call in stage if isinstance(call, KernelCall)]
    golden(f"ops/{name}.txt", graph_text(graph) + "".join(map(kernel_text, kernels)))
    shape = bound.shape(bound.inputs[0])
    assert differences(path, made, {"x": 3 * reals(1, *shape)})[0].error <= 1e-6


def test_a_kernel_prints_loops_buffers_and_steps(golden: Callable[[str, str], None]) -> None:
    golden("split_matmul.txt", kernel_text(split_matmul().kernel()))


def test_indices_print_as_they_are_computed() -> None:
    b = Builder(DType.F32, 0)
    x, rows = b.input((9, 8)), b.input((3,), DType.I64, 9)
    window = (affine((0, 2), (2, 1), offset=-1), affine((1, 1), divisor=2, modulus=8))
    pooled = b.op("max", (4, 5), (3,), (Access(x, window, float("-inf")),))
    b.op(
        "gather",
        (3, 5),
        (),
        (Access(pooled, (IndexExpr(source=1), axis_index(1))), Access(rows, (axis_index(0),))),
    )
    lines = graph_text(b.graph((3,))).splitlines()
    assert lines == [
        "graph (%0: f32[9, 8], %1: i64[3]) -> %3",
        "%2: f32[4, 5] = max (a0: 4, a1: 5 | a2: 3) %0[2*a0 + a2 - 1, ((a1) // 2) % 8 else -inf]",
        "%3: f32[3, 5] = gather (a0: 3, a1: 5) %2[@1, a1] %1[a0]",
    ]
