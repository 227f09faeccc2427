"""Networks of the host bench: weights of unit gain, and what is told of them."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from benchmarks.host.networks import _difference, _figures
from benchmarks.host.unit_gain import with_unit_gain
from tests.onnx_models import model, node, reals, value


def test_constant_weights_are_drawn_and_others_stay() -> None:
    filler = helper.make_tensor("value", TensorProto.FLOAT, [1], [0.5])
    made = model(
        [
            node("ConstantOfShape", "shape", "w", value=filler),
            node("Conv", "x w", "a", pads=[1, 1, 1, 1]),
            node("Mul", "a scale", "b"),
            node("Conv", "b kept", "y"),
        ],
        [value("x", [1, 4, 8, 8])],
        ["y"],
        {
            "shape": np.array([64, 4, 3, 3], dtype=np.int64),
            "scale": np.ones((64, 1, 1), dtype=np.float32),
            "kept": reals(1, 3, 64, 1, 1),
        },
    )
    drawn = with_unit_gain(made, 0)
    arrays = {each.name: numpy_helper.to_array(each) for each in drawn.graph.initializer}
    assert [each.op_type for each in drawn.graph.node] == ["Conv", "Mul", "Conv"]
    assert arrays["w"].shape == (64, 4, 3, 3)
    assert abs(float(arrays["w"].std()) * 6.0 - 1.0) < 0.1
    np.testing.assert_array_equal(arrays["kept"], reals(1, 3, 64, 1, 1))
    assert "shape" not in arrays
    assert with_unit_gain(made, 0) == drawn
    assert with_unit_gain(made, 1) != drawn


def test_figures_hold_ratios_to_their_goals() -> None:
    rows = [{"threads": 1, "ratio": ratio} for ratio in (1.0, 1.44)] + [{"threads": 1, "refused": "why"}]
    (figure,) = _figures(rows, quick=False).values()
    assert figure["value"] == "1.200, least 1.000"
    assert figure["ok"]
    (slow,) = _figures([{"threads": 1, "ratio": 0.6}], quick=False).values()
    assert not slow["ok"]


def test_a_difference_is_relative_to_the_largest() -> None:
    assert _difference(np.array([1.0, 2.0]), np.array([1.0, 4.0])) == 0.5
    assert _difference(np.zeros(0), np.zeros(0)) == 0.0
