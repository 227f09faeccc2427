"""Weights of four bits with a scale a block, inline and in a file beside the model, equal onnxruntime's."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from tests.compiler_core.onnx_import.against_onnxruntime import differences
from tests.onnx_models import model, node, reals, saved, value
from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.meaning.interpret import interpret
from tilewright.compiler_core.onnx_import.importer import import_model

DEPTH, WIDTH, BLOCK = 32, 5, 16


def _network(kind: int, external: Path | None) -> onnx.ModelProto:
    """y = x @ dequantized weights, [DEPTH, WIDTH] numbers of four bits, a scale for every BLOCK rows."""
    chance = np.random.default_rng(0)
    low, high = (-8, 8) if kind == TensorProto.INT4 else (0, 16)
    integers = chance.integers(low, high, (DEPTH, WIDTH))
    weights = helper.make_tensor("w", kind, [DEPTH, WIDTH], integers.ravel().tolist())
    zero = helper.make_tensor("zero", kind, [DEPTH // BLOCK, WIDTH], [3] * (DEPTH // BLOCK * WIDTH))
    scale = onnx.numpy_helper.from_array(np.abs(reals(2, DEPTH // BLOCK, WIDTH)), "scale")
    if external is not None:
        packed = integers.ravel().astype(np.uint8) & 15
        (external / "weights.bin").write_bytes((packed[0::2] | packed[1::2] << 4).tobytes())
        weights = TensorProto(
            name="w", data_type=kind, dims=[DEPTH, WIDTH], data_location=TensorProto.EXTERNAL
        )
        weights.external_data.add(key="location", value="weights.bin")
    nodes = [
        node("DequantizeLinear", "w scale zero", "real", axis=0, block_size=BLOCK),
        node("MatMul", "x real", "y"),
    ]
    graph = helper.make_graph(nodes, "four bits", [value("x", [3, DEPTH])], [value("y", [3, WIDTH])])
    graph.initializer.extend([weights, scale, zero])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


@pytest.mark.parametrize("kind", [TensorProto.INT4, TensorProto.UINT4])
@pytest.mark.parametrize("external", [False, True])
def test_weights_of_four_bits(kind: int, external: bool, tmp_path: Path) -> None:
    path = saved(_network(kind, tmp_path if external else None), tmp_path)
    inline = _network(kind, None)
    assert differences(path, inline, {"x": reals(1, 3, DEPTH)})[0].error <= 1e-5


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("zero_points", [False, True])
def test_a_product_with_packed_weights(bits: int, zero_points: bool, tmp_path: Path) -> None:
    """As onnxruntime's tools write it; a depth that ends inside a block."""
    depth, blocks = 40, 3
    chance = np.random.default_rng(0)
    constants = {
        "w": chance.integers(0, 256, (WIDTH, blocks, BLOCK * bits // 8)).astype(np.uint8),
        "scale": np.abs(reals(2, WIDTH * blocks)),
        "zero": chance.integers(0, 256, WIDTH * -(-blocks * bits // 8)).astype(np.uint8),
    }
    inputs = "x w scale zero" if zero_points else "x w scale"
    item = node("MatMulNBits", inputs, "y", "com.microsoft", K=depth, N=WIDTH, bits=bits, block_size=BLOCK)
    used = {name: array for name, array in constants.items() if name in item.input}
    made = model([item], [value("x", ["batch", depth])], ["y"], used, domains=["com.microsoft"])
    path = saved(made, tmp_path)
    assert import_model(path).graph.bound_to({"batch": 3}).macs == 3 * depth * WIDTH
    assert differences(path, made, {"x": reals(1, 3, depth)})[0].error <= 1e-4


def test_scales_that_do_not_fit_their_blocks_are_refused(tmp_path: Path) -> None:
    made = _network(TensorProto.INT4, None)
    made.graph.node[0].attribute[-1].i = 8
    with pytest.raises(ModelError, match=r"scales of blocks of 8 have shape \[2, 5\], not \[4, 5\]"):
        import_model(saved(made, tmp_path))


@pytest.mark.parametrize("kind", [TensorProto.INT4, TensorProto.UINT4, TensorProto.FLOAT4E2M1])
def test_quantizing_to_four_bits(kind: int, tmp_path: Path) -> None:
    zero = helper.make_tensor("zero", kind, [], [0])
    scale = onnx.numpy_helper.from_array(np.array(0.5, np.float32), "scale")
    nodes = [node("QuantizeLinear", "x scale zero", "q"), node("DequantizeLinear", "q scale zero", "y")]
    graph = helper.make_graph(nodes, "to four bits", [value("x", [64])], [value("y", [64])])
    graph.initializer.extend([scale, zero])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=11)
    imported = import_model(saved(made, tmp_path))
    given = 4 * reals(3, 64)
    own = interpret(imported.graph, {imported.inputs[0][1]: given})
    (wanted,) = ReferenceEvaluator(made).run(None, {"x": given})
    np.testing.assert_array_equal(own[imported.outputs[0][1]], wanted)
