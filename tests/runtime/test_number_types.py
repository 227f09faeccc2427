"""Libraries of other numbers: storage of 16 bits with float32 arithmetic, and whole numbers of 8 bits."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import NodeProto, TensorProto

from tests.onnx_models import Array, model, node, saved, value
from tests.runtime.conftest import Made
from tilewright.runtime import load

pytestmark = pytest.mark.usefixtures("by_default")


def built_of(
    made: Made, folder: Path, nodes: Sequence[NodeProto], given: Sequence[object], constants: dict[str, Array]
) -> Path:
    """The library of a network with the output y."""
    path = saved(model(nodes, given, ["y"], constants, opset=21), folder)  # type: ignore[arg-type]
    mine = replace(made, model=path, library=folder / "made")
    assert mine.build() == 0
    return mine.library


def test_halves_are_stored_and_floats_are_added(made: Made, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    w = (rng.standard_normal((24, 40, 3, 3)) / 19).astype(np.float16)
    nodes = [node("Conv", "x w", "c", pads=[1, 1, 1, 1]), node("Relu", "c", "r"), node("MaxPool", "r", "y")]
    nodes[2].attribute.extend(node("MaxPool", "r", "y", kernel_shape=[2, 2], strides=[2, 2]).attribute)
    given = [value("x", [1, 40, 10, 12], TensorProto.FLOAT16)]
    folder = built_of(made, tmp_path, nodes, given, {"w": w})
    x = rng.standard_normal((1, 40, 10, 12)).astype(np.float16)
    got = load(folder).run({"x": x})["y"]
    assert got.dtype == np.float16
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
    exact = np.maximum(np.einsum("ncyxij,ocij->noyx", windows, w.astype(np.float64)), 0.0)
    wanted = exact.reshape(1, 24, 5, 2, 6, 2).max((3, 5))
    # One rounding to half, after sums in float: 360 terms added in half would be off by 20 times this.
    assert np.abs(got - wanted).max() <= 2.0**-11 * np.abs(wanted).max()


def test_bfloat16_travels_as_its_bits(made: Made, tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    nodes = [
        node("Cast", "x", "b", to=TensorProto.BFLOAT16),
        node("Cast", "w", "v", to=TensorProto.BFLOAT16),
        node("MatMul", "b v", "y"),
    ]
    w = rng.integers(-8, 9, (64, 33)).astype(np.float32)
    folder = built_of(made, tmp_path, nodes, [value("x", [7, 64])], {"w": w})
    x = rng.integers(-3, 4, (7, 64)).astype(np.float32)
    got = load(folder).run({"x": x})["y"]
    assert json.loads((folder / "manifest.json").read_text())["outputs"][0]["dtype"] == "bfloat16"
    assert got.dtype == np.uint16
    read = (got.astype(np.uint32) << 16).view(np.float32)
    wanted = x @ w
    assert np.abs(read - wanted).max() <= 2.0**-8 * np.abs(wanted).max()
    small = np.abs(wanted) <= 256
    np.testing.assert_array_equal(read[small], wanted[small])


@pytest.mark.parametrize("unsigned", [True, False])
def test_whole_numbers_of_8_bits_are_exact(made: Made, tmp_path: Path, *, unsigned: bool) -> None:
    rng = np.random.default_rng(5)
    kind, lows = (np.uint8, 0) if unsigned else (np.int8, -128)
    w = rng.integers(-128, 128, (24, 16, 3, 3)).astype(np.int8)
    zero = np.array(7, dtype=kind)
    nodes = [node("ConvInteger", "x w z", "y", pads=[1, 1, 1, 1])]
    given = [value("x", [1, 16, 9, 19], TensorProto.UINT8 if unsigned else TensorProto.INT8)]
    folder = built_of(made, tmp_path, nodes, given, {"w": w, "z": zero})
    x = rng.integers(lows, lows + 256, (1, 16, 9, 19)).astype(kind)
    x[0, :, :3] = lows + 255
    got = load(folder).run({"x": x})["y"]
    padded = np.pad(x.astype(np.int64) - 7, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
    np.testing.assert_array_equal(got, np.einsum("ncyxij,ocij->noyx", windows, w.astype(np.int64)))


def test_a_quantized_network_is_bit_equal_to_its_integers(made: Made, tmp_path: Path) -> None:
    """Scales are powers of two, so that every rounding is one of integers."""
    rng = np.random.default_rng(6)
    w = rng.integers(-127, 128, (20, 12, 1, 1)).astype(np.int8)
    constants: dict[str, Array] = {
        "w": w,
        "zw": np.array(0, np.int8),
        "zx": np.array(128, np.uint8),
        "sx": np.array(0.25, np.float32),
        "sw": np.array(0.03125, np.float32),
        "sy": np.array(4.0, np.float32),
    }
    nodes = [
        node("DequantizeLinear", "x sx zx", "a"),
        node("DequantizeLinear", "w sw zw", "b"),
        node("Conv", "a b", "c"),
        node("Relu", "c", "r"),
        node("QuantizeLinear", "r sy zx", "y"),
    ]
    folder = built_of(made, tmp_path, nodes, [value("x", [1, 12, 6, 21], TensorProto.UINT8)], constants)
    x = rng.integers(0, 256, (1, 12, 6, 21)).astype(np.uint8)
    got = load(folder).run({"x": x})["y"]
    sums = np.einsum("ncyx,oc->noyx", x.astype(np.int64) - 128, w[:, :, 0, 0].astype(np.int64))
    halves = np.maximum(sums, 0) / 512.0  # sx * sw / sy
    np.testing.assert_array_equal(got, np.clip(np.rint(halves) + 128, 0, 255).astype(np.uint8))
