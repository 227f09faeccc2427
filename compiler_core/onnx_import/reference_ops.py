"""Meanings of operators on the host by the standard's own reference implementation."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy.typing as npt
import onnx
from onnx import helper
from onnx.reference import ReferenceEvaluator

from tilewright.compiler_core.errors import ModelError, RecordError
from tilewright.compiler_core.ir import host_ops

Array = npt.NDArray[Any]
ON_HOST = (
    "BitCast",
    "Col2Im",
    "CumProd",
    "DeformConv",
    "MaxUnpool",
    "MelWeightMatrix",
    "RoiAlign",
    "TensorScatter",
    "ai.onnx.ml.TreeEnsemble",
    "ai.onnx.ml.TreeEnsembleClassifier",
    "ai.onnx.ml.TreeEnsembleRegressor",
)
"""Operators that always run here."""
LATE = (
    "AffineGrid",
    "CumSum",
    "DFT",
    "Pad",
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "ReduceSumSquare",
    "Resize",
    "STFT",
    "Split",
    "Squeeze",
    "Trilu",
    "Unsqueeze",
    "Upsample",
)
"""Operators that run here where data decide axes, sizes or scales, or are too large."""


def run_standard(args: Sequence[Array], attributes: Mapping[str, Any]) -> Sequence[Array]:
    """All results of an operator at opset `version`; attribute `proto` is the hex of its NodeProto."""
    try:
        evaluator = _evaluator(str(attributes["proto"]), int(attributes["version"]))
        made: list[Array] = evaluator.run(None, dict(zip(evaluator.input_names, args, strict=True)))
    except RecordError:
        raise
    except Exception as error:
        # The reference's errors have no common base; it raises where operands do not fit.
        raise ModelError(f"an operator on the host refuses its operands: {error}") from error
    return made


host_ops.register("standard", run_standard)


@lru_cache(maxsize=64)
def _evaluator(node: str, version: int) -> Any:
    proto = onnx.NodeProto.FromString(bytes.fromhex(node))
    name = f"{proto.domain}.{proto.op_type}" if proto.domain else proto.op_type
    if name not in (*ON_HOST, *LATE):
        raise RecordError(f"a recorded graph asks for operator {name!r} on the host")
    inputs = [onnx.ValueInfoProto(name=name) for name in proto.input if name]
    outputs = [onnx.ValueInfoProto(name=name) for name in proto.output if name]
    graph = helper.make_graph([proto], "operator", inputs, outputs)
    return ReferenceEvaluator(
        helper.make_model(graph, opset_imports=[helper.make_opsetid(proto.domain, version)])
    )
