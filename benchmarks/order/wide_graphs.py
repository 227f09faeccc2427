"""Kernel graphs with freedom of order, from shapes alone: what the traffic bench runs on.

Sizes are activations in float16. Every kernel is one fused convolution, matrix product or sum.
"""

import numpy as np

from benchmarks.order.synthetic_graphs import GraphBuilder
from tilewright.compiler_core.order.kernel_graph import KernelGraph

BYTES = 2


def per_head_attention(heads: int = 16, sequence: int = 1024, width: int = 1024) -> KernelGraph:
    """Self-attention, a kernel per head and step, all heads abreast as an exporter writes them."""
    build = GraphBuilder()
    whole, head, scores = BYTES * sequence * width, BYTES * sequence * width // heads, BYTES * sequence**2
    stream = build.value(whole)
    query, key, value = (build.kernel(whole, stream) for _ in range(3))
    parts = [[build.kernel(head, each) for _ in range(heads)] for each in (query, key, value)]
    products = [build.kernel(scores, q, k) for q, k in zip(parts[0], parts[1], strict=True)]
    shares = [build.kernel(scores, each, in_place=True) for each in products]
    contexts = [build.kernel(head, share, v) for share, v in zip(shares, parts[2], strict=True)]
    out = build.kernel(whole, build.kernel(whole, *contexts))
    return build.graph(f"attention_h{heads}_t{sequence}", build.kernel(whole, stream, out, in_place=True))


def random_wiring(seed: int, kernels: int = 32, neighbours: int = 4, rewired: float = 0.75) -> KernelGraph:
    """A stage of RandWire (Xie et al. 2019): a Watts-Strogatz ring, its edges turned from lower to higher."""
    rng = np.random.default_rng(seed)
    size = BYTES * 14 * 14 * 156
    links = {
        (node, (node + step) % kernels) for node in range(kernels) for step in range(1, neighbours // 2 + 1)
    }
    for tail, tip in sorted(links):
        if rng.random() < rewired:
            free = [n for n in range(kernels) if n != tail and not {(tail, n), (n, tail)} & links]
            links = links - {(tail, tip)} | {(tail, int(rng.choice(free)))}
    edges = {(min(link), max(link)) for link in links}
    build = GraphBuilder()
    stem, values = build.value(4 * size), list[int]()
    for node in range(kernels):
        operands = [values[tail] for tail, tip in sorted(edges) if tip == node]
        values.append(build.kernel(size, *(operands or [stem])))
    ends = [values[node] for node in range(kernels) if all(tail != node for tail, _ in edges)]
    return build.graph(f"random_wiring_{kernels}_{seed}", build.kernel(size, *ends))


def amoebanet_cells(cells: int = 6, channels: int = 36, side: int = 32) -> KernelGraph:
    """Normal cells: five pairwise sums over the two cells before, joined (Real et al. 2019, AmoebaNet-A)."""
    build = GraphBuilder()
    size = BYTES * side * side * channels
    older = newer = build.kernel(size, build.value(size))
    for _ in range(cells):
        state = [build.kernel(size, older), build.kernel(size, newer)]
        for left, right in ((0, 1), (0, 0), (1, 2), (3, 1), (4, 2)):
            sides = [build.kernel(size, build.kernel(size, state[index])) for index in (left, right)]
            state.append(build.kernel(size, *sides, in_place=True))
        older, newer = newer, build.kernel(4 * size, *state[3:])
    return build.graph(f"amoebanet_cells_{cells}", newer)


def dense_block(layers: int = 16, growth: int = 32, channels: int = 64, side: int = 28) -> KernelGraph:
    """DenseNet's block (Huang et al. 2017): each layer reads the results of all before it."""
    build = GraphBuilder()
    size = BYTES * side * side
    values = [build.value(size * channels)]
    for _ in range(layers):
        narrowed = build.kernel(4 * growth * size, *values)
        values.append(build.kernel(growth * size, narrowed))
    return build.graph(
        f"dense_block_{layers}", build.kernel(size * (channels + layers * growth) // 2, *values)
    )


def nested_unet(depth: int = 4, channels: int = 32, side: int = 256) -> KernelGraph:
    """U-Net++ (Zhou et al. 2018): node (i, j) reads (i, 0..j-1) and (i + 1, j - 1), two convolutions each."""
    build = GraphBuilder()
    sizes = [BYTES * (side >> level) ** 2 * (channels << level) for level in range(depth + 1)]
    nodes: dict[tuple[int, int], int] = {}

    def block(level: int, *operands: int) -> int:
        return build.kernel(sizes[level], build.kernel(sizes[level], *operands))

    nodes[0, 0] = block(0, build.value(BYTES * side * side * 3))
    for level in range(1, depth + 1):
        nodes[level, 0] = block(level, build.kernel(sizes[level - 1] // 4, nodes[level - 1, 0]))
    for column in range(1, depth + 1):
        for level in range(depth + 1 - column):
            wider = build.kernel(2 * sizes[level + 1], nodes[level + 1, column - 1])
            nodes[level, column] = block(level, wider, *(nodes[level, j] for j in range(column)))
    heads = [build.kernel(BYTES * side * side, nodes[0, column]) for column in range(1, depth + 1)]
    return build.graph(f"nested_unet_{depth}", *heads)
