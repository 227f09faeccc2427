"""A Mamba block: a causal convolution, steps that tokens themselves choose, a state scanned along them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper

from tests.structures.network import Network

SCAN, LOOP = "scan", "loop"
FORMS = (SCAN, LOOP)


@dataclass(frozen=True)
class Mamba:
    """Sizes; the state is scanned by an operator Scan or by a Loop that gathers a token a turn."""

    form: str = SCAN
    layers: int = 2
    hidden: int = 16
    inner: int = 24
    states: int = 4
    rank: int = 3
    window: int = 4

    def model(self) -> onnx.ModelProto:
        """From [batch, length, hidden] to as many."""
        net = Network(opset=18)
        x = net.input("x", ["batch", "length", self.hidden])
        for _ in range(self.layers):
            x = net.add("Add", x, self._mixed(net, self._normed(net, x)))
        return net.model([self._normed(net, x)])

    def _normed(self, net: Network, x: str) -> str:
        """A root mean square norm in its parts."""
        squares = net.add("Pow", x, net.constant(2.0, np.float32))
        mean = net.add("ReduceMean", squares, net.integers(-1))
        root = net.add("Sqrt", net.add("Add", mean, net.constant(1e-5, np.float32)))
        return net.add("Mul", net.add("Div", x, root), net.norm(self.hidden))

    def _silu(self, net: Network, x: str) -> str:
        return net.add("Mul", x, net.add("Sigmoid", x))

    def _mixed(self, net: Network, x: str) -> str:
        inner = self.inner
        both = net.add("MatMul", x, net.weight(self.hidden, 2 * inner))
        u, gate = net.several("Split", both, outputs=2, axis=-1, num_outputs=2)
        u = self._silu(net, self._convolved(net, u))
        told = net.add("MatMul", u, net.weight(inner, self.rank + 2 * self.states))
        sizes = net.integers(self.rank, self.states, self.states)
        step, b, c = net.several("Split", told, sizes, outputs=3, axis=-1)
        step = net.add("Add", net.add("MatMul", step, net.weight(self.rank, inner)), net.weight(inner))
        step = net.add("Softplus", step)
        kept = net.add("Unsqueeze", step, net.integers(3))
        decay = net.constant(-np.tile(np.arange(1, self.states + 1), (inner, 1)), np.float32)
        kept = net.add("Exp", net.add("Mul", kept, decay))
        fed = net.add("Unsqueeze", net.add("Mul", step, u), net.integers(3))
        fed = net.add("Mul", fed, net.add("Unsqueeze", b, net.integers(2)))
        states = self._scanned(net, kept, fed)
        seen = net.add("MatMul", states, net.add("Unsqueeze", c, net.integers(3)))
        y = net.add("Squeeze", seen, net.integers(3))
        y = net.add("Add", y, net.add("Mul", u, net.norm(inner)))
        return net.add("MatMul", net.add("Mul", y, self._silu(net, gate)), net.weight(inner, self.hidden))

    def _convolved(self, net: Network, u: str) -> str:
        """Each channel over the last tokens: padded on both sides, the end cut off again."""
        turned = net.add("Transpose", u, perm=[0, 2, 1])
        length = net.add("Shape", turned, start=2, end=3)
        kernel = net.weight(self.inner, 1, self.window, scale=0.4)
        pads = [self.window - 1] * 2
        y = net.add("Conv", turned, kernel, net.weight(self.inner), group=self.inner, pads=pads)
        y = net.add("Slice", y, net.integers(0), length, net.integers(2))
        return net.add("Transpose", y, perm=[0, 2, 1])

    def _scanned(self, net: Network, kept: str, fed: str) -> str:
        """Every state [batch, length, inner, states]: what is kept of the last and what is fed."""
        shape = net.add("Shape", kept)
        batch = net.add("Gather", shape, net.integers(0), axis=0)
        start = net.add(
            "ConstantOfShape", net.add("Concat", batch, net.integers(self.inner, self.states), axis=0)
        )
        state = helper.make_tensor_value_info("state", 1, None)
        after = [helper.make_tensor_value_info(name, 1, None) for name in ("next", "shown")]
        step = [
            helper.make_node("Mul", ["state", "kept"], ["left"]),
            helper.make_node("Add", ["left", "fed"], ["next"]),
            helper.make_node("Identity", ["next"], ["shown"]),
        ]
        if self.form == SCAN:
            rows = [helper.make_tensor_value_info(name, 1, None) for name in ("kept", "fed")]
            body = helper.make_graph(step, "step", [state, *rows], after)
            axes: dict[str, Any] = {"scan_input_axes": [1, 1], "scan_output_axes": [1]}
            made = net.several("Scan", start, kept, fed, outputs=2, body=body, num_scan_inputs=2, **axes)
            return made[1]
        turn = helper.make_tensor_value_info("turn", onnx.TensorProto.INT64, [])
        goes_on = helper.make_tensor_value_info("on", onnx.TensorProto.BOOL, [])
        still = helper.make_tensor_value_info("still", onnx.TensorProto.BOOL, [])
        rows = [
            helper.make_node("Gather", [source, "turn"], [name], axis=1)
            for source, name in ((kept, "kept"), (fed, "fed"))
        ]
        still_on = helper.make_node("Identity", ["on"], ["still"])
        body = helper.make_graph([*rows, *step, still_on], "step", [turn, goes_on, state], [still, *after])
        length = net.add("Squeeze", net.add("Gather", shape, net.integers(1), axis=0))
        made = net.several("Loop", length, net.constant(True), start, outputs=2, body=body)
        return net.add("Transpose", made[1], perm=[1, 0, 2, 3])
