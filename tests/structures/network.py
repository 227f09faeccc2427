"""A network under construction: nodes added one by one, constants beside them, random weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tests.onnx_models import IR_VERSION, Array

MS = "com.microsoft"


@dataclass
class Network:
    """What has been added so far; every method that adds a node gives the name of its first result."""

    seed: int = 0
    opset: int = 21
    dtype: Any = np.float32
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: dict[str, Array] = field(default_factory=dict)
    inputs: list[onnx.ValueInfoProto] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._chance = np.random.default_rng(self.seed)

    def input(self, name: str, shape: Sequence[int | str], dtype: Any = None) -> str:
        """An input of the network, of its own dtype unless told."""
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype or self.dtype))
        self.inputs.append(helper.make_tensor_value_info(name, kind, list(shape)))
        return name

    def constant(self, array: Any, dtype: Any = None) -> str:
        """A constant as it is given."""
        name = f"c{len(self.weights)}"
        self.weights[name] = np.asarray(array, dtype)
        return name

    def integers(self, *numbers: int) -> str:
        """A row of integers."""
        return self.constant(list(numbers), np.int64)

    def weight(self, *shape: int, scale: float | None = None) -> str:
        """Random reals that keep the size of what they are multiplied with."""
        spread = scale if scale is not None else 1 / np.sqrt(shape[-2] if len(shape) > 1 else 1.0)
        return self.constant(self._chance.standard_normal(shape) * spread, self.dtype)

    def norm(self, size: int) -> str:
        """The factors of a norm, around one."""
        return self.constant(1 + 0.1 * self._chance.standard_normal(size), self.dtype)

    def add(self, op_type: str, *given: str, domain: str = "", outputs: int = 1, **attributes: Any) -> str:
        """One node of `outputs` results."""
        return self.several(op_type, *given, domain=domain, outputs=outputs, **attributes)[0]

    def several(
        self,
        op_type: str,
        *given: str,
        domain: str = "",
        outputs: int | Sequence[bool] = 1,
        **attributes: Any,
    ) -> list[str]:
        """One node, the names of its results; those told by False are left out and empty."""
        wanted = [True] * outputs if isinstance(outputs, int) else outputs
        base = f"{op_type.lower()}_{len(self.nodes)}"
        names = [f"{base}_{index}" if index else base for index in range(len(wanted))]
        made = [name if want else "" for name, want in zip(names, wanted, strict=True)]
        node = helper.make_node(op_type, list(given), made, name=base, domain=domain, **attributes)
        self.nodes.append(node)
        return made

    def model(self, outputs: Sequence[str]) -> onnx.ModelProto:
        """The network with these outputs."""
        graph = helper.make_graph(
            self.nodes,
            "network",
            self.inputs,
            [onnx.ValueInfoProto(name=name) for name in outputs],
            [numpy_helper.from_array(array, name) for name, array in self.weights.items()],
        )
        opsets = [helper.make_opsetid("", self.opset), helper.make_opsetid(MS, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)


def drawn_feeds(made: onnx.ModelProto, dims: Mapping[str, int], seed: int = 1) -> dict[str, Array]:
    """Arrays for the inputs: normal reals, small integers, ones for masks."""
    rng = np.random.default_rng(seed)
    feeds: dict[str, Array] = {}
    for info in made.graph.input:
        kind = info.type.tensor_type
        shape = [dims.get(dim.dim_param, dim.dim_value) for dim in kind.shape.dim]
        dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type)
        if np.issubdtype(dtype, np.floating):
            feeds[info.name] = rng.standard_normal(shape).astype(dtype)
        elif "mask" in info.name:
            feeds[info.name] = np.ones(shape, dtype)
        else:
            feeds[info.name] = rng.integers(0, 4, shape).astype(dtype)
    return feeds
