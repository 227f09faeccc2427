"""Storage types round what the model computes: fused or not, and the same for every schedule but for sums."""

import numpy as np
import pytest

from tests.small_networks import CASES, residual, split_matmul
from tilewright.compiler_core.checking.emulate import emulate
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.meaning.interpret import interpret
from tilewright.compiler_core.target_model.file import load_target
from tilewright.compiler_core.target_model.precision import described, precision_of


def test_halves_round_to_nearest_and_saturate() -> None:
    case = residual()
    known = interpret(case.graph, case.inputs)
    halves = precision_of(case.graph, load_target("ascend910"), known)
    given = np.array([1.0 + 2.0**-12, 1e9, -1e9, np.inf, np.nan], np.float32)
    wanted = np.array([1.0, 65504, -65504, np.inf, np.nan], np.float32)
    np.testing.assert_array_equal(halves.stored(0, given), wanted)


def test_integers_have_127_steps_to_the_largest_magnitude() -> None:
    case = residual()
    known = interpret(case.graph, case.inputs)
    steps = precision_of(case.graph, load_target("ethos_u55_256"), known)
    largest = float(np.abs(known[0]).max())
    stored = steps.stored(0, known[0])
    np.testing.assert_allclose(stored * 127 / largest, np.rint(stored * 127 / largest), atol=1e-4)
    assert np.abs(stored - known[0]).max() <= largest / 254 * 1.001


@pytest.mark.parametrize("name", CASES)
def test_small_integers_are_halves(name: str) -> None:
    """What fp16 holds exactly comes out as without a precision."""
    case = CASES[name]()
    known = interpret(case.graph, case.inputs)
    precision = precision_of(case.graph, load_target("ascend910"), known)
    for value, got in emulate(case.graph, case.compile(), case.inputs, precision=precision).items():
        np.testing.assert_array_equal(got, known[value])


def test_every_fused_value_is_rounded() -> None:
    """x @ w + bias, relu as one kernel: in int8 the result is a whole number of its steps, and not exact."""
    case = split_matmul()
    inputs = {value: array * np.float32(0.37) for value, array in case.inputs.items()}
    known = interpret(case.graph, inputs)
    precision = precision_of(case.graph, load_target("ethos_u55_256"), known)
    (output,) = case.graph.outputs
    got = emulate(case.graph, case.compile(), inputs, precision=precision)[output]
    units = got / precision.step[output]
    np.testing.assert_allclose(units, np.rint(units), atol=1e-3)
    error = float(np.abs(got - known[output]).max() / np.abs(known[output]).max())
    assert 0 < error < 0.1


def test_integers_of_the_model_are_left_alone() -> None:
    case = residual()
    precision = precision_of(case.graph, load_target("ascend910"), {})
    assert not precision.stored_as
    indices = np.array([1 << 20], np.int64)
    np.testing.assert_array_equal(precision.stored(0, indices), indices)


def test_people_are_told() -> None:
    assert described(load_target("ascend910")).startswith(f"floats stored as {DType.F16}; sums in")
    assert "one scale a value" in described(load_target("ethos_u55_256"))
