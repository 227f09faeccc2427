"""The least peak of a small kernel graph by dynamic programming over all down-sets: the solver's oracle."""

from tilewright.compiler_core.order.kernel_graph import GRAPH_INPUT, KernelGraph


def least_peak(graph: KernelGraph) -> int:
    """Minimum over all topological orders of the peak live bytes; meant for some ten kernels."""
    inputs = sum(t.bytes for t in graph.tensors if t.producer == GRAPH_INPUT)
    best = {frozenset[int](): (inputs, inputs)}
    for _ in range(graph.kernels):
        grown: dict[frozenset[int], tuple[int, int]] = {}
        for done, (live, peak) in best.items():
            for kernel in set(range(graph.kernels)) - done:
                operands = [graph.tensors[t] for t in graph.operands[kernel]]
                if any(t.producer not in done and t.producer != GRAPH_INPUT for t in operands):
                    continue
                after = done | {kernel}
                dying = [t for t in operands if not t.is_output and after.issuperset(t.consumers)]
                written = graph.result_bytes[kernel]
                in_place = graph.in_place[kernel] and any(t.bytes >= written for t in dying)
                peak_here = max(peak, live + (0 if in_place else written))
                kept = [graph.tensors[t] for t in graph.results[kernel]]
                live_after = live - sum(t.bytes for t in dying)
                live_after += sum(t.bytes for t in kept if t.consumers or t.is_output)
                if after not in grown or peak_here < grown[after][1]:
                    grown[after] = (live_after, peak_here)
        best = grown
    return best[frozenset(range(graph.kernels))][1]
