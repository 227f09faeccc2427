"""Operators of the standard without a builder: inlined by their defining function, or whole on the host.

The standard defines many an operator by a function of simpler ones; those are inlined like a model's own
functions. Operators without such a function that real networks use run on the host, by the standard's
reference implementation (reference_ops.py).
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import onnx
from onnx import AttributeProto, checker, defs, helper, numpy_helper, shape_inference

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.dims import Dim, product_of
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.ir.ops import Array
from tilewright.compiler_core.onnx_import.building.builder import Tensor
from tilewright.compiler_core.onnx_import.building.context import (
    Build,
    Context,
    Inputs,
    optional,
    required,
)
from tilewright.compiler_core.onnx_import.building.node import Node, printable
from tilewright.compiler_core.onnx_import.building.tensor_data import DTYPES, element_type
from tilewright.compiler_core.onnx_import.reference_ops import LATE, ON_HOST

_ELEMENT_TYPES = {dtype: number for number, dtype in DTYPES.items()}


def function_of(node: Node, inputs: Inputs) -> tuple[onnx.FunctionProto, dict[str, AttributeProto]] | None:
    """The function that defines an operator, for inputs of these types, and the defaults of its attributes.

    None where the standard has none, or only one that draws random numbers.
    """
    schema = _schema(node)
    if schema is None or node.op_type in RANDOM:
        return None
    defaults = {name: a.default_value for name, a in schema.attributes.items() if a.default_value.type}
    if schema.has_function:
        return schema.function_body, defaults
    if not schema.has_context_dependent_function:
        return None
    proto, types = _typed(node, inputs)
    known = [opset for opset in schema.context_dependent_function_opset_versions if opset <= node.version]
    if not known:
        return None
    given = [types[name].SerializeToString() if name else b"" for name in proto.input]
    with _refusals():
        text = schema.get_context_dependent_function_with_opset_version(
            max(known), proto.SerializeToString(), given
        )
    return onnx.FunctionProto.FromString(text), defaults


@contextmanager
def _refusals() -> Iterator[None]:
    """An error of the standard's own code is an error of the model."""
    try:
        yield
    except (checker.ValidationError, shape_inference.InferenceError, RuntimeError, ValueError) as error:
        raise ModelError(f"its operands do not fit: {' '.join(str(error).split())[:200]}") from error


def _schema(node: Node) -> Any:
    try:
        return defs.get_schema(node.op_type, max_inclusive_version=node.version, domain=node.domain)
    except defs.SchemaError:
        return None


def _typed(
    node: Node, inputs: Inputs, names: dict[Dim, str] | None = None
) -> tuple[onnx.NodeProto, dict[str, onnx.TypeProto]]:
    """The node with its values named by place, and the types of its inputs; `names` gets those of symbols."""
    names = {} if names is None else names
    types = {}
    for index, tensor in enumerate(inputs):
        if tensor is not None:
            dims = [
                dim if isinstance(dim, int) else names.setdefault(dim, f"s{len(names)}")
                for dim in tensor.shape
            ]
            types[f"i{index}"] = helper.make_tensor_type_proto(_ELEMENT_TYPES[tensor.dtype], dims)
    given = [f"i{index}" if tensor is not None else "" for index, tensor in enumerate(inputs)]
    made = [f"o{index}" if name else "" for index, name in enumerate(node.outputs)]
    proto = helper.make_node(node.op_type, given, made, domain=node.domain)
    proto.attribute.extend(node.attributes[name] for name in sorted(node.attributes))
    return proto, types


def on_host(context: Context, node: Node, inputs: Inputs) -> list[Tensor]:
    """The operator whole, its results shaped as the standard infers, extents untold as symbols."""
    names: dict[Dim, str] = {}
    proto, types = _typed(node, inputs, names)
    schema = _schema(node)
    given = {attribute.name for attribute in proto.attribute}
    # Shape inference lacks some defaults.
    proto.attribute.extend(
        a.default_value for name, a in schema.attributes.items() if name not in given and a.default_value.type
    )
    contents = {f"i{index}": _known(context, tensor) for index, tensor in enumerate(inputs)}
    data = {name: numpy_helper.from_array(array) for name, array in contents.items() if array is not None}
    with _refusals():
        found = shape_inference.infer_node_outputs(
            schema, proto, types, data, opset_imports=[helper.make_opsetid(node.domain, node.version)]
        )
    symbols = {name: dim for dim, name in names.items()}
    results: list[tuple[Sequence[Dim], DType]] = []
    for index, name in enumerate(proto.output):
        if not name:
            continue
        kind = found[name].tensor_type
        dtype = element_type(kind.elem_type, f"output {index}")
        if kind.HasField("shape"):
            shape = [
                dim.dim_value if dim.HasField("dim_value") else symbols.get(dim.dim_param)
                for dim in kind.shape.dim
            ]
        else:
            rank = _rank(node, inputs)
            if rank is None:
                raise ModelError(
                    f"the rank of output {index} ({printable(node.outputs[index])}) depends on data"
                )
            shape = [None] * rank
        extents = [
            context.fresh(node, f"dim_{axis}") if dim is None else dim for axis, dim in enumerate(shape)
        ]
        results.append((extents, dtype))
    return _whole(context, node, inputs, results, proto)


def whole_on_host(
    context: Context, node: Node, inputs: Inputs, results: Sequence[tuple[Sequence[Dim], DType]]
) -> list[Tensor]:
    """The operator whole, where the standard does not infer the shapes of its `results`."""
    return _whole(context, node, inputs, results, _typed(node, inputs)[0])


def _whole(
    context: Context,
    node: Node,
    inputs: Inputs,
    results: Sequence[tuple[Sequence[Dim], DType]],
    proto: onnx.NodeProto,
) -> list[Tensor]:
    macs: Dim = 0
    if node.op_type == "DeformConv":
        macs = product_of(tuple(results[0][0])) * product_of(required(inputs, 1).shape[1:])
    text = proto.SerializeToString(deterministic=True).hex()
    return context.host(node, "standard", inputs, results, macs=macs, proto=text, version=node.version)


def _rank(node: Node, inputs: Inputs) -> int | None:
    """The rank of an operator's results where inference lacks it: the length of a parameter."""
    x, parameter = required(inputs, 0), optional(inputs, 1)
    count = None if parameter is None or parameter.rank != 1 else parameter.shape[0]
    if node.op_type in ("MelWeightMatrix", "STFT"):
        return 2 if node.op_type == "MelWeightMatrix" else 4
    if node.op_type.startswith("Reduce"):
        if node.integer("keepdims", 1):
            return x.rank
        if count == 0:
            return x.rank if node.integer("noop_with_empty_axes", 0) else 0
    if node.op_type in ("DFT", "MaxUnpool", "Resize", "Split", "Upsample"):
        return x.rank
    if not isinstance(count, int):
        return None
    return x.rank + count if node.op_type == "Unsqueeze" else x.rank - count


def _known(context: Context, tensor: Tensor | None) -> Array | None:
    content = context.builder.content(tensor)
    return content if content is not None and content.dtype != object else None


RANDOM = (
    "Bernoulli",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
)
MAY_BE_LATE = frozenset(LATE)
"""Operators with structured forms that run whole on the host where data decide a parameter."""
STANDARD: Mapping[str, Build] = dict.fromkeys((name for name in ON_HOST if "." not in name), on_host)
