"""Mixtures of experts as exporters write them: every expert on every token, or each on its own tokens."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from tests.structures.network import MS, Network

FORMS = ("dense", "sparse", "fused", "fused, few bits")


@dataclass(frozen=True)
class Mixture:
    """A layer of experts behind a norm, its input added again."""

    form: str
    hidden: int = 32
    inner: int = 48
    experts: int = 4
    chosen: int = 2

    def model(self) -> onnx.ModelProto:
        """From x [tokens, hidden] to the same, and the router's scores."""
        net = Network(opset=18)
        x = net.input("x", ["tokens", self.hidden])
        normed = net.add("LayerNormalization", x, net.norm(self.hidden), axis=-1)
        scores = net.add("MatMul", normed, net.weight(self.hidden, self.experts))
        written = {"dense": self._dense, "sparse": self._sparse}.get(self.form, self._fused)
        return net.model([net.add("Add", x, written(net, normed, scores)), scores])

    def _routed(self, net: Network, scores: str) -> tuple[str, str]:
        """Shares and experts [tokens, chosen] of the softmax over the chosen."""
        best, experts = net.several("TopK", scores, net.integers(self.chosen), outputs=2, axis=-1)
        return net.add("Softmax", best, axis=-1), experts

    def _dense(self, net: Network, x: str, scores: str) -> str:
        """Shares scattered to all experts; one product of three dims each way."""
        shares, experts = self._routed(net, scores)
        nothing = net.add("Mul", scores, net.constant(0.0, np.float32))
        spread = net.add("ScatterElements", nothing, experts, shares, axis=1)
        gate, up = (net.weight(self.experts, self.hidden, self.inner) for _ in range(2))
        opened, linear = (net.add("Einsum", x, w, equation="th,ehf->tef") for w in (gate, up))
        opened = net.add("Mul", net.add("Mul", opened, net.add("Sigmoid", opened)), linear)
        down = net.weight(self.experts, self.inner, self.hidden)
        made = net.add("Einsum", opened, down, equation="tef,efh->teh")
        weighted = net.add("Mul", made, net.add("Unsqueeze", spread, net.integers(2)))
        return net.add("ReduceSum", weighted, net.integers(1), keepdims=0)

    def _sparse(self, net: Network, x: str, scores: str) -> str:
        """Each expert gathers the tokens that chose it and adds what it makes of them."""
        shares, experts = self._routed(net, scores)
        total = net.add("Mul", x, net.constant(0.0, np.float32))
        for expert in range(self.experts):
            here = net.add("Equal", experts, net.constant(expert, np.int64))
            places = net.add("NonZero", here)
            tokens, _ = net.several("Split", places, outputs=2, axis=0, num_outputs=2)
            tokens = net.add("Squeeze", tokens, net.integers(0))
            share = net.add("GatherND", shares, net.add("Transpose", places, perm=[1, 0]))
            rows = net.add("Gather", x, tokens, axis=0)
            gate, up = (net.add("MatMul", rows, net.weight(self.hidden, self.inner)) for _ in range(2))
            opened = net.add("Mul", net.add("Mul", gate, net.add("Sigmoid", gate)), up)
            made = net.add("MatMul", opened, net.weight(self.inner, self.hidden))
            made = net.add("Mul", made, net.add("Unsqueeze", share, net.integers(1)))
            index = net.add("Unsqueeze", tokens, net.integers(1))
            total = net.add("ScatterND", total, index, made, reduction="add")
        return total

    def _fused(self, net: Network, x: str, scores: str) -> str:
        """com.microsoft MoE and QMoE, gate and linear part in turns."""
        attributes: Any = {"k": self.chosen, "activation_type": "swiglu", "swiglu_fusion": 1}
        if self.form == "fused":
            first = net.weight(self.experts, 2 * self.inner, self.hidden, scale=0.2)
            second = net.weight(self.experts, self.hidden, self.inner, scale=0.2)
            given = [x, scores, first, "", second]
            return net.add("MoE", *given, domain=MS, normalize_routing_weights=1, **attributes)
        packed = []
        chance = np.random.default_rng(3)
        for rows, columns in ((2 * self.inner, self.hidden), (self.hidden, self.inner)):
            shape = (self.experts, rows, columns // 2)
            packed.append(net.constant(chance.integers(0, 256, shape), np.uint8))
            packed.append(net.constant(chance.uniform(0.01, 0.05, (self.experts, rows)), np.float32))
        given = [x, scores, *packed[:2], "", *packed[2:]]
        return net.add("QMoE", *given, domain=MS, expert_weight_bits=4, **attributes)
