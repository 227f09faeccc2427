"""com.microsoft DynamicQuantizeLSTM: an LSTM with products of integers, inputs quantized as they come."""

from collections.abc import Mapping
from dataclasses import dataclass

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.index_map import axis_index, constant_index
from tilewright.compiler_core.onnx_import.building.builder import Tensor
from tilewright.compiler_core.onnx_import.building.context import Build, Context, Inputs, optional, required
from tilewright.compiler_core.onnx_import.building.node import Node
from tilewright.compiler_core.onnx_import.operators.quantized import dynamically_quantized, integer_to_float
from tilewright.compiler_core.onnx_import.operators.recurrent import check_shapes, recurrence_attributes
from tilewright.compiler_core.onnx_import.operators.recurrent_steps import structured
from tilewright.compiler_core.onnx_import.operators.views import slice_view


@dataclass(frozen=True)
class _Quantized:
    """Integers [directions, size, gates * hidden], a scale and a zero point a direction or a column of it."""

    integers: Tensor
    scale: Tensor
    zero: Tensor


@dataclass(frozen=True)
class _IntegerProducts:
    """Products with quantized weights: the whole input is quantized at once, a state at each step."""

    context: Context
    weights: _Quantized
    recurrent: _Quantized

    def ahead(self, x: Tensor, direction: int) -> Tensor:
        """[.., columns] of [.., size]."""
        return self._product(x, self.weights, direction, 0, None)

    def back(self, state: Tensor, direction: int, first: int, count: int) -> Tensor:
        """[batch, count] of a state [batch, hidden]."""
        return self._product(state, self.recurrent, direction, first, count)

    def _product(self, x: Tensor, by: _Quantized, direction: int, first: int, count: int | None) -> Tensor:
        builder = self.context.builder
        whole = by.integers.shape
        exprs = [constant_index(direction), axis_index(0), axis_index(1)]
        integers = builder.view(by.integers, whole[1:], exprs)
        parts = []
        for vector in (by.scale, by.zero):
            row = [constant_index(direction), *[axis_index(index) for index in range(vector.rank - 1)]]
            parts.append(builder.view(vector, vector.shape[1:], row))
        if count is not None and count != whole[2]:
            integers = slice_view(builder, integers, 1, first, count)
            parts = [slice_view(builder, part, 0, first, count) if part.rank else part for part in parts]
        left, scale, zero = dynamically_quantized(self.context, x)
        return integer_to_float(self.context, [left, integers, scale, parts[0], zero, parts[1]])


def _dynamic_quantize_lstm(context: Context, node: Node, inputs: Inputs) -> list[Tensor]:
    builder = context.builder
    weights = _Quantized(required(inputs, 1), required(inputs, 8), required(inputs, 9))
    recurrent = _Quantized(required(inputs, 2), required(inputs, 10), required(inputs, 11))
    if weights.integers.rank != 3 or recurrent.integers.rank != 3:
        raise ModelError("W and R must have rank 3")
    # The standard's LSTM has them the other way round.
    turned = [builder.transpose(part.integers, (0, 2, 1)) for part in (weights, recurrent)]
    operands = [required(inputs, 0), *turned, *(optional(inputs, index) for index in range(3, 8))]
    check_shapes(context, node, operands, 4, 2)
    attributes = recurrence_attributes(node, turned[1].shape[2])
    products = _IntegerProducts(context, weights, recurrent)
    as_loop = structured(context, node, operands, "lstm", attributes, products)
    if as_loop is None:
        raise ModelError("rows of their own lengths (sequence_lens) are not supported beside integers")
    return as_loop


QUANTIZED_RECURRENT: Mapping[str, Build] = {"DynamicQuantizeLSTM": _dynamic_quantize_lstm}
