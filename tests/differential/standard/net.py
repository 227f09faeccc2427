"""A random model under construction: nodes one after the other, each of what is known of the value before."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import onnx
from onnx import TensorProto, defs, helper, numpy_helper, shape_inference

from tests.differential.case import Case, Draw
from tests.onnx_models import Array

OPSETS = (11, 12, 13, 15, 17, 18, 19, 21, 22, 23, 24, 25, 26)
SYMBOLIC = 0.3
"""The share of models whose inputs have extents without a value."""
MOST_EXTENT = 6
MOST_ELEMENTS = 4096
_TENSOR = "tensor("
_NUMPY: dict[str, Any] = {
    "float": np.float32,
    "double": np.float64,
    "float16": np.float16,
    "bfloat16": helper.tensor_dtype_to_np_dtype(TensorProto.BFLOAT16),
    "int64": np.int64,
    "int32": np.int32,
    "int16": np.int16,
    "int8": np.int8,
    "uint64": np.uint64,
    "uint32": np.uint32,
    "uint16": np.uint16,
    "uint8": np.uint8,
    "bool": np.bool_,
}
LIKELY = ("float", "float", "float", "float", "double", "float16", "int64", "int32")
"""Types that networks have more often than the others."""


def extent_name(name: str, dim: int) -> str:
    """What a dim of an input is called in models whose extents have no value."""
    return f"{name}_{dim}"


class NoFormError(Exception):
    """The operator has no form that takes the value at hand."""


@lru_cache(maxsize=4096)
def allowed(op_type: str, opset: int, place: int = 0) -> tuple[np.dtype[Any], ...]:
    """The element types that an input of an operator may have, more likely ones more often."""
    try:
        schema = defs.get_schema(op_type, max_inclusive_version=opset)
    except defs.SchemaError:
        raise NoFormError from None
    given = schema.inputs[min(place, len(schema.inputs) - 1)]
    # Sorted: a schema keeps them in a set, whose order differs from process to process.
    names = sorted(t.removeprefix(_TENSOR).rstrip(")") for t in given.types if t.startswith(_TENSOR))
    known = [name for name in names if name in _NUMPY]
    often = [name for name in LIKELY if name in known]
    return tuple(np.dtype(_NUMPY[name]) for name in (*often, *known))


@lru_cache(maxsize=4096)
def _exists(op_type: str, opset: int) -> bool:
    """Whether an opset has the operator."""
    try:
        defs.get_schema(op_type, max_inclusive_version=opset)
    except defs.SchemaError:
        return False
    return True


@dataclass(frozen=True)
class Value:
    """A value of the model: its name, extents and type."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def rank(self) -> int:
        """Number of dims."""
        return len(self.shape)

    @property
    def is_real(self) -> bool:
        """Whether elements are floats."""
        return self.dtype.kind == "f" or self.dtype.name == "bfloat16"


@dataclass
class Net:
    """Nodes, inputs and constants so far; `given` is the value that the next operator is to take first."""

    draw: Draw
    opset: int
    given: Value | None = None
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    feeds: dict[str, Array] = field(default_factory=dict)
    constants: dict[str, Array] = field(default_factory=dict)
    steps: int = 0
    tolerance: float | None = None

    def version(self, op_type: str) -> int:
        """Since which opset the operator is as it is at the model's."""
        return defs.get_schema(op_type, max_inclusive_version=self.opset).since_version

    def shape(self, low: int = 1, high: int = 4) -> tuple[int, ...]:
        """Random extents, between `low` and `high` of them."""
        return tuple(self.draw.size(1, MOST_EXTENT) for _ in range(self.draw.size(low, high)))

    def first(
        self,
        op_type: str,
        shape: Sequence[int] | None = None,
        dtypes: Sequence[Any] | None = None,
        **how: Any,
    ) -> Value:
        """The first operand: what there is where it fits, else an input of the model.

        NoFormError where what there is has another type, or another shape than one asked for.
        """
        types = allowed(op_type, self.opset) if dtypes is None else tuple(map(np.dtype, dtypes))
        if self.given is not None:
            value, self.given = self.given, None
            if value.dtype not in types or (shape is not None and tuple(shape) != value.shape):
                raise NoFormError
            return value
        return self.feed(
            self.numbers(shape if shape is not None else self.shape(), self.draw.one_of(types), **how)
        )

    def ranked(
        self, op_type: str, low: int, high: int, dtypes: Sequence[Any] | None = None, **how: Any
    ) -> Value:
        """A first operand of at least `low` and at most `high` dims."""
        if self.given is not None and not low <= self.given.rank <= high:
            raise NoFormError
        return self.first(op_type, None if self.given is not None else self.shape(low, high), dtypes, **how)

    def numbers(self, shape: Sequence[int], dtype: Any, least: float = -5, most: float = 9) -> Array:
        """Elements of a type: reals about zero, whole numbers from least to most, truth values."""
        kind = np.dtype(dtype)
        if kind == np.bool_:
            return self.draw.chance.random(tuple(shape)) < 0.5
        if kind.kind in "iu":
            lowest = max(least, 0) if kind.kind == "u" else least
            return self.draw.integers(int(lowest), int(most), shape, kind)
        return self.draw.reals(*shape, dtype=np.float32, scale=1.5).astype(kind)

    def feed(self, array: Array) -> Value:
        """An input of the model."""
        name = f"in{len(self.feeds)}"
        self.feeds[name] = np.asarray(array)
        return Value(name, self.feeds[name].shape, self.feeds[name].dtype)

    def hold(self, array: Any, dtype: Any = None) -> Value:
        """A constant of the model."""
        name = f"const{len(self.constants)}"
        self.constants[name] = np.asarray(array, dtype=dtype)
        return Value(name, self.constants[name].shape, self.constants[name].dtype)

    def either(self, array: Array, held: float = 0.5) -> Value:
        """A constant with probability `held`, else an input."""
        return self.hold(array) if self.draw.flag(held) else self.feed(array)

    def parameter(self, array: Any, dtype: Any = np.int64) -> Value:
        """A parameter of an operator: nearly always a constant."""
        return self.hold(array, dtype) if self.draw.flag(0.9) else self.feed(np.asarray(array, dtype=dtype))

    def add(
        self,
        op_type: str,
        inputs: Sequence[Value | None],
        outputs: Any = 1,
        **attributes: Any,
    ) -> None:
        """One node; `outputs` says how many, or which, of its results are there."""
        if not _exists(op_type, self.opset):
            raise NoFormError
        wanted = [True] * outputs if isinstance(outputs, int) else list(outputs)
        at = len(self.nodes)
        names = [f"v{at}_{number}" if want else "" for number, want in enumerate(wanted)]
        given = ["" if value is None else value.name for value in inputs]
        while given and not given[-1]:
            given.pop()
        self.nodes.append(helper.make_node(op_type, given, names, **attributes))

    def results(self) -> list[Value]:
        """The results of the last node whose extents inference knows."""
        inferred = shape_inference.infer_shapes(self.model(), data_prop=True)
        known = {info.name: info.type.tensor_type for info in inferred.graph.output}
        found = []
        for name in self.nodes[-1].output:
            kind = known.get(name)
            if not name or kind is None or not kind.HasField("shape"):
                continue
            dims = kind.shape.dim
            if all(dim.HasField("dim_value") for dim in dims) and kind.elem_type:
                dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type)
                found.append(Value(name, tuple(dim.dim_value for dim in dims), dtype))
        return found

    def model(self, symbolic: bool = False) -> onnx.ModelProto:
        """The model, the results of the last node its outputs; extents of inputs have names if `symbolic`."""
        infos = [
            helper.make_tensor_value_info(
                name,
                helper.np_dtype_to_tensor_dtype(array.dtype),
                [extent_name(name, dim) for dim in range(array.ndim)] if symbolic else array.shape,
            )
            for name, array in self.feeds.items()
        ]
        outputs = [onnx.ValueInfoProto(name=name) for name in self.nodes[-1].output if name]
        held = [numpy_helper.from_array(array, name) for name, array in self.constants.items()]
        graph = helper.make_graph(self.nodes, "case", infos, outputs, held)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=10)

    def case(self) -> Case:
        """The model and its inputs."""
        symbolic = self.draw.flag(SYMBOLIC)
        return Case(self.model(symbolic), self.feeds, tolerance=self.tolerance, steps=self.steps)


Step: TypeAlias = Callable[[Net], None]
"""Adds one operator in any of its forms; NoFormError where none takes the value at hand."""


def axis_of(net: Net, value: Value) -> int:
    """A dim of a value, perhaps counted from the end."""
    if not value.rank:
        raise NoFormError
    axis = net.draw.size(0, value.rank - 1)
    return axis - value.rank if net.draw.flag(0.3) else axis


def axes_of(net: Net, value: Value, least: int = 0) -> list[int]:
    """Some dims of a value, perhaps counted from the end."""
    chosen = [axis for axis in range(value.rank) if net.draw.flag(0.5)]
    if len(chosen) < least:
        chosen = list(range(value.rank))[: max(least, 1)]
    return [axis - value.rank if net.draw.flag(0.3) else axis for axis in chosen]


def broadcasting(net: Net, shape: Sequence[int]) -> tuple[int, ...]:
    """Extents that broadcast to `shape`: some of its dims, some of them 1."""
    kept = list(shape[net.draw.size(0, len(shape)) :]) if net.draw.flag(0.3) else list(shape)
    return tuple(1 if net.draw.flag(0.25) else extent for extent in kept)
