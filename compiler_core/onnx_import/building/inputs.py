"""The model's inputs: types, named dims, and dims whose name is an expression of other names."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import onnx

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.dims import Dim, symbol
from tilewright.compiler_core.onnx_import.building.builder import Tensor
from tilewright.compiler_core.onnx_import.building.node import printable
from tilewright.compiler_core.onnx_import.building.tensor_data import element_type
from tilewright.compiler_core.onnx_import.building.values import MAX_ELEMENTS, TensorSequence, Value

NewInput: TypeAlias = Callable[[str, tuple[Dim, ...], int], Tensor]
"""Makes an input of the Graph of a name, shape and ONNX element type."""
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z_0-9.]*")
_EXPRESSION = re.compile(r"\s*[A-Za-z_0-9.]+\s*([+*-]\s*[A-Za-z_0-9.]+\s*)+")


class DimNames:
    """Extents by the names a model gives them, with the user's bindings put in.

    `past+seq` beside dims called `past` and `seq` is their sum, not a third symbol.
    """

    def __init__(self, infos: Sequence[onnx.ValueInfoProto], bindings: Mapping[str, int]) -> None:
        self._names = {
            dim.dim_param
            for info in infos
            for dim in info.type.tensor_type.shape.dim
            if dim.HasField("dim_param")
        }
        self._bindings = bindings
        self.used: set[str] = set()
        for name, number in bindings.items():
            if number < 0:
                raise ModelError(f"dimension {name}={number} is negative; give a size of at least 0")

    def extent(
        self, dim: onnx.TensorShapeProto.Dimension, input_name: str, at: int, element: str = ""
    ) -> Dim:
        """One dim of an input: its number, its symbol or expression, or a symbol named after its place."""
        if dim.HasField("dim_value") and dim.dim_value >= 0:
            return dim.dim_value
        if dim.HasField("dim_value") and dim.dim_value < -1:
            raise ModelError(f"input {printable(input_name)} has a negative extent {dim.dim_value}")
        name = dim.dim_param
        if not any(character.isalnum() for character in name):
            return self.named(f"{input_name}_dim_{at}")
        if element:
            return self.named(f"{name}{element}")
        if _EXPRESSION.fullmatch(name):
            identifiers = _IDENTIFIER.findall(name)
            if identifiers and all(identifier in self._names for identifier in identifiers):
                return self._checked(name, self._sum(name))
        return self.named(name)

    def named(self, name: str) -> Dim:
        """The symbol `name`, or its number where the user gave one."""
        self.used.add(name)
        return self._bindings[name] if name in self._bindings else symbol(name)

    def _sum(self, expression: str) -> Dim:
        total: Dim = 0
        for part in re.findall(r"[+-]?[^+-]+", expression.replace(" ", "")):
            product: Dim = -1 if part.startswith("-") else 1
            for factor in part.lstrip("+-").split("*"):
                product = product * (int(factor) if factor.isdigit() else self.named(factor))
            total = total + product
        return total

    def _checked(self, name: str, extent: Dim) -> Dim:
        self.used.add(name)
        given = self._bindings.get(name)
        if given is not None and isinstance(extent, int) and extent != given:
            raise ModelError(
                f"dimension {name}={given} contradicts the other bindings, which make it {extent}"
            )
        if given is not None and not isinstance(extent, int):
            raise ModelError(f"dimension {name} is computed; bind the names it is made of instead")
        return extent


def model_input(info: onnx.ValueInfoProto, names: DimNames, new: NewInput) -> Value:
    """The value of a model's input, its tensors made by `new`; ModelError where its type is not supported.

    An optional is taken to be there. A sequence has as many elements as a dim called after it says, each an
    input of its own: `boxes` with --dim boxes_length=2 is `boxes[0]` and `boxes[1]`.
    """
    kind, name = info.type, info.name
    while kind.WhichOneof("value") == "optional_type":
        kind = kind.optional_type.elem_type
    if kind.WhichOneof("value") != "sequence_type":
        shape, elem_type = input_type(name, kind, names)
        return new(name, shape, elem_type)
    length = names.named(f"{name}_length")
    if not isinstance(length, int) or length > MAX_ELEMENTS:
        raise ModelError(
            f"input {printable(name)} is a sequence; say how many elements it has with"
            f" --dim {name}_length=NUMBER, at most {MAX_ELEMENTS}"
        )
    inner = kind.sequence_type.elem_type
    elements = []
    for index in range(length):
        shape, elem_type = input_type(f"{name}[{index}]", inner, names, f"[{index}]")
        elements.append(new(f"{name}[{index}]", shape, elem_type))
    return TensorSequence(tuple(elements), element_type(inner.tensor_type.elem_type, f"input {name}"))


def input_type(
    name: str, kind: onnx.TypeProto, names: DimNames, element: str = ""
) -> tuple[tuple[Dim, ...], int]:
    """Shape and ONNX element type of an input; ModelError where it is no tensor or has no rank.

    Named dims of an element of a sequence are told apart by `element`.
    """
    what = f"input {printable(name)}"
    which = kind.WhichOneof("value")
    if which != "tensor_type":
        raise ModelError(f"{what} is of kind {which or 'none'}; only dense tensors are supported")
    tensor = kind.tensor_type
    element_type(tensor.elem_type, what)
    if not tensor.HasField("shape"):
        raise ModelError(f"{what} has no rank; give the model a shape for it")
    shape = tuple(names.extent(dim, name, index, element) for index, dim in enumerate(tensor.shape.dim))
    return shape, tensor.elem_type
