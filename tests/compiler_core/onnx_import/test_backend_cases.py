"""Every operator against the cases that the onnx package ships for it."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.onnx_models import Array, saved
from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.meaning.interpret import interpret
from tilewright.compiler_core.onnx_import.importer import import_model

OPERATORS = """
Abs Acos Acosh Add AffineGrid And ArgMax ArgMin Asin Asinh Atan Atanh Attention AveragePool
BatchNormalization BitCast BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor BlackmanWindow Cast
CastLike CausalConvWithState Ceil Celu CenterCropPad Clip Col2Im Compress Concat Constant
ConstantOfShape Conv ConvInteger ConvTranspose Cos Cosh CumProd CumSum DFT DeformConv DepthToSpace
DequantizeLinear Det Div Dropout DynamicQuantizeLinear Einsum Elu Equal Erf Exp Expand EyeLike Flatten
Floor GRU Gather GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalMaxPool Greater
GreaterOrEqual GridSample GroupNormalization HammingWindow HannWindow HardSigmoid HardSwish Hardmax
Identity If InstanceNormalization IsInf IsNaN LRN LSTM LayerNormalization LeakyRelu Less LessOrEqual
LinearAttention Log LogSoftmax Loop LpNormalization LpPool MatMul MatMulInteger Max MaxPool MaxUnpool
Mean MeanVarianceNormalization MelWeightMatrix Min Mish Mod Mul Neg NegativeLogLikelihoodLoss
NonMaxSuppression NonZero Not OneHot Or PRelu Pad Pow QLinearConv QLinearMatMul QuantizeLinear
RMSNormalization RNN Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax
ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize ReverseSequence RoiAlign
RotaryEmbedding Round STFT Scan ScatterElements ScatterND Selu Shape Shrink Sigmoid Sign Sin Sinh Size
Slice Softmax SoftmaxCrossEntropyLoss Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum SwiGLU
Swish Tan Tanh TensorScatter ThresholdedRelu Tile TopK Transpose Trilu Unique Unsqueeze Upsample Where
Xor
""".split()  # noqa: SIM905 - a column of quotes would hide what is listed

REASONS = (
    "element type",
    "optional_type",
    "sequence_type",
    "training mode",
    "Scan before opset 9",
    "the rank of output",
    "beside pads",
    "(SequenceConstruct)",
    "(Optional)",
)
"""Why a case may be refused: types a Graph has not, training, forms of long ago, ranks and axes from data."""

OTHER_RULE = {
    # onnx's reference takes the unrounded size here, onnxruntime the real one; so does the importer.
    "test_resize_downsample_scales_linear_align_corners",
    "test_resize_downsample_scales_cubic_align_corners",
}

KNOWN_WHEN_READ = {
    "AffineGrid", "BlackmanWindow", "CenterCropPad", "Clip", "Col2Im", "ConstantOfShape", "CumProd",
    "CumSum", "DFT", "Dropout", "Expand", "HammingWindow", "HannWindow", "MaxUnpool", "MelWeightMatrix",
    "OneHot", "Pad", "QLinearConv", "Range", "Reshape", "Resize", "STFT", "Slice", "Split", "Squeeze",
    "Tile", "TopK", "Trilu", "Unsqueeze", "Upsample",
}  # fmt: skip
"""Operators whose later inputs are parameters that networks hold as constants."""
ALL_PARAMETERS = {
    "BlackmanWindow", "ConstantOfShape", "HammingWindow", "HannWindow", "MelWeightMatrix", "Range"
}  # fmt: skip
"""Those whose first input is one as well."""


@pytest.fixture(scope="module")
def cases() -> dict[str, list[Any]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        by_operator: dict[str, list[Any]] = {}
        for case in collect_testcases(None):
            nodes = case.model.graph.node if case.model else []
            if len(nodes) == 1 and "expanded" not in case.name:
                by_operator.setdefault(nodes[0].op_type, []).append(case)
    return by_operator


def _array(given: Any) -> Array:
    return numpy_helper.to_array(given) if isinstance(given, onnx.TensorProto) else np.asarray(given)


def _with_constants(made: onnx.ModelProto, inputs: list[Any]) -> onnx.ModelProto:
    """The model with its parameters as initializers."""
    (item,) = made.graph.node
    if item.op_type in KNOWN_WHEN_READ or item.op_type.startswith("Reduce"):
        for info, given in zip(made.graph.input, inputs, strict=False):
            place = list(item.input).index(info.name)
            is_data = place == 0 and item.op_type not in ALL_PARAMETERS
            if not is_data and not (item.op_type == "OneHot" and place == 2):
                made.graph.initializer.append(numpy_helper.from_array(_array(given), info.name))
    return made


def _check(case: Any, folder: Path, *, constants: bool = True) -> None:
    inputs, outputs = case.data_sets[0]
    made = onnx.ModelProto()
    made.CopyFrom(case.model)
    imported = import_model(saved(_with_constants(made, inputs) if constants else made, folder))
    graph = imported.graph
    given = dict(zip([info.name for info in made.graph.input], inputs, strict=False))
    feeds = {value: _array(given[name]) for name, value in imported.inputs}
    wanted = [_array(output) for output in outputs]
    symbols: dict[str, int] = {}
    for value, array in [*feeds.items(), *zip([v for _, v in imported.outputs], wanted, strict=True)]:
        for dim, extent in zip(graph.values[value].shape, array.shape, strict=True):
            if str(dim) in graph.symbols:
                symbols[str(dim)] = extent
    bound = graph.bound_to(symbols)
    own = interpret(bound, feeds)
    for (name, value), array in zip(imported.outputs, wanted, strict=True):
        assert own[value].dtype == array.dtype, name
        short = graph.values[value].dtype in (DType.F16, DType.BF16)
        tolerance = 1e-2 if short else 1e-3
        np.testing.assert_allclose(
            own[value].astype(np.float64),
            array.astype(np.float64),
            rtol=tolerance,
            atol=tolerance if short else 1e-5,
            err_msg=case.name,
        )


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("operator", OPERATORS)
def test_operator(operator: str, cases: dict[str, list[Any]], tmp_path: Path) -> None:
    passed = 0
    for case in cases[operator]:
        if case.name in OTHER_RULE:
            continue
        try:
            _check(case, tmp_path)
            passed += 1
        except ModelError as error:
            if not any(reason in str(error) for reason in REASONS):
                raise
    assert passed


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    "operator", ["ConstantOfShape", "Expand", "OneHot", "Pad", "Range", "Reshape", "Slice", "Tile", "TopK"]
)
def test_operator_with_extents_from_data(operator: str, cases: dict[str, list[Any]], tmp_path: Path) -> None:
    passed = 0
    for case in cases[operator]:
        try:
            _check(case, tmp_path, constants=False)
            passed += 1
        except ModelError as error:
            if not any(reason in str(error) for reason in REASONS):
                raise
    assert passed
