"""A decoder of speech in one file for both of its uses: the first token, and one more after a past."""

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tests.onnx_models import IR_VERSION
from tests.structures.network import Network

KINDS = ("decoder.key", "decoder.value", "encoder.key", "encoder.value")
USE_CACHE = "use_cache_branch"
OPSET = 17


@dataclass(frozen=True)
class Decoder:
    """Sizes. `merged()` chooses by an input; `branch()` is one of the two as a model of its own."""

    layers: int = 2
    hidden: int = 16
    heads: int = 2
    words: int = 20
    most: int = 12

    def branch(self, past: bool) -> onnx.ModelProto:
        """The decoder with a past, or from the start."""
        net = Network(opset=OPSET, seed=3)
        ids = net.input("input_ids", ["batch", "tokens"], np.int64)
        heard = net.input("encoder_hidden_states", ["batch", "frames", self.hidden])
        caches = [
            net.input(
                f"past_key_values.{layer}.{kind}", ["batch", self.heads, extent, self.hidden // self.heads]
            )
            for layer in range(self.layers)
            for kind, extent in zip(KINDS, ("past", "past", "frames_past", "frames_past"), strict=True)
        ]
        x = self._embedded(net, ids, caches[0] if past else "")
        presents: list[str] = []
        for layer in range(self.layers):
            own = caches[4 * layer : 4 * layer + 4]
            x, made = self._layer(net, x, heard, own if past else [])
            presents += made
        logits = net.add("MatMul", self._normed(net, x), net.weight(self.hidden, self.words))
        names = dict(zip([logits, *presents], ["logits", *self.presents()], strict=True))
        for node in net.nodes:
            node.input[:] = [names.get(each, each) for each in node.input]
            node.output[:] = [names.get(each, each) for each in node.output]
        return net.model(list(names.values()))

    def merged(self) -> onnx.ModelProto:
        """Both under an If; weights lie outside, as exporters keep them."""
        with_past, plain = self.branch(past=True), self.branch(past=False)
        weights = {}
        branches = []
        for name, made in (("then", with_past), ("else", plain)):
            for tensor in made.graph.initializer:
                weights[f"{name}.{tensor.name}"] = numpy_helper.to_array(tensor)
            nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in made.graph.node]
            own = {tensor.name for tensor in made.graph.initializer}
            for node in nodes:
                node.input[:] = [f"{name}.{each}" if each in own else each for each in node.input]
            branches.append(helper.make_graph(nodes, name, [], list(made.graph.output)))
        outputs = ["logits", *self.presents()]
        choice = helper.make_node(
            "If", [USE_CACHE], outputs, then_branch=branches[0], else_branch=branches[1]
        )
        flag = helper.make_tensor_value_info(USE_CACHE, onnx.TensorProto.BOOL, [1])
        graph = helper.make_graph(
            [choice],
            "merged",
            [*plain.graph.input, flag],
            [onnx.ValueInfoProto(name=name) for name in outputs],
            [numpy_helper.from_array(array, name) for name, array in weights.items()],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)

    def presents(self) -> list[str]:
        """Names of the caches that come out."""
        return [f"present.{layer}.{kind}" for layer in range(self.layers) for kind in KINDS]

    def _embedded(self, net: Network, ids: str, past: str) -> str:
        """Words and the places they stand at, after a past of some length."""
        words = net.add("Gather", net.weight(self.words, self.hidden, scale=1.0), ids)
        places = net.weight(self.most, self.hidden, scale=1.0)
        tokens = net.add("Shape", ids, start=1, end=2)
        first = net.add("Shape", past, start=2, end=3) if past else net.integers(0)
        last = net.add("Add", first, tokens)
        return net.add("Add", words, net.add("Slice", places, first, last, net.integers(0)))

    def _layer(self, net: Network, x: str, heard: str, caches: list[str]) -> tuple[str, list[str]]:
        normed = self._normed(net, x)
        key, value = self._heads(net, normed), self._heads(net, normed)
        if caches:
            key = net.add("Concat", caches[0], key, axis=2)
            value = net.add("Concat", caches[1], value, axis=2)
        y = self._attention(net, normed, key, value, causal=not caches)
        x = net.add("Add", x, y)
        if caches:
            heard_key, heard_value = (net.add("Identity", each) for each in caches[2:])
        else:
            heard_key, heard_value = self._heads(net, heard), self._heads(net, heard)
        x = net.add("Add", x, self._attention(net, self._normed(net, x), heard_key, heard_value))
        wide = net.add("MatMul", self._normed(net, x), net.weight(self.hidden, 4 * self.hidden))
        half = net.add("Erf", net.add("Div", wide, net.constant(np.sqrt(2), np.float32)))
        gate = net.add(
            "Mul", net.add("Add", half, net.constant(1.0, np.float32)), net.constant(0.5, np.float32)
        )
        narrow = net.weight(4 * self.hidden, self.hidden)
        x = net.add("Add", x, net.add("MatMul", net.add("Mul", wide, gate), narrow))
        return x, [key, value, heard_key, heard_value]

    def _normed(self, net: Network, x: str) -> str:
        shift = net.weight(self.hidden, scale=0.1)
        return net.add("LayerNormalization", x, net.norm(self.hidden), shift, axis=-1)

    def _heads(self, net: Network, x: str) -> str:
        product = net.add("MatMul", x, net.weight(self.hidden, self.hidden))
        split = net.add("Reshape", product, net.integers(0, 0, self.heads, self.hidden // self.heads))
        return net.add("Transpose", split, perm=[0, 2, 1, 3])

    def _attention(self, net: Network, x: str, key: str, value: str, *, causal: bool = False) -> str:
        scale = net.constant((self.hidden // self.heads) ** -0.5, np.float32)
        scores = net.add("MatMul", net.add("Mul", self._heads(net, x), scale), self._turned(net, key))
        if causal:
            tokens = net.add("Shape", x, start=1, end=2)
            square = net.add("Concat", tokens, tokens, axis=0)
            ones = net.add("Expand", net.constant(-np.inf, np.float32), square)
            scores = net.add("Add", scores, net.add("Trilu", ones, net.constant(1, np.int64), upper=1))
        y = net.add("MatMul", net.add("Softmax", scores, axis=-1), value)
        flat = net.add("Reshape", net.add("Transpose", y, perm=[0, 2, 1, 3]), net.integers(0, 0, self.hidden))
        return net.add("MatMul", flat, net.weight(self.hidden, self.hidden))

    def _turned(self, net: Network, key: str) -> str:
        return net.add("Transpose", key, perm=[0, 1, 3, 2])
