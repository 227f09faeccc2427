"""Operators of com.microsoft, and quantized ones, against onnxruntime."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tests.compiler_core.onnx_import.against_onnxruntime import PLAIN, differences, run_onnxruntime
from tests.onnx_models import Array, model, node, reals, saved, value
from tilewright.compiler_core.meaning.interpret import interpret
from tilewright.compiler_core.onnx_import.importer import import_model

MS = "com.microsoft"
U8, I8, I32 = onnx.TensorProto.UINT8, onnx.TensorProto.INT8, onnx.TensorProto.INT32


def _integers(seed: int, *shape: int, low: int = 0, high: int = 255, dtype: type = np.uint8) -> Array:
    return np.random.default_rng(seed).integers(low, high, shape, dtype=np.int64).astype(dtype)


S1, S2, S3 = (np.float32(s) for s in (0.02, 0.01, 0.05))
Z1, Z2, Z3 = np.uint8(120), np.uint8(130), np.uint8(110)
WI = _integers(5, 4, 3, 3, 3, low=-127, high=127, dtype=np.int8)

FLOAT_CASES: dict[str, tuple[onnx.NodeProto, dict[str, Any], dict[str, Any]]] = {
    "FusedMatMul": (
        node("FusedMatMul", "x w", "y", MS, alpha=0.5, transA=1, transB=1),
        {"x": reals(1, 2, 5, 3)},
        {"w": reals(2, 2, 4, 5)},
    ),
    "Gelu": (node("Gelu", "x", "y", MS), {"x": reals(1, 3, 8)}, {}),
    "BiasGelu": (node("BiasGelu", "x b", "y", MS), {"x": reals(1, 3, 8)}, {"b": reals(2, 8)}),
    "FastGelu": (node("FastGelu", "x b", "y", MS), {"x": reals(1, 3, 8)}, {"b": reals(2, 8)}),
    "QuickGelu": (node("QuickGelu", "x", "y", MS), {"x": reals(1, 3, 8)}, {}),
    "SkipLayerNormalization": (
        node("SkipLayerNormalization", "x s g b c", "y _ _ t", MS, epsilon=1e-5),
        {"x": reals(1, 2, 3, 8), "s": reals(2, 2, 3, 8)},
        {"g": reals(3, 8), "b": reals(4, 8), "c": reals(5, 8)},
    ),
    "SkipSimplifiedLayerNormalization": (
        node("SkipSimplifiedLayerNormalization", "x s g", "y", MS, epsilon=1e-5),
        {"x": reals(1, 2, 3, 8), "s": reals(2, 2, 3, 8)},
        {"g": reals(3, 8)},
    ),
    "FusedConv": (
        node("FusedConv", "x w b", "y", MS, activation="Relu", pads=[1, 1, 1, 1]),
        {"x": reals(1, 1, 3, 6, 6)},
        {"w": reals(2, 4, 3, 3, 3), "b": reals(3, 4)},
    ),
    "FusedGemm": (
        node("FusedGemm", "x w b", "y", MS, activation="LeakyRelu", activation_alpha=0.1, transB=1),
        {"x": reals(1, 3, 5)},
        {"w": reals(2, 4, 5), "b": reals(3, 4)},
    ),
    "RotaryEmbedding": (
        node("RotaryEmbedding", "x p c s", "y", MS),
        {"x": reals(1, 2, 4, 3, 8)},
        {"p": np.array([0]), "c": reals(2, 16, 4), "s": reals(3, 16, 4)},
    ),
    "MultiHeadAttention": (
        node("MultiHeadAttention", "q k v b", "y", MS, num_heads=2),
        {"q": reals(1, 2, 3, 8), "k": reals(2, 2, 5, 8), "v": reals(3, 2, 5, 8)},
        {"b": reals(4, 24)},
    ),
    "Attention": (
        node("Attention", "x w b", "y", MS, num_heads=2, unidirectional=1),
        {"x": reals(1, 2, 3, 8)},
        {"w": reals(2, 8, 24), "b": reals(3, 24)},
    ),
    "MatMulIntegerToFloat": (
        node("MatMulIntegerToFloat", "x w s t z u", "y", MS),
        {"x": _integers(1, 3, 6)},
        {"w": _integers(2, 6, 4), "s": S1, "t": reals(3, 4), "z": Z1, "u": Z2},
    ),
    "DynamicQuantizeMatMul": (
        node("DynamicQuantizeMatMul", "x w s z", "y", MS),
        {"x": reals(1, 3, 6)},
        {"w": _integers(2, 6, 4), "s": np.full(1, S1), "z": np.full(1, Z1)},
    ),
    "MatMulInteger": (
        node("MatMulInteger", "x w z u", "y"),
        {"x": _integers(1, 3, 6)},
        {"w": _integers(2, 6, 4), "z": Z1, "u": Z2},
    ),
    "QLinearConv": (
        node("QLinearConv", "x a az w b bz c cz bias", "y", pads=[1, 1, 1, 1], strides=[2, 2]),
        {"x": _integers(1, 1, 3, 7, 7)},
        {
            "a": S1, "az": Z1, "w": WI, "b": np.full(4, S2), "bz": np.zeros(4, dtype=np.int8),
            "c": S3, "cz": Z3, "bias": _integers(6, 4, low=-500, high=500, dtype=np.int32),
        },
    ),
    "QLinearMatMul": (
        node("QLinearMatMul", "x a az w b bz c cz", "y"),
        {"x": _integers(1, 3, 6)},
        {"a": S1, "az": Z1, "w": _integers(2, 6, 4), "b": S2, "bz": Z2, "c": S3, "cz": Z3},
    ),
    "QGemm": (
        node("QGemm", "x a az w b bz _ c cz", "y", MS, transB=1),
        {"x": _integers(1, 3, 6)},
        {"a": S1, "az": Z1, "w": _integers(2, 4, 6), "b": S2, "bz": Z2, "c": S3, "cz": Z3},
    ),
    "QLinearAdd": (
        node("QLinearAdd", "x a az v b bz c cz", "y", MS),
        {"x": _integers(1, 3, 6), "v": _integers(2, 3, 6)},
        {"a": S1, "az": Z1, "b": S2, "bz": Z2, "c": S3, "cz": Z3},
    ),
    "QLinearMul": (
        node("QLinearMul", "x a az v b bz c cz", "y", MS),
        {"x": _integers(1, 3, 6), "v": _integers(2, 3, 6)},
        {"a": S1, "az": Z1, "b": S2, "bz": Z2, "c": S3, "cz": Z3},
    ),
    "QLinearSigmoid": (
        node("QLinearSigmoid", "x a az c cz", "y", MS),
        {"x": _integers(1, 3, 6)},
        {"a": S1, "az": Z1, "c": np.float32(1 / 256), "cz": np.uint8(0)},
    ),
    "QLinearLeakyRelu": (
        node("QLinearLeakyRelu", "x a az c cz", "y", MS, alpha=0.1),
        {"x": _integers(1, 3, 6)},
        {"a": S1, "az": Z1, "c": S1, "cz": Z1},
    ),
    "QLinearGlobalAveragePool": (
        node("QLinearGlobalAveragePool", "x a az c cz", "y", MS),
        {"x": _integers(1, 2, 3, 5, 5)},
        {"a": S1, "az": Z1, "c": S2, "cz": Z2},
    ),
    "QLinearAveragePool": (
        node("QLinearAveragePool", "x a az c cz", "y", MS, kernel_shape=[3, 3], strides=[2, 2]),
        {"x": _integers(1, 1, 3, 7, 7)},
        {"a": S1, "az": Z1, "c": S2, "cz": Z2},
    ),
    "QLinearSoftmax": (
        node("QLinearSoftmax", "x a az c cz", "y", MS, axis=-1, opset=13),
        {"x": _integers(1, 3, 6)},
        {"a": S1, "az": Z1, "c": np.float32(1 / 256), "cz": np.uint8(0)},
    ),
    "QLinearConcat": (
        node("QLinearConcat", "c cz x a az v b bz", "y", MS, axis=1),
        {"x": _integers(1, 3, 6), "v": _integers(2, 3, 5)},
        {"a": S1, "az": Z1, "b": S2, "bz": Z2, "c": S3, "cz": Z3},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FLOAT_CASES)
def test_operator_equals_onnxruntime(name: str, tmp_path: Path) -> None:
    item, feeds, constants = FLOAT_CASES[name]
    inputs = [
        value(key, list(array.shape), onnx.helper.np_dtype_to_tensor_dtype(array.dtype))
        for key, array in feeds.items()
    ]
    arrays = {key: np.asarray(array) for key, array in constants.items()}
    outputs = [output for output in item.output if output]
    made = model([item], inputs, outputs, arrays, domains=[MS])
    found = differences(saved(made, tmp_path), made, feeds)
    assert len(found) >= len(outputs)
    assert found[0].error <= 1e-4


def _qdq_convolution(weight_zero: int) -> onnx.ModelProto:
    constants: dict[str, Any] = {
        "xs": S1, "xz": Z1, "ws": np.float32(0.01), "wz": np.int8(weight_zero), "w": WI,
        "bs": np.float32(S1 * np.float32(0.01)), "bz": np.int32(0),
        "b": _integers(6, 4, low=-900, high=900, dtype=np.int32), "ys": S3, "yz": Z3,
    }  # fmt: skip
    nodes = [
        node("QuantizeLinear", "x xs xz", "q"),
        node("DequantizeLinear", "q xs xz", "d"),
        node("DequantizeLinear", "w ws wz", "dw"),
        node("DequantizeLinear", "b bs bz", "db"),
        node("Conv", "d dw db", "c", pads=[1, 1, 1, 1]),
        node("QuantizeLinear", "c ys yz", "y"),
    ]
    arrays = {key: np.asarray(array) for key, array in constants.items()}
    return model(nodes, [value("x", [1, 3, 9, 9])], ["y"], arrays)


@pytest.mark.parametrize("weight_zero", [0, 3])
def test_qdq_convolution_stays_integer(weight_zero: int, tmp_path: Path) -> None:
    made = _qdq_convolution(weight_zero)
    path = saved(made, tmp_path)
    found = {d.name: d.error for d in differences(path, made, {"x": reals(9, 1, 3, 9, 9)})}
    assert found["y"] == 0
    assert found["c"] < 1e-6
    graph = import_model(path).graph
    assert [op.kind for op in graph.ops] == ["quantize", "contract", "dequantize", "quantize"]
    (contract,) = (op for op in graph.ops if op.kind == "contract")
    assert str(graph.values[contract.operands[0].value].dtype) == "u8"
    assert str(graph.values[contract.result].dtype) == "i32"
    assert contract.operands[0].pad == float(Z1)


def _grouped(lengths: list[onnx.NodeProto], inputs: list[onnx.ValueInfoProto]) -> onnx.ModelProto:
    """GroupQueryAttention of 3 new tokens behind 4, its lengths computed by nodes or fed."""
    item = node("GroupQueryAttention", "q k v pk pv last whole", "y nk nv", MS, num_heads=2, kv_num_heads=1)
    fed = [
        value("q", [1, 3, 16]),
        value("k", [1, 3, 8]),
        value("v", [1, 3, 8]),
        value("pk", [1, 1, 4, 8]),
        value("pv", [1, 1, 4, 8]),
    ]
    constants = {"one": np.array(1, np.int64), "axis": np.array([1], np.int64)}
    return model([*lengths, item], [*fed, *inputs], ["y"], constants, domains=[MS])


def test_norms_of_heads_are_norms_before_the_operator(tmp_path: Path) -> None:
    """onnxruntime has no kernel for the norms inside on processors: it gets them as nodes."""
    factors = {"qn": 1 + 0.1 * reals(1, 8), "kn": 1 + 0.1 * reals(2, 8)}
    lengths = {"last": np.array([2], np.int32), "whole": np.array(3, np.int32)}
    shapes = {"split": np.array([1, 3, -1, 8]), "whole3": np.array([1, 3, -1])}
    inputs = [value("q", [1, 3, 16]), value("k", [1, 3, 8]), value("v", [1, 3, 8])]
    heads = {"num_heads": 2, "kv_num_heads": 1}
    given = "q k v _ _ last whole" + " _" * 7 + " qn kn"
    inside = node("GroupQueryAttention", given, "y", MS, qk_norm_epsilon=1e-6, **heads)
    before = [
        item
        for name in "qk"
        for item in (
            node("Reshape", f"{name} split", f"{name}s"),
            node("SimplifiedLayerNormalization", f"{name}s {name}n", f"{name}r", axis=-1, epsilon=1e-6),
            node("Reshape", f"{name}r whole3", f"{name}w"),
        )
    ]
    apart = [*before, node("GroupQueryAttention", "qw kw v _ _ last whole", "y", MS, **heads)]
    feeds = {
        name: reals(index, 1, 3, size) for index, (name, size) in enumerate((("q", 16), ("k", 8), ("v", 8)))
    }
    made = model(apart, inputs, ["y"], {**factors, **lengths, **shapes}, domains=[MS])
    wanted = run_onnxruntime(made, ["y"], feeds, PLAIN)["y"]
    path = saved(model([inside], inputs, ["y"], {**factors, **lengths}, domains=[MS]), tmp_path)
    imported = import_model(path)
    own = interpret(imported.graph, {place: feeds[name] for name, place in imported.inputs})
    np.testing.assert_allclose(own[imported.outputs[0][1]], wanted, rtol=1e-5, atol=1e-6)


def test_lengths_that_are_inputs_are_presumed_from_the_shapes(tmp_path: Path) -> None:
    made = _grouped([], [value("last", [1], I32), value("whole", [], I32)])
    presumed = import_model(saved(made, tmp_path)).presumed
    assert presumed.keys() == {"last", "whole"}
    assert presumed["last"].tolist() == [6]
    assert presumed["whole"].tolist() == 7


def test_a_mask_that_lengths_are_computed_from_is_presumed_to_leave_nothing_out(tmp_path: Path) -> None:
    nodes = [
        node("ReduceSum", "mask axis", "count", keepdims=0),
        node("Sub", "count one", "minus"),
        node("Cast", "minus", "last", to=onnx.TensorProto.INT32),
        node("Shape", "mask", "shape"),
        node("Gather", "shape one", "extent"),
        node("Cast", "extent", "whole", to=onnx.TensorProto.INT32),
    ]
    made = _grouped(nodes, [value("mask", [1, 7], onnx.TensorProto.INT64)])
    presumed = import_model(saved(made, tmp_path)).presumed
    assert presumed.keys() == {"mask"}
    assert presumed["mask"].tolist() == [[1] * 7]
