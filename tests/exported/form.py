"""A model as an exporter writes it: its text, the extents it is run with, and its random weights."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper, parser

from tests.onnx_models import Array

WEIGHT = "w_"
"""What the names of inputs begin with that become weights."""
MS = "com.microsoft"


@dataclass(frozen=True)
class Form:
    """`text` is a graph in ONNX's own notation; inputs whose names begin with `w_` become random weights.

    Names in `fed` have values of their own, as have some weights; other reals are normal, integers small.
    `sizes` are the extents of runs, one after the other, `given` the inputs that are bound for the import,
    and `changed` is done to the finished model.
    """

    text: str
    opset: int = 17
    sizes: tuple[Mapping[str, int], ...] = ({},)
    fed: Mapping[str, Any] = field(default_factory=dict)
    given: tuple[str, ...] = ()
    tolerance: float = 1e-5
    ir_version: int = 8
    domains: Mapping[str, int] = field(default_factory=dict)
    changed: Callable[[onnx.ModelProto], None] = lambda made: None

    def model(self) -> onnx.ModelProto:
        """The finished model."""
        opsets = {"": self.opset, MS: 1, "ai.onnx.ml": 3, **self.domains}
        told = ", ".join(f'"{domain}": {version}' for domain, version in opsets.items())
        made = parser.parse_model(f"<ir_version: {self.ir_version}, opset_import: [{told}]>\n{self.text}")
        infos = list(made.graph.input)
        del made.graph.input[:]
        for index, info in enumerate(infos):
            if not info.name.startswith(WEIGHT):
                made.graph.input.append(info)
                continue
            made.graph.initializer.append(numpy_helper.from_array(self._drawn(info, {}, index), info.name))
        self.changed(made)
        return made

    def feeds(self, made: onnx.ModelProto, sizes: Mapping[str, int]) -> dict[str, Array]:
        """Arrays for the inputs at these extents."""
        held = {tensor.name for tensor in made.graph.initializer}
        return {
            info.name: self._drawn(info, sizes, index)
            for index, info in enumerate(made.graph.input)
            if info.name not in held
        }

    def _drawn(self, info: onnx.ValueInfoProto, sizes: Mapping[str, int], index: int) -> Array:
        kind = info.type.tensor_type
        dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type)
        if info.name in self.fed:
            told = self.fed[info.name]
            return np.asarray(told(sizes) if callable(told) else told, dtype)
        shape = [sizes[dim.dim_param] if dim.dim_param else dim.dim_value for dim in kind.shape.dim]
        chance = np.random.default_rng([index, *info.name.encode()])
        if dtype.kind == "b":
            return np.asarray(chance.random(shape) < 0.5)
        if dtype.kind in "iu":
            return chance.integers(0, 4, shape).astype(dtype)
        spread = 1.0 if not info.name.startswith(WEIGHT) else 1 / np.sqrt(max(1, np.prod(shape[1:])))
        return (spread * chance.standard_normal(shape)).astype(dtype)
