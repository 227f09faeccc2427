"""Synthetic kernel graphs for benchmarks and tests: transformer training of any size, random DAGs."""

import numpy as np

from tilewright.compiler_core.order.kernel_graph import GRAPH_INPUT, KernelGraph, KernelTensor


class GraphBuilder:
    """Collects kernels in call order; a value is a tensor index."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.producers: list[int] = []
        self.readers: list[list[int]] = []
        self.in_place: list[bool] = []

    def value(self, size: int, producer: int = GRAPH_INPUT) -> int:
        """A tensor of `size` bytes; a graph input unless it has a producer."""
        self.sizes.append(size)
        self.producers.append(producer)
        self.readers.append([])
        return len(self.sizes) - 1

    def kernel(self, size: int, *operands: int, in_place: bool = False) -> int:
        """A kernel with one result of `size` bytes; 0: a kernel without a result, such as a weight update."""
        index = len(self.in_place)
        self.in_place.append(in_place)
        for operand in sorted(set(operands)):
            self.readers[operand].append(index)
        return self.value(size, index) if size else -1

    def graph(self, name: str, *outputs: int) -> KernelGraph:
        """The graph; `outputs` are values that stay live to the end."""
        tensors = tuple(
            KernelTensor(size, producer, tuple(readers), index in outputs)
            for index, (size, producer, readers) in enumerate(
                zip(self.sizes, self.producers, self.readers, strict=True)
            )
        )
        return KernelGraph(name, len(self.in_place), tensors, tuple(self.in_place))


def transformer_training(kernels: int, heads: int = 16, sequence: int = 256, width: int = 256) -> KernelGraph:
    """One training step of a decoder with per-head attention, as many layers as fit in about `kernels`.

    Forward saves what backward reads; each weight gradient ends in an update kernel that has no result.
    Sizes are those of float16 activations.
    """
    build = GraphBuilder()
    act = 2 * sequence * width
    head, scores, hidden, weight = act // heads, 2 * sequence * sequence, 4 * act, 2 * width * width
    per_layer = 9 * heads + 40
    layers = max(1, (kernels - 8) // per_layer)

    def project_back(saved: int, gradient: int, size: int, weight_bytes: int) -> int:
        """Backward of a projection: gradient of its input, then of its weight, then the update."""
        result = build.kernel(size, gradient)
        build.kernel(0, build.kernel(weight_bytes, saved, gradient))
        return result

    stream = build.kernel(act, build.value(4 * sequence))
    tape = []
    for _ in range(layers):
        norm1 = build.kernel(act, stream)
        query, key, value = (build.kernel(act, norm1) for _ in range(3))
        per_head = []
        for _ in range(heads):
            probabilities = build.kernel(scores, build.kernel(scores, query, key), in_place=True)
            per_head.append((probabilities, build.kernel(head, probabilities, value)))
        joined = build.kernel(act, *(context for _, context in per_head))
        middle = build.kernel(act, stream, build.kernel(act, joined), in_place=True)
        norm2 = build.kernel(act, middle)
        expanded = build.kernel(hidden, norm2)
        activated = build.kernel(hidden, expanded)
        tape.append((stream, norm1, query, key, value, per_head, joined, middle, norm2, expanded, activated))
        stream = build.kernel(act, middle, build.kernel(act, activated), in_place=True)
    final = build.kernel(act, stream)
    loss_gradient = build.kernel(8 * act, build.kernel(8 * act, final), in_place=True)
    gradient = project_back(final, loss_gradient, act, 8 * weight)
    for saved in reversed(tape):
        stream, norm1, query, key, value, per_head, joined, middle, norm2, expanded, activated = saved
        back = project_back(activated, gradient, hidden, 4 * weight)
        back = build.kernel(hidden, expanded, back, in_place=True)
        back = project_back(norm2, back, act, 4 * weight)
        gradient = build.kernel(act, gradient, build.kernel(act, middle, back), in_place=True)
        joined_back = project_back(joined, gradient, act, weight)
        query_parts, key_parts, value_parts = [], [], []
        for probabilities, _ in per_head:
            context_back = build.kernel(head, joined_back)
            value_parts.append(build.kernel(head, probabilities, context_back))
            scores_back = build.kernel(scores, value, context_back)
            scores_back = build.kernel(scores, probabilities, scores_back, in_place=True)
            query_parts.append(build.kernel(head, key, scores_back))
            key_parts.append(build.kernel(head, query, scores_back))
        norm_back = -1
        for parts in (query_parts, key_parts, value_parts):
            back = project_back(norm1, build.kernel(act, *parts), act, weight)
            norm_back = back if norm_back < 0 else build.kernel(act, norm_back, back, in_place=True)
        gradient = build.kernel(act, gradient, build.kernel(act, stream, norm_back), in_place=True)
    build.kernel(0, gradient)
    return build.graph(f"transformer_training_{len(build.in_place)}")


def random_graph(seed: int, max_kernels: int = 10) -> KernelGraph:
    """A random DAG of 1 to `max_kernels` kernels with dead results, several results, in-place updates."""
    rng = np.random.default_rng(seed)
    kernels = int(rng.integers(1, max_kernels + 1))
    density = float(rng.uniform(0.1, 0.6))
    largest = int(rng.choice([3, 10, 1000]))
    tensors = []
    producers = [GRAPH_INPUT] * int(rng.integers(0, 3))
    for kernel in range(kernels):
        producers += [kernel] * int(rng.choice([0, 1, 1, 1, 1, 2]))
    for producer in producers:
        readers = tuple(k for k in range(producer + 1, kernels) if rng.random() < density)
        size = int(rng.integers(0 if rng.random() < 0.1 else 1, largest + 1))
        tensors.append(KernelTensor(size, producer, readers, bool(rng.random() < 0.15)))
    in_place = tuple(bool(rng.random() < 0.4) for _ in range(kernels))
    return KernelGraph(f"random_{seed}", kernels, tuple(tensors), in_place)
