"""Blocks of a diffusion U-Net: a time, residual convolutions, attention to a text, down and up again."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from tests.structures.network import Network


@dataclass(frozen=True)
class Unet:
    """Sizes; exported as frameworks do: group norms as instance norms over reshaped groups."""

    channels: int = 16
    groups: int = 4
    heads: int = 2
    text: int = 12
    size: int = 8

    def model(self) -> onnx.ModelProto:
        """From a noisy image, its time and a text to the noise in it."""
        net = Network(opset=17)
        image = net.input("sample", ["batch", 4, self.size, self.size])
        time = net.input("timestep", ["batch"], np.int64)
        text = net.input("text", ["batch", "words", self.text])
        c = self.channels
        step = self._time(net, time)
        first = self._conv(net, image, 4, c)
        x = self._attended(net, self._residual(net, first, step, c, c), text, c)
        low = self._conv(net, x, c, c, strides=[2, 2])
        low = self._attended(net, self._residual(net, low, step, c, 2 * c), text, 2 * c)
        scales = net.constant([1, 1, 2, 2], np.float32)
        up = net.add(
            "Resize", low, "", scales, mode="nearest", coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )  # fmt: skip
        up = net.add("Concat", self._conv(net, up, 2 * c, 2 * c), x, axis=1)
        y = self._residual(net, up, step, 3 * c, c)
        return net.model([self._conv(net, self._silu(net, self._group_norm(net, y, c)), c, 4)])

    def _conv(self, net: Network, x: str, wide: int, out: int, side: int = 3, **attributes: Any) -> str:
        kernel = net.weight(out, wide, side, side, scale=1 / np.sqrt(wide * side * side))
        pads = [side // 2] * 4
        return net.add("Conv", x, kernel, net.weight(out), kernel_shape=[side, side], pads=pads, **attributes)

    def _silu(self, net: Network, x: str) -> str:
        return net.add("Mul", x, net.add("Sigmoid", x))

    def _time(self, net: Network, time: str) -> str:
        """Sines and cosines of a time, then two products: [batch, 4 * channels]."""
        half = self.channels // 2
        speeds = net.constant(np.exp(-np.log(10000) * np.arange(half) / half)[None], np.float32)
        column = net.add("Cast", net.add("Unsqueeze", time, net.integers(1)), to=onnx.TensorProto.FLOAT)
        angles = net.add("Mul", column, speeds)
        both = net.add("Concat", net.add("Cos", angles), net.add("Sin", angles), axis=-1)
        wide = net.weight(self.channels, 4 * self.channels)
        y = self._silu(net, net.add("Gemm", both, wide, net.weight(4 * self.channels)))
        again = net.weight(4 * self.channels, 4 * self.channels)
        return net.add("Gemm", y, again, net.weight(4 * self.channels))

    def _group_norm(self, net: Network, x: str, channels: int) -> str:
        shape = net.add("Shape", x)
        grouped = net.add("Reshape", x, net.integers(0, self.groups, -1))
        ones, zeros = (
            net.constant(np.full(self.groups, value), np.float32) for value in (1.0, 0.0)
        )  # fmt: skip
        normed = net.add("InstanceNormalization", grouped, ones, zeros, epsilon=1e-5)
        back = net.add("Reshape", normed, shape)
        scale = net.constant(1 + 0.1 * np.arange(channels).reshape(-1, 1, 1) / channels, np.float32)
        return net.add("Add", net.add("Mul", back, scale), net.weight(channels, 1, 1, scale=0.1))

    def _residual(self, net: Network, x: str, step: str, wide: int, out: int) -> str:
        y = self._conv(net, self._silu(net, self._group_norm(net, x, wide)), wide, out)
        shift = net.add("Gemm", self._silu(net, step), net.weight(4 * self.channels, out), net.weight(out))
        y = net.add("Add", y, net.add("Unsqueeze", shift, net.integers(2, 3)))
        y = self._conv(net, self._silu(net, self._group_norm(net, y, out)), out, out)
        return net.add("Add", x if wide == out else self._conv(net, x, wide, out, side=1), y)

    def _attended(self, net: Network, x: str, text: str, channels: int) -> str:
        """Attention of places to each other, then to the text, then a gated pair of products."""
        shape = net.add("Shape", x)
        y = self._conv(net, self._group_norm(net, x, channels), channels, channels, side=1)
        flat = net.add("Reshape", y, net.integers(0, channels, -1))
        tokens = net.add("Transpose", flat, perm=[0, 2, 1])
        normed = self._layer_norm(net, tokens, channels)
        tokens = net.add("Add", self._attention(net, normed, normed, channels, channels), tokens)
        normed = self._layer_norm(net, tokens, channels)
        tokens = net.add("Add", self._attention(net, normed, text, channels, self.text), tokens)
        tokens = net.add("Add", self._gated(net, self._layer_norm(net, tokens, channels), channels), tokens)
        y = net.add("Reshape", net.add("Transpose", tokens, perm=[0, 2, 1]), shape)
        return net.add("Add", self._conv(net, y, channels, channels, side=1), x)

    def _layer_norm(self, net: Network, x: str, size: int) -> str:
        return net.add("LayerNormalization", x, net.norm(size), net.weight(size, scale=0.1), axis=-1)

    def _attention(self, net: Network, x: str, seen: str, channels: int, wide: int) -> str:
        size = channels // self.heads

        def heads(source: str, rows: int) -> str:
            product = net.add("MatMul", source, net.weight(rows, channels))
            split = net.add("Reshape", product, net.integers(0, -1, self.heads, size))
            return net.add("Transpose", split, perm=[0, 2, 1, 3])

        q, k, v = heads(x, channels), heads(seen, wide), heads(seen, wide)
        scores = net.add("MatMul", q, net.add("Transpose", k, perm=[0, 1, 3, 2]))
        scores = net.add("Mul", scores, net.constant(1 / np.sqrt(size), np.float32))
        y = net.add("MatMul", net.add("Softmax", scores, axis=-1), v)
        y = net.add("Reshape", net.add("Transpose", y, perm=[0, 2, 1, 3]), net.integers(0, -1, channels))
        return net.add("Add", net.add("MatMul", y, net.weight(channels, channels)), net.weight(channels))

    def _gated(self, net: Network, x: str, channels: int) -> str:
        """A product times a GELU of another; sliced out of one, as exporters do."""
        inner = 4 * channels
        wide = net.add("Add", net.add("MatMul", x, net.weight(channels, 2 * inner)), net.weight(2 * inner))
        ends = [net.integers(index) for index in (0, inner, 2 * inner)]
        last = net.integers(2)
        value = net.add("Slice", wide, ends[0], ends[1], last)
        gate = net.add("Slice", wide, ends[1], ends[2], last)
        erf = net.add("Erf", net.add("Div", gate, net.constant(np.sqrt(2), np.float32)))
        half = net.add(
            "Mul", net.add("Add", erf, net.constant(1.0, np.float32)), net.constant(0.5, np.float32)
        )
        y = net.add("Mul", value, net.add("Mul", gate, half))
        return net.add("Add", net.add("MatMul", y, net.weight(inner, channels)), net.weight(channels))
