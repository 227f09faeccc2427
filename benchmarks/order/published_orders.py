"""The published table of memory plans, its networks built from shapes alone.

arXiv 2001.03288 (Pisarchyk and Lee 2020), float32 activations in MiB, without the network's input and
its final output. A plan meets the bound when order and arena both do.
"""

from typing import Any, TypeAlias

from benchmarks.order.synthetic_graphs import GraphBuilder
from tilewright.compiler_core.lowering.kernel_order import least_peak
from tilewright.compiler_core.lowering.memory.allocate import allocate
from tilewright.compiler_core.order.checker import check_plan
from tilewright.compiler_core.order.kernel_graph import KernelGraph

MIB = 1 << 20
Image: TypeAlias = tuple[int, int, int, int]
"""Tensor (-1: the network's input), height, width, channels."""


class _Images(GraphBuilder):
    """Kernels over images."""

    def image(self, height: int, width: int, channels: int, *parts: Image) -> Image:
        operands = [part[0] for part in parts if part[0] >= 0]
        return self.kernel(4 * height * width * channels, *operands), height, width, channels

    def conv(self, x: Image, channels: int, stride: int = 1, valid: int = 0) -> Image:
        """A window over `x` with padding, or without and `valid` wide: convolution, depthwise or pooling."""
        height, width = ((side - valid) // stride + 1 if valid else -(-side // stride) for side in x[1:3])
        return self.image(height, width, channels, x)

    def chain(self, x: Image, *channels: int) -> Image:
        for each in channels:
            x = self.conv(x, each)
        return x

    def joined(self, *parts: Image) -> Image:
        return self.image(parts[0][1], parts[0][2], sum(part[3] for part in parts), *parts)


def mobilenet_v1(
    share: float = 1.0, height: int = 224, width: int = 224, stride_at_end: int = 2
) -> KernelGraph:
    """MobileNet v1 (Howard et al. 2017) with a classifier, or PoseNet's heads where the end has no stride."""
    build = _Images()
    x: Image = build.conv((-1, height, width, 3), int(32 * share), 2)
    last = (1024, stride_at_end), (1024, 1)
    for channels, stride in (
        (64, 1),
        (128, 2),
        (128, 1),
        (256, 2),
        (256, 1),
        (512, 2),
        *[(512, 1)] * 5,
        *last,
    ):
        x = build.conv(build.conv(x, x[3], stride), int(channels * share))
    if stride_at_end == 1:
        for _ in (17, 34, 64, 1):  # heat maps, offsets, displacements: the final outputs
            build.kernel(0, x[0])
        return build.graph("PoseNet")
    build.kernel(0, build.chain(build.image(1, 1, x[3], x), 1001, 1001)[0])
    return build.graph("MobileNet v1")


def mobilenet_v2(share: float = 1.0, side: int = 224, dense: bool = False) -> KernelGraph:
    """MobileNet v2 (Sandler et al. 2018); `dense`: DeepLab v3 on it, output stride 8 (Chen et al. 2017)."""
    build = _Images()
    x: Image = build.conv((-1, side, side, 3), int(32 * share), 2)
    stage = (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    )
    reduced = 2
    for expand, channels, blocks, first_stride in stage:
        for block in range(blocks):
            stride = first_stride if block == 0 else 1
            if dense and stride == 2:
                stride = 1 if reduced >= 8 else 2
                reduced *= 2
            wide = x if expand == 1 else build.conv(x, expand * x[3])
            narrow = build.conv(build.conv(wide, wide[3], stride), int(channels * share))
            whole = block > 0 and x[1:] == narrow[1:]
            x = build.image(*narrow[1:], x, narrow) if whole else narrow
    if dense:
        pooled = build.conv(build.image(1, 1, x[3], x), 256)
        spread = build.image(x[1], x[2], 256, pooled)
        x = build.chain(build.joined(spread, build.conv(x, 256)), 256, 21)
        build.kernel(0, x[0])
        return build.graph("DeepLab v3")
    x = build.image(1, 1, 1280, build.conv(x, 1280))
    build.kernel(0, build.chain(x, 1001)[0])
    return build.graph("MobileNet v2")


def inception_v3() -> KernelGraph:
    """Inception v3 at 299 x 299 (Szegedy et al. 2016)."""
    build = _Images()
    x: Image = build.conv((-1, 299, 299, 3), 32, 2, valid=3)
    x = build.conv(build.conv(build.conv(x, 32, valid=3), 64), 64, 2, valid=3)
    x = build.conv(build.conv(build.conv(x, 80), 192, valid=3), 192, 2, valid=3)
    for pooled in (32, 64, 64):
        branches = ((64,), (48, 64), (64, 96, 96), (x[3], pooled))
        x = build.joined(*(build.chain(x, *each) for each in branches))
    tail = build.conv(build.chain(x, 64, 96), 96, 2, valid=3)
    x = build.joined(build.conv(x, 384, 2, valid=3), tail, build.conv(x, x[3], 2, valid=3))
    for inner in (128, 160, 160, 192):
        towers = [[192], [inner, inner, 192], [inner] * 4 + [192], [x[3], 192]]
        x = build.joined(*(build.chain(x, *each) for each in towers))
    heads = (build.chain(x, 192), build.chain(x, 192, 192, 192))
    sides = [build.conv(head, channels, 2, valid=3) for head, channels in zip(heads, (320, 192), strict=True)]
    x = build.joined(*sides, build.conv(x, x[3], 2, valid=3))
    for _ in range(2):
        forks = [build.chain(x, 384), build.chain(x, 448, 384)]
        pairs = [build.conv(fork, 384) for fork in forks for _ in range(2)]
        x = build.joined(build.chain(x, 320), *pairs, build.chain(x, x[3], 192))
    build.kernel(0, build.chain(build.image(1, 1, x[3], x), 1001)[0])
    return build.graph("Inception v3")


PUBLISHED = {
    "MobileNet v1": 4.594,
    "MobileNet v2": 5.742,
    "Inception v3": 7.914,
    "PoseNet": 6.271,
    "DeepLab v3": 4.320,
}
"""Lower bounds in MiB. The best published plan meets all but DeepLab's, where it takes 4.653."""


def published_graphs() -> tuple[KernelGraph, ...]:
    """The five networks of PUBLISHED, in its order."""
    posenet = mobilenet_v1(0.75, 353, 257, stride_at_end=1)
    return mobilenet_v1(), mobilenet_v2(), inception_v3(), posenet, mobilenet_v2(0.5, 257, dense=True)


def published_row(graph: KernelGraph) -> dict[str, Any]:
    """Solve, check, allocate, beside the published bound; `met`: to its last printed digit."""
    plan = least_peak(graph)
    check_plan(graph, plan)
    arena_mib = allocate(graph, plan.order).arena_bytes / MIB
    published_mib = PUBLISHED[graph.name]
    return {
        "graph": graph.name,
        "kernels": graph.kernels,
        "peak_mib": round(plan.peak_bytes / MIB, 4),
        "bound_mib": round(plan.bound_bytes / MIB, 4),
        "arena_mib": round(arena_mib, 4),
        "published_mib": published_mib,
        "status": plan.status,
        "met": abs(arena_mib - published_mib) <= 0.0006,
    }
