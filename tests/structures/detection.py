"""A detector with its boxes chosen inside: three scales, a distribution an edge, and NonMaxSuppression."""

from dataclasses import dataclass

import numpy as np
import onnx

from tests.structures.network import Network


@dataclass(frozen=True)
class Yolo:
    """Sizes of a small one in the form of YOLOv8."""

    side: int = 64
    channels: int = 8
    classes: int = 5
    bins: int = 8
    most: int = 6

    def model(self) -> onnx.ModelProto:
        """From an image to the boxes that are left: [count, 4], their scores and their places."""
        net = Network(opset=17)
        image = net.input("images", [1, 3, self.side, self.side])
        c = self.channels
        x = self._conv(net, image, 3, c, stride=2)
        x = self._split_block(net, self._conv(net, x, c, 2 * c, stride=2), 2 * c)
        fine = self._split_block(net, self._conv(net, x, 2 * c, 4 * c, stride=2), 4 * c)
        coarse = self._pooled(net, self._conv(net, fine, 4 * c, 4 * c, stride=2), 4 * c)
        scales = net.constant([1, 1, 2, 2], np.float32)
        up = net.add(
            "Resize", coarse, "", scales, mode="nearest", coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )  # fmt: skip
        fine = self._split_block(
            net, self._conv(net, net.add("Concat", up, fine, axis=1), 8 * c, 4 * c, 1), 4 * c
        )
        down = net.add("Concat", self._conv(net, fine, 4 * c, 4 * c, stride=2), coarse, axis=1)
        coarse = self._conv(net, down, 8 * c, 4 * c, 1)
        return self._detected(net, [(fine, 8), (coarse, 16)])

    def _conv(self, net: Network, x: str, wide: int, out: int, side: int = 3, stride: int = 1) -> str:
        kernel = net.weight(out, wide, side, side, scale=1.5 / np.sqrt(wide * side * side))
        y = net.add("Conv", x, kernel, net.weight(out), pads=[side // 2] * 4, strides=[stride, stride])
        return net.add("Mul", y, net.add("Sigmoid", y))

    def _split_block(self, net: Network, x: str, channels: int) -> str:
        half = channels // 2
        first, second = net.several(
            "Split", self._conv(net, x, channels, channels, 1), net.integers(half, half), outputs=2, axis=1
        )
        inner = self._conv(net, self._conv(net, second, half, half), half, half)
        third = net.add("Add", second, inner)
        return self._conv(net, net.add("Concat", first, second, third, axis=1), 3 * half, channels, 1)

    def _pooled(self, net: Network, x: str, channels: int) -> str:
        """Maxima over ever larger windows beside each other."""
        parts = [self._conv(net, x, channels, channels // 2, 1)]
        for _ in range(3):
            pooled = net.add("MaxPool", parts[-1], kernel_shape=[5, 5], pads=[2] * 4, strides=[1, 1])
            parts.append(pooled)
        return self._conv(net, net.add("Concat", *parts, axis=1), 2 * channels, channels, 1)

    def _detected(self, net: Network, maps: list[tuple[str, int]]) -> onnx.ModelProto:
        c, bins = 4 * self.channels, self.bins
        flat = []
        centres, strides = [], []
        for x, stride in maps:
            edges = self._plain(net, self._conv(net, x, c, c), c, 4 * bins)
            scores = self._plain(net, self._conv(net, x, c, c), c, self.classes)
            both = net.add("Concat", edges, scores, axis=1)
            flat.append(net.add("Reshape", both, net.integers(1, 4 * bins + self.classes, -1)))
            line = (np.arange(self.side // stride) + 0.5).astype(np.float32)
            rows, columns = np.meshgrid(line, line, indexing="ij")
            centres.append(np.stack([columns.ravel(), rows.ravel()]))
            strides.append(np.full((1, line.size**2), stride, np.float32))
        all_of = net.add("Concat", *flat, axis=2)
        sizes = net.integers(4 * bins, self.classes)
        edges, scores = net.several("Split", all_of, sizes, outputs=2, axis=1)
        apart = net.add(
            "Transpose", net.add("Reshape", edges, net.integers(1, 4, bins, -1)), perm=[0, 2, 1, 3]
        )
        chances = net.add("Softmax", apart, axis=1)
        steps = net.constant(np.arange(bins).reshape(1, bins, 1, 1), np.float32)
        distances = net.add("Reshape", net.add("Conv", chances, steps), net.integers(1, 4, -1))
        near, far = net.several("Split", distances, net.integers(2, 2), outputs=2, axis=1)
        middle = net.constant(np.concatenate(centres, 1)[None], np.float32)
        scale = net.constant(np.concatenate(strides, 1), np.float32)
        corners = net.add("Concat", net.add("Sub", middle, near), net.add("Add", middle, far), axis=1)
        boxes = net.add("Transpose", net.add("Mul", corners, scale), perm=[0, 2, 1])
        likely = net.add("Sigmoid", scores)
        limits = net.constant(self.most, np.int64), *(net.constant([v], np.float32) for v in (0.5, 0.55))
        chosen = net.add("NonMaxSuppression", boxes, likely, *limits)
        parts = net.several("Split", chosen, net.integers(1, 1, 1), outputs=3, axis=1)
        place = net.add("Squeeze", parts[2], net.integers(1))
        left = net.add("Gather", net.add("Squeeze", boxes, net.integers(0)), place, axis=0)
        score = net.add("GatherND", likely, chosen)
        return net.model([left, score, chosen])

    def _plain(self, net: Network, x: str, wide: int, out: int) -> str:
        return net.add("Conv", x, net.weight(out, wide, 1, 1, scale=1 / np.sqrt(wide)), net.weight(out))
