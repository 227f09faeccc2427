"""Operators of the domain ai.onnx.ml that work on numbers."""

from collections.abc import Mapping

from tilewright.compiler_core.ir.dims import product_of
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.onnx_import.building.builder import Tensor
from tilewright.compiler_core.onnx_import.building.context import Build, Context, Inputs, required
from tilewright.compiler_core.onnx_import.building.node import Node
from tilewright.compiler_core.onnx_import.operators.gathering import gather
from tilewright.compiler_core.onnx_import.standard import on_host


def _array_feature_extractor(context: Context, node: Node, inputs: Inputs) -> Tensor:
    """Columns of x [..., features] by index; a row of features counts as a matrix of one row."""
    x, indices, builder = required(inputs, 0), required(inputs, 1), context.builder
    rows = x if x.rank > 1 else builder.reshape(x, (1, *x.shape))
    flat = builder.reshape(indices, (product_of(indices.shape),))
    return gather(builder, rows, flat, rows.rank - 1)


def _binarizer(context: Context, node: Node, inputs: Inputs) -> Tensor:
    x, builder = required(inputs, 0), context.builder
    limit = builder.scalar(node.number("threshold", 0.0), x.dtype)
    return builder.cast(builder.elementwise("less", limit, x, dtype=DType.BOOL), x.dtype)


CLASSICAL: Mapping[str, Build] = {
    "ArrayFeatureExtractor": _array_feature_extractor,
    "Binarizer": _binarizer,
    "TreeEnsemble": on_host,
}
