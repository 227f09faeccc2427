"""Operators of the domain ai.onnx.ml that work on numbers."""

from collections.abc import Mapping, Sequence

import numpy as np

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.dims import known, product_of
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.ir.index_map import axis_index
from tilewright.compiler_core.onnx_import.building.builder import Tensor
from tilewright.compiler_core.onnx_import.building.context import Build, Context, Inputs, required
from tilewright.compiler_core.onnx_import.building.node import Node
from tilewright.compiler_core.onnx_import.operators.contraction import matmul
from tilewright.compiler_core.onnx_import.operators.gathering import gather
from tilewright.compiler_core.onnx_import.operators.movement import concat
from tilewright.compiler_core.onnx_import.operators.reduction import position_of, softmax
from tilewright.compiler_core.onnx_import.standard import on_host, whole_on_host

LEAST_NORM = 1e-30
"""The norm that replaces a norm of zero."""


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


def _matrix(context: Context, x: Tensor) -> Tensor:
    """[rows, features] in f32; a row of features counts as a matrix of one row."""
    rows = x if x.rank > 1 else context.builder.reshape(x, (1, *x.shape))
    if rows.rank != 2:
        raise ModelError(f"the input has rank {x.rank}; it must be a matrix")
    return context.builder.cast(rows, DType.F32)


def _row(context: Context, numbers: Sequence[float], dtype: DType = DType.F32) -> Tensor:
    return context.builder.constant(np.array(numbers, dtype.numpy))


def _scaler(context: Context, node: Node, inputs: Inputs) -> Tensor:
    x, builder = context.builder.cast(required(inputs, 0), DType.F32), context.builder
    moved = builder.elementwise("sub", x, _row(context, node.numbers("offset")))
    return builder.elementwise("mul", moved, _row(context, node.numbers("scale")))


def _normalizer(context: Context, node: Node, inputs: Inputs) -> Tensor:
    x, builder = context.builder.cast(required(inputs, 0), DType.F32), context.builder
    kind, last = node.text("norm", "MAX"), [x.rank - 1]
    if kind == "L2":
        squares = builder.elementwise("mul", x, x)
        norm = builder.elementwise("sqrt", builder.reduce("sum", squares, last, keep=True))
    elif kind in ("MAX", "L1"):
        sizes = builder.elementwise("abs", x)
        norm = builder.reduce("max" if kind == "MAX" else "sum", sizes, last, keep=True)
    else:
        raise ModelError(f"norm {kind!r} is not supported")
    return builder.elementwise("div", x, builder.with_number("max", norm, LEAST_NORM))


def _imputer(context: Context, node: Node, inputs: Inputs) -> Tensor:
    """Missing elements (NaN, or a number that stands for it) replaced, by one number or one per feature."""
    x, builder = required(inputs, 0), context.builder
    if x.dtype.is_float:
        fresh, missing = node.numbers("imputed_value_floats"), node.number("replaced_value_float", 0.0)
    else:
        fresh = [*map(float, node.integers("imputed_value_int64s"))]
        missing = node.integer("replaced_value_int64", 0)
    if np.isnan(missing):
        absent = builder.elementwise("is_nan", x, dtype=DType.BOOL)
    else:
        absent = builder.elementwise("equal", x, builder.scalar(missing, x.dtype), dtype=DType.BOOL)
    return builder.elementwise("where", absent, _row(context, fresh, x.dtype), x)


def _feature_vectorizer(context: Context, node: Node, inputs: Inputs) -> Tensor:
    """Matrices side by side, each cut or filled up with zeros to as many features as told."""
    matrices = [_matrix(context, required(inputs, index)) for index in range(len(inputs))]
    widths = node.integers("inputdimensions", [known(x.shape[1], "the features") for x in matrices])
    if len(widths) != len(matrices):
        raise ModelError(f"inputdimensions has {len(widths)} numbers for {len(matrices)} inputs")
    parts = [_wide(context, x, width) for x, width in zip(matrices, widths, strict=True)]
    return concat(context.builder, parts, 1)


def _wide(context: Context, x: Tensor, width: int) -> Tensor:
    exprs = [axis_index(0), axis_index(1)]
    return context.builder.op("view", (x.shape[0], width), [(x, exprs, 0.0)], x.dtype)


def _scores(context: Context, node: Node, x: Tensor) -> Tensor:
    """[rows, targets]: products with the coefficients, and the intercepts."""
    rows, builder = _matrix(context, x), context.builder
    features = known(rows.shape[1], "the features")
    numbers = np.array(node.numbers("coefficients"), np.float32)
    if not features or numbers.size % features:
        raise ModelError(f"{numbers.size} coefficients do not fit {features} features")
    product = matmul(builder, rows, builder.constant(numbers.reshape(-1, features)), transpose_right=True)
    shift = node.numbers("intercepts", [])
    return builder.elementwise("add", product, _row(context, shift)) if shift else product


def _transformed(context: Context, node: Node, scores: Tensor) -> Tensor:
    kind, builder = node.text("post_transform", "NONE"), context.builder
    if kind == "NONE":
        return scores
    if kind == "LOGISTIC":
        return builder.elementwise("sigmoid", scores)
    if kind == "SOFTMAX":
        return softmax(context, scores, [1])
    raise ModelError(f"post_transform {kind!r} is not supported")


def _linear_regressor(context: Context, node: Node, inputs: Inputs) -> Tensor:
    return _transformed(context, node, _scores(context, node, required(inputs, 0)))


def _linear_classifier(context: Context, node: Node, inputs: Inputs) -> list[Tensor]:
    scores, builder = _scores(context, node, required(inputs, 0)), context.builder
    labels = node.integers("classlabels_ints", [])
    if not labels:
        raise ModelError("labels that are text are not supported")
    if scores.shape[1] == 1 and len(labels) == 2:
        both = builder.constant(np.array([[-1.0], [1.0]], np.float32))
        scores = matmul(builder, scores, both, transpose_right=True)
    if scores.shape[1] != len(labels):
        raise ModelError(f"there are {scores.shape[1]} scores for {len(labels)} labels")
    made = _transformed(context, node, scores)
    best = position_of(builder, "max", made, 1, last=False, keep=False)
    return [gather(builder, builder.constant(np.array(labels, np.int64)), best, 0), made]


def _position_in(context: Context, x: Tensor, keys: Tensor) -> Tensor:
    """1 + the last place of each element among the keys; 0 where it is none of them."""
    builder, count = context.builder, keys.shape[0]
    wide = builder.reshape(x, (*x.shape, 1))
    equal = builder.elementwise("equal", wide, builder.cast(keys, x.dtype), dtype=DType.BOOL)
    places = builder.table((count,), DType.I64, lambda extents: np.arange(1, extents[0] + 1))
    found = builder.elementwise("where", equal, places, builder.scalar(0, DType.I64))
    return builder.reduce("max", found, [x.rank], keep=False)


def _one_hot_encoder(context: Context, node: Node, inputs: Inputs) -> Tensor:
    x, builder = required(inputs, 0), context.builder
    keys = node.integers("cats_int64s", [])
    if not keys:
        raise ModelError("categories that are text are not supported")
    if not node.integer("zeros", 1):
        raise ModelError("zeros 0, an error where a category is unknown, is not supported")
    wide = builder.reshape(builder.cast(x, DType.I64), (*x.shape, 1))
    hot = builder.elementwise("equal", wide, _row(context, keys, DType.I64), dtype=DType.BOOL)
    return builder.cast(hot, DType.F32)


def _labels(context: Context, node: Node, side: str) -> Tensor | None:
    """The numbers of one side of a LabelEncoder's table; None where they are text."""
    if node.has(f"{side}_int64s"):
        return _row(context, node.integers(f"{side}_int64s"), DType.I64)
    if node.has(f"{side}_floats"):
        return _row(context, node.numbers(f"{side}_floats"))
    return None


def _label_encoder(context: Context, node: Node, inputs: Inputs) -> Tensor:
    keys, values = _labels(context, node, "keys"), _labels(context, node, "values")
    if keys is None or values is None:
        raise ModelError("keys and values that are text or tensors are not supported")
    whole = values.dtype is DType.I64
    unknown = node.integer("default_int64", -1) if whole else node.number("default_float", 0.0)
    content = context.builder.content(values)
    table = np.concatenate([np.array([unknown], values.dtype.numpy), content])
    at = _position_in(context, required(inputs, 0), keys)
    return gather(context.builder, context.builder.constant(table), at, 0)


def _tree_regressor(context: Context, node: Node, inputs: Inputs) -> list[Tensor]:
    x = required(inputs, 0)
    rows = x.shape[0] if x.rank > 1 else 1
    return whole_on_host(context, node, inputs, [((rows, node.integer("n_targets")), DType.F32)])


def _tree_classifier(context: Context, node: Node, inputs: Inputs) -> list[Tensor]:
    x, labels = required(inputs, 0), node.integers("classlabels_int64s", [])
    if not labels:
        raise ModelError("labels that are text are not supported")
    rows = x.shape[0] if x.rank > 1 else 1
    results = [((rows,), DType.I64), ((rows, len(labels)), DType.F32)]
    return whole_on_host(context, node, inputs, results)


def _zip_map(context: Context, node: Node, inputs: Inputs) -> Tensor:
    raise ModelError("dictionaries are not supported; export the model without them, as zipmap=False")


CLASSICAL: Mapping[str, Build] = {
    "ArrayFeatureExtractor": _array_feature_extractor,
    "Binarizer": _binarizer,
    "FeatureVectorizer": _feature_vectorizer,
    "Imputer": _imputer,
    "LabelEncoder": _label_encoder,
    "LinearClassifier": _linear_classifier,
    "LinearRegressor": _linear_regressor,
    "Normalizer": _normalizer,
    "OneHotEncoder": _one_hot_encoder,
    "Scaler": _scaler,
    "TreeEnsemble": on_host,
    "TreeEnsembleClassifier": _tree_classifier,
    "TreeEnsembleRegressor": _tree_regressor,
    "ZipMap": _zip_map,
}
