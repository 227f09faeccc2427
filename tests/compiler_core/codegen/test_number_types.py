"""Conversions, comparisons and signs of every type of number, beside what the graph means."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.targets import small_target
from tilewright.compiler_core.codegen.blocking import nest_of
from tilewright.compiler_core.codegen.machine.native import host_machine
from tilewright.compiler_core.codegen.nest import Blocking
from tilewright.compiler_core.codegen.run import compile_kernel, run_kernel
from tilewright.compiler_core.errors import ConfigError
from tilewright.compiler_core.ir.dtypes import DType, TensorType
from tilewright.compiler_core.ir.graph import Graph, Op
from tilewright.compiler_core.ir.index_map import Access, axis_index
from tilewright.compiler_core.ir.ops import AxisKind
from tilewright.compiler_core.ir.workload import Workload, kernel_of
from tilewright.compiler_core.lowering.lower import lower_kernel
from tilewright.compiler_core.lowering.program import KernelProgram
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.lowering.schedule import Tiling
from tilewright.compiler_core.meaning.interpret import interpret
from tilewright.compiler_core.onnx_import.importer import import_model

KINDS = {
    "float": TensorProto.FLOAT,
    "double": TensorProto.DOUBLE,
    "half": TensorProto.FLOAT16,
    "u8": TensorProto.UINT8,
    "i8": TensorProto.INT8,
    "u16": TensorProto.UINT16,
    "i16": TensorProto.INT16,
    "i32": TensorProto.INT32,
    "u32": TensorProto.UINT32,
    "i64": TensorProto.INT64,
    "bool": TensorProto.BOOL,
}
LENGTH = 21


def in_one_tile(workload: Workload) -> KernelProgram:
    regions = Regions(workload)
    rank = workload.graph.ops[regions.root].rank
    sizes = [loop.extent for loop in regions.loops]
    tiling = Tiling(tuple(sizes[:rank]), tuple(sizes[rank:]), tuple(range(rank)))
    return lower_kernel(regions, tiling, 1, small_target(cores=1, l1_kib=1 << 24))


def check(node: onnx.NodeProto, given: str, made: str, folder: Path) -> None:
    """One op of x and y, which reach the ends of their type where they are whole numbers."""
    kind = KINDS[given]
    inputs = [helper.make_tensor_value_info(name, kind, [LENGTH]) for name in node.input]
    outputs = [helper.make_tensor_value_info("z", KINDS[made], [LENGTH])]
    model = helper.make_model(
        helper.make_graph([node], "one", inputs, outputs),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=9,
    )
    onnx.save(model, folder / "one.onnx")
    graph = import_model(folder / "one.onnx").graph
    workload = kernel_of(graph, range(len(graph.ops)), {}).workload
    rng = np.random.default_rng(LENGTH)
    arrays = {}
    for value in workload.graph.inputs:
        dtype = workload.graph.values[value].dtype.numpy
        wide: Any = np.iinfo(dtype) if dtype.kind in "iu" else None
        drawn = rng.integers(-9, 10, LENGTH) if dtype.kind != "u" else rng.integers(0, 10, LENGTH)
        arrays[value] = drawn.astype(dtype)
        if wide is not None and made != "float":
            arrays[value][:2] = wide.min, wide.max
    regions = Regions(workload)
    kernel = compile_kernel(nest_of(regions, in_one_tile(workload), host_machine()), level=0)
    meant = interpret(workload.graph, arrays)
    for value, got in run_kernel(kernel, arrays).items():
        np.testing.assert_array_equal(got, meant[value])


@pytest.mark.parametrize(
    ("given", "made"),
    [
        *((kind, "float") for kind in KINDS if kind != "float"),
        *(("float", kind) for kind in KINDS if not kind.startswith(("u", "float"))),
        ("u8", "i32"),
        ("i8", "i32"),
        ("i8", "u8"),
        ("u8", "i8"),
        ("bool", "i64"),
        ("i64", "i8"),
        ("u32", "double"),
        ("double", "half"),
    ],
)
def test_conversions(given: str, made: str, tmp_path: Path) -> None:
    check(helper.make_node("Cast", ["x"], ["z"], to=KINDS[made]), given, made, tmp_path)


@pytest.mark.parametrize("kind", ["float", "u8", "i8", "u32", "i64"])
@pytest.mark.parametrize("op", ["Max", "Min", "Less", "GreaterOrEqual", "Equal", "Add", "Sub", "Mul"])
def test_two_numbers_of_a_type(op: str, kind: str, tmp_path: Path) -> None:
    made = "bool" if op in ("Less", "GreaterOrEqual", "Equal") else kind
    check(helper.make_node(op, ["x", "y"], ["z"]), kind, made, tmp_path)


@pytest.mark.parametrize("kind", ["u8", "i8", "u32", "i64"])
@pytest.mark.parametrize("op", ["BitwiseAnd", "BitwiseOr", "BitwiseXor"])
def test_bits_of_two_numbers(op: str, kind: str, tmp_path: Path) -> None:
    check(helper.make_node(op, ["x", "y"], ["z"]), kind, kind, tmp_path)


@pytest.mark.parametrize("kind", ["u8", "u32"])
@pytest.mark.parametrize("direction", ["LEFT", "RIGHT"])
def test_shifts_by_the_width_and_more(direction: str, kind: str, tmp_path: Path) -> None:
    check(helper.make_node("BitShift", ["x", "y"], ["z"], direction=direction), kind, kind, tmp_path)


@pytest.mark.parametrize("op", ["Abs", "Neg", "Sign", "Ceil", "Floor", "Round", "Relu"])
@pytest.mark.parametrize("kind", ["float", "i8", "i32"])
def test_one_number_of_a_type(op: str, kind: str, tmp_path: Path) -> None:
    if op in ("Ceil", "Floor", "Round") and kind != "float":
        return
    check(helper.make_node(op, ["x"], ["z"]), kind, kind, tmp_path)


def product_of(rows: int, columns: int, depth: int) -> Workload:
    shapes = ((rows, depth), (depth, columns), (rows, columns))
    kinds = (AxisKind.PARALLEL, AxisKind.PARALLEL, AxisKind.REDUCTION)
    reads = (Access(0, (axis_index(0), axis_index(2))), Access(1, (axis_index(2), axis_index(1))))
    op = Op("contract", (rows, columns, depth), kinds, reads, 2)
    graph = Graph(tuple(TensorType(shape, DType.F32) for shape in shapes), (op,), (0, 1), (2,))
    return kernel_of(graph, [0], {}).workload


def test_values_that_32_bits_do_not_number_are_refused() -> None:
    workload = product_of(1 << 16, 1 << 15, 2)
    with pytest.raises(ConfigError, match="2\\^31"):
        nest_of(Regions(workload), in_one_tile(workload), host_machine())


@pytest.mark.parametrize(
    "blocking",
    [
        Blocking(1, 1, ((0, 2),), (0, 1), ()),
        Blocking(1, 1, ((0, 2),), (0,), (2,)),
        Blocking(3, 1, ((0, 2),), (0, 1), (2,)),
        Blocking(1, 0, ((0, 2),), (0, 1), (2,)),
        Blocking(1, 65, ((0, 2),), (0, 1), (2,)),
    ],
)
def test_a_block_of_other_axes_is_refused(blocking: Blocking) -> None:
    workload = product_of(4, 16, 4)
    with pytest.raises(ConfigError, match="blocking"):
        nest_of(Regions(workload), in_one_tile(workload), host_machine(), blocking)


def test_indices_from_data_count_from_the_end_where_negative(tmp_path: Path) -> None:
    node = helper.make_node("Gather", ["x", "i"], ["z"], axis=1)
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [3, 9, 5]),
        helper.make_tensor_value_info("i", TensorProto.INT64, [7]),
    ]
    outputs = [helper.make_tensor_value_info("z", TensorProto.FLOAT, [3, 7, 5])]
    model = helper.make_model(
        helper.make_graph([node], "one", inputs, outputs),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=9,
    )
    onnx.save(model, tmp_path / "one.onnx")
    graph = import_model(tmp_path / "one.onnx").graph
    workload = kernel_of(graph, range(len(graph.ops)), {}).workload
    x = np.arange(135, dtype=np.float32).reshape(3, 9, 5)
    index = np.array([0, -1, 8, -9, 3, -4, 1])
    arrays = {
        value: x if workload.graph.values[value].dtype.is_float else index for value in workload.graph.inputs
    }
    for vector in (1, 2):  # along the indices, and along what they choose
        blocking = Blocking(vector, 1, ((0, 2),), (0, 1, 2), ())
        nest = nest_of(Regions(workload), in_one_tile(workload), host_machine(), blocking)
        (got,) = run_kernel(compile_kernel(nest, level=0), arrays).values()
        np.testing.assert_array_equal(got, x[:, index])
