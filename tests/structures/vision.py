"""The vision tower of a multimodal model: patches, rotary embeddings in two dims, windows, a merger."""

from dataclasses import dataclass

import numpy as np
import onnx

from tests.structures.network import Network


@dataclass(frozen=True)
class Vision:
    """Sizes; patches are of `channels` channels, `side` by `side`, merged two by two at the end."""

    layers: int = 1
    hidden: int = 32
    heads: int = 2
    inner: int = 64
    channels: int = 3
    side: int = 4
    out: int = 24

    def model(self) -> onnx.ModelProto:
        """From flat patches [patches, pixels], their rows and columns and their window to merged tokens."""
        net = Network(opset=18)
        pixels = net.input("pixels", ["patches", self.channels * self.side**2])
        places = net.input("places", ["patches", 2], np.int64)
        window = net.input("window", ["patches"], np.int64)
        x = self._patches(net, pixels)
        cosines, sines = self._angles(net, places)
        masked = self._mask(net, window)
        for _ in range(self.layers):
            y = self._attended(net, self._normed(net, x), (cosines, sines), masked)
            x = net.add("Add", x, y)
            x = net.add("Add", x, self._expanded(net, self._normed(net, x)))
        return net.model([self._merged(net, x)])

    def _patches(self, net: Network, pixels: str) -> str:
        """A convolution whose kernel is a patch."""
        shape = net.integers(-1, self.channels, self.side, self.side)
        images = net.add("Reshape", pixels, shape)
        kernel = net.weight(self.hidden, self.channels, self.side, self.side, scale=0.2)
        maps = net.add("Conv", images, kernel, strides=[self.side, self.side])
        return net.add("Reshape", maps, net.integers(-1, self.hidden))

    def _angles(self, net: Network, places: str) -> tuple[str, str]:
        """Cosines and sines [patches, 1, size]: half of the angles are of the row, half of the column."""
        size = self.hidden // self.heads
        frequencies = 1 / 10000 ** (np.arange(0, size // 2, 2) / (size // 2))
        table = net.constant(np.arange(16)[:, None] * frequencies, np.float32)
        turned = net.add("Flatten", net.add("Gather", table, places, axis=0), axis=1)
        whole = net.add("Unsqueeze", net.add("Concat", turned, turned, axis=1), net.integers(1))
        return net.add("Cos", whole), net.add("Sin", whole)

    def _mask(self, net: Network, window: str) -> str:
        """[patches, patches]: minus infinity between windows."""
        rows, columns = (net.add("Unsqueeze", window, net.integers(index)) for index in (1, 0))
        same = net.add("Equal", rows, columns)
        return net.add("Where", same, net.constant(0.0, np.float32), net.constant(-np.inf, np.float32))

    def _normed(self, net: Network, x: str) -> str:
        shift = net.constant(np.zeros(self.hidden), np.float32)
        return net.add("LayerNormalization", x, net.norm(self.hidden), shift, axis=-1, epsilon=1e-6)

    def _attended(self, net: Network, x: str, angles: tuple[str, str], masked: str) -> str:
        size = self.hidden // self.heads
        packed = net.add("Gemm", x, net.weight(self.hidden, 3 * self.hidden), net.weight(3 * self.hidden))
        split = net.add("Reshape", packed, net.integers(-1, 3, self.heads, size))
        parts = net.add("Transpose", split, perm=[1, 0, 2, 3])
        q, k, v = (net.add("Gather", parts, net.constant(index, np.int64), axis=0) for index in range(3))
        q, k = (self._turned(net, part, angles) for part in (q, k))
        q, v = (net.add("Transpose", part, perm=[1, 0, 2]) for part in (q, v))
        scores = net.add("MatMul", q, net.add("Transpose", k, perm=[1, 2, 0]))
        scores = net.add("Mul", scores, net.constant(1 / np.sqrt(size), np.float32))
        weights = net.add("Softmax", net.add("Add", scores, masked), axis=-1)
        y = net.add("Transpose", net.add("MatMul", weights, v), perm=[1, 0, 2])
        flat = net.add("Reshape", y, net.integers(-1, self.hidden))
        return net.add("Gemm", flat, net.weight(self.hidden, self.hidden), net.weight(self.hidden))

    def _turned(self, net: Network, x: str, angles: tuple[str, str]) -> str:
        low, high = net.several("Split", x, outputs=2, axis=2, num_outputs=2)
        swapped = net.add("Concat", net.add("Neg", high), low, axis=2)
        return net.add("Add", net.add("Mul", x, angles[0]), net.add("Mul", swapped, angles[1]))

    def _expanded(self, net: Network, x: str) -> str:
        wide = net.add("Gemm", x, net.weight(self.hidden, self.inner), net.weight(self.inner))
        gate = net.add("Sigmoid", net.add("Mul", wide, net.constant(1.702, np.float32)))
        narrow = net.weight(self.inner, self.hidden)
        return net.add("Gemm", net.add("Mul", wide, gate), narrow, net.weight(self.hidden))

    def _merged(self, net: Network, x: str) -> str:
        """Four neighbours side by side, then two products."""
        width = 4 * self.hidden
        beside = net.add("Reshape", self._normed(net, x), net.integers(-1, width))
        wide = net.add("Gemm", beside, net.weight(width, width), net.weight(width))
        half = net.add("Mul", wide, net.constant(np.sqrt(0.5), np.float32))
        gate = net.add("Add", net.add("Erf", half), net.constant(1.0, np.float32))
        opened = net.add("Mul", net.add("Mul", wide, gate), net.constant(0.5, np.float32))
        return net.add("Gemm", opened, net.weight(width, self.out), net.weight(self.out))
