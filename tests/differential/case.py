"""A random model of one operator: what a family of cases draws, and the file and inputs that come of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias, TypeVar

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tests.onnx_models import IR_VERSION, Array

MS = "com.microsoft"
T = TypeVar("T")


@dataclass(frozen=True)
class Case:
    """A model and what to feed it.

    `tolerance` is of a value's largest magnitude, None for what its dtype is owed; `steps` is how far an
    integer may be off where the model rounds. `stand_in` is what onnxruntime runs instead, where it has no
    kernel for a form: another spelling of the same, with the same outputs.
    """

    model: onnx.ModelProto
    feeds: Mapping[str, Array]
    tolerance: float | None = None
    steps: int = 0
    stand_in: "Case | None" = None

    def __str__(self) -> str:
        return onnx.printer.to_text(self.model)


@dataclass
class Draw:
    """Seeded choices, with the names that a model's forms are made of."""

    chance: np.random.Generator

    def one_of(self, options: Sequence[T]) -> T:
        """One of `options`."""
        return options[int(self.chance.integers(len(options)))]

    def flag(self, share: float = 0.5) -> bool:
        """True with probability `share`."""
        return bool(self.chance.random() < share)

    def size(self, low: int, high: int) -> int:
        """An integer from low to high, both included."""
        return int(self.chance.integers(low, high + 1))

    def reals(self, *shape: int, dtype: Any = np.float32, scale: float = 1.0) -> Array:
        """Normal numbers."""
        return (scale * self.chance.standard_normal(shape)).astype(dtype)

    def positive(self, *shape: int, dtype: Any = np.float32, low: float = 0.5, high: float = 1.5) -> Array:
        """Numbers from low to high."""
        return self.chance.uniform(low, high, shape).astype(dtype)

    def integers(self, low: int, high: int, shape: Sequence[int], dtype: Any = np.int32) -> Array:
        """Integers from low to high, both included."""
        return self.chance.integers(low, high + 1, tuple(shape)).astype(dtype)


@dataclass
class Operator:
    """One node under construction: inputs in order, each fed, constant or left out."""

    op_type: str
    domain: str = MS
    opset: int = 21
    attributes: dict[str, Any] = field(default_factory=dict)
    inputs: list[str] = field(default_factory=list)
    feeds: dict[str, Array] = field(default_factory=dict)
    shapes: dict[str, list[str | int]] = field(default_factory=dict)
    constants: dict[str, onnx.TensorProto] = field(default_factory=dict)

    def feed(self, array: Array | None, names: Sequence[str | None] = ()) -> None:
        """The next input, a graph input, extents called `names` where those are given; None leaves it out."""
        self.inputs.append("" if array is None else f"in{len(self.inputs)}")
        if array is not None:
            self.feeds[self.inputs[-1]] = array
            self.shapes[self.inputs[-1]] = [
                name or extent for name, extent in zip(names or [None] * array.ndim, array.shape, strict=True)
            ]

    def hold(self, array: Array | onnx.TensorProto | None) -> None:
        """The next input, a constant of the model; None leaves it out."""
        self.inputs.append("" if array is None else f"in{len(self.inputs)}")
        if array is None:
            return
        held = array if isinstance(array, onnx.TensorProto) else numpy_helper.from_array(np.asarray(array))
        named = onnx.TensorProto()
        named.CopyFrom(held)
        named.name = self.inputs[-1]
        self.constants[named.name] = named

    def either(self, draw: Draw, array: Array | None, held: float = 0.5) -> None:
        """The next input, a constant with probability `held`."""
        if draw.flag(held):
            self.hold(array)
        else:
            self.feed(array)

    def case(
        self,
        outputs: Sequence[bool] | int = 1,
        dtypes: Mapping[int, Any] = MappingProxyType({}),
        **judged: Any,
    ) -> Case:
        """The model; outputs told by False are left out, `dtypes` are of those that nothing else tells."""
        wanted = [True] * outputs if isinstance(outputs, int) else list(outputs)
        while wanted and not wanted[-1]:
            wanted.pop()
        given = list(self.inputs)
        while given and not given[-1]:
            given.pop()
        names = [f"out{index}" if want else "" for index, want in enumerate(wanted)]
        item = helper.make_node(self.op_type, given, names, domain=self.domain, **self.attributes)
        infos = [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), self.shapes[n])
            for n, a in self.feeds.items()
        ]
        results = [onnx.ValueInfoProto(name=name) for name in names if name]
        for result in results:
            told = dtypes.get(int(result.name.removeprefix("out")))
            if told is not None:
                result.type.tensor_type.elem_type = helper.np_dtype_to_tensor_dtype(np.dtype(told))
        graph = helper.make_graph([item], "case", infos, results, list(self.constants.values()))
        opsets = [helper.make_opsetid("", self.opset), helper.make_opsetid(MS, 1)]
        return Case(
            helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION), self.feeds, **judged
        )


Family: TypeAlias = Callable[[Draw], Case]
"""Draws a model of one operator in any of its forms."""


def drawn(family: Family, name: str, seed: int, number: int) -> Case:
    """Case `number` of a family; the same for the same seed."""
    entropy = [seed, number, *name.encode()]
    return family(Draw(np.random.default_rng(entropy)))
