"""A kernel described in plain words has the key that importing the same network gives."""

import subprocess
import sys
from pathlib import Path

import pytest
from onnx import ModelProto

from tests.onnx_models import model, node, reals, saved, value
from tilewright.compiler_core.errors import TilewrightError
from tilewright.compiler_core.lowering.pipeline import plan_graph
from tilewright.compiler_core.onnx_import.importer import import_model
from tilewright.compiler_core.target_model.file import load_target
from tilewright.db.answering.describe import (
    ElementwiseStep,
    Operand,
    contraction,
    convolution,
    reduction,
    row_of,
)

WEIGHT = "constant"


def keys_of(made: ModelProto, folder: Path) -> set[str]:
    graph = import_model(saved(made, folder)).graph
    return set(plan_graph(graph, load_target("ascend910")).regions)


def test_a_convolution_with_an_epilogue(tmp_path: Path) -> None:
    nodes = [
        node("Conv", "x w b", "a", pads=[1, 1, 1, 1], strides=[2, 2]),
        node("Add", "a r", "s"),
        node("Relu", "s", "y"),
    ]
    inputs = [value("x", [1, 3, 16, 16]), value("r", [1, 8, 8, 8])]
    made = model(nodes, inputs, ["y"], {"w": reals(0, 8, 3, 3, 3), "b": reals(1, 8)})
    described = convolution(
        Operand((1, 3, 16, 16)),
        Operand((8, 3, 3, 3), level=WEIGHT),
        strides=2,
        pads=1,
        epilogue=(
            ElementwiseStep("add", Operand((8,), level=WEIGHT), along=(1,)),
            ElementwiseStep("add", Operand((1, 8, 8, 8))),
            ElementwiseStep("relu"),
        ),
    )
    assert keys_of(made, tmp_path) == {described.digest}


def test_a_depthwise_convolution(tmp_path: Path) -> None:
    nodes = [node("Conv", "x w", "y", group=8, dilations=[2, 2], pads=[2, 1, 2, 1])]
    made = model(nodes, [value("x", [2, 8, 12, 9])], ["y"], {"w": reals(0, 8, 1, 3, 3)})
    described = convolution(
        Operand((2, 8, 12, 9)),
        Operand((8, 1, 3, 3), level=WEIGHT),
        groups=8,
        dilations=2,
        pads=[(2, 2), (1, 1)],
    )
    assert keys_of(made, tmp_path) == {described.digest}


def test_a_contraction_of_activations(tmp_path: Path) -> None:
    nodes = [node("MatMul", "a b", "p"), node("Tanh", "p", "y")]
    made = model(nodes, [value("a", [4, 16, 8]), value("b", [4, 8, 32])], ["y"])
    described = contraction(
        "bmk,bkn->bmn", Operand((4, 16, 8)), Operand((4, 8, 32)), epilogue=[ElementwiseStep("tanh")]
    )
    assert keys_of(made, tmp_path) == {described.digest}


@pytest.mark.parametrize("keep", [False, True])
def test_a_reduction(tmp_path: Path, keep: bool) -> None:
    made = model(
        [node("ReduceMax", "x", "y", axes=[1], keepdims=keep)], [value("x", [4, 6])], ["y"], opset=13
    )
    assert keys_of(made, tmp_path) == {reduction("max", Operand((4, 6)), [1], keep=keep).digest}


def test_shapes_dtypes_and_levels_are_part_of_the_key() -> None:
    def key(m: int = 4, dtype: str = "f16", level: str = "dram", step: str = "relu") -> tuple[str, str]:
        a, b = Operand((m, 8), dtype), Operand((8, 2), dtype, WEIGHT)
        row = row_of(contraction("mk,kn->mn", a, b, epilogue=[ElementwiseStep(step)], level=level))
        return row.digest, row.family_digest

    first = key()
    assert key() == first
    assert len({key(m=5), key(dtype="f32"), key(step="tanh"), key(level="llb"), first}) == 5
    assert key(level="llb")[1] == first[1], "where a result goes is not what is computed"


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: contraction("mk,kn", Operand((4, 8)), Operand((8, 2))),
        lambda: contraction("mk,kn->mn", Operand((4, 8)), Operand((9, 2))),
        lambda: contraction("mk,kn->mz", Operand((4, 8)), Operand((8, 2))),
        lambda: convolution(Operand((1, 3, 8, 8)), Operand((8, 4, 3, 3))),
        lambda: convolution(Operand((1, 3, 2, 2)), Operand((8, 3, 3, 3))),
        lambda: convolution(Operand((1, 8, 8, 8)), Operand((8, 2, 3, 3)), groups=4),
        lambda: reduction("mean", Operand((4, 4)), [0]),
        lambda: reduction("sum", Operand((4, 4)), [2]),
        lambda: reduction("sum", Operand((4, 4), "float99"), [1]),
        lambda: reduction("sum", Operand((4, 4), level="moon"), [1]),
        lambda: reduction("sum", Operand((4, 4)), [1], epilogue=[ElementwiseStep("contract", Operand((4,)))]),
        lambda: reduction("sum", Operand((4, 4)), [1], epilogue=[ElementwiseStep("relu", Operand((4,)))]),
        lambda: reduction(
            "sum", Operand((4, 4)), [1], epilogue=[ElementwiseStep("add", Operand((3,)), along=(0,))]
        ),
        lambda: reduction("sum", Operand((4, 4)), [1], epilogue=[ElementwiseStep("add", Operand((3,)))]),
    ],
)
def test_what_cannot_be_is_one_line(wrong: object) -> None:
    assert callable(wrong)
    with pytest.raises(TilewrightError) as raised:
        wrong()
    assert "\n" not in str(raised.value)


def test_describing_and_asking_load_no_tuning_machinery() -> None:
    program = (
        "import sys, tilewright.db.answering.ask, tilewright.db.answering.describe\n"
        "heavy = {'ray', 'xgboost', 'optuna', 'numba', 'onnx', 'fastapi', 'alembic'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")
