"""Groups that are alike are cut out of a network once: the others take the first one's Workload.

Alike means: the same ops on values of the same kinds in the same places, read in the same way, in the same
order. That is narrower than equal digests, and much cheaper to see.
"""

from collections.abc import Hashable, Mapping, Sequence

from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.ir.layouts import Layout
from tilewright.compiler_core.ir.workload import Kernel, Level, kernel_of, stored_values


class KernelCutter:
    """Cuts groups out of one network."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._first: dict[Hashable, tuple[Kernel, Mapping[int, int], Mapping[int, int]]] = {}

    def kernel(
        self, members: Sequence[int], levels: Mapping[int, Level], layouts: Mapping[int, Layout]
    ) -> Kernel:
        """The group `members` as a Kernel, whose values lie where `levels` and `layouts` say: `kernel_of`."""
        ops = sorted(members)
        key, values = self._outline(ops, levels, layouts)
        if key not in self._first:
            kernel = kernel_of(self._graph, members, levels, layouts)
            at_op = {op: place for place, op in enumerate(ops)}
            self._first[key] = kernel, values, at_op
            return kernel
        first, first_values, first_ops = self._first[key]
        value_at, mine = dict(enumerate(values)), first_values
        return Kernel(
            first.workload,
            tuple(value_at[mine[value]] for value in first.values),
            tuple(ops[first_ops[op]] for op in first.ops),
            first.origins,
        )

    def _outline(
        self, ops: Sequence[int], levels: Mapping[int, Level], layouts: Mapping[int, Layout]
    ) -> tuple[Hashable, Mapping[int, int]]:
        """All that a group's Workload depends on, and the places of its values by first use."""
        graph, at = self._graph, dict[int, int]()
        steps = []
        for op in map(graph.ops.__getitem__, ops):
            reads = tuple((at.setdefault(each.value, len(at)), each.exprs, each.pad) for each in op.operands)
            result = at.setdefault(op.result, len(at))
            body = None if op.body is None else id(op.body)
            steps.append((op.kind, op.domain, op.axis_kinds, op.attributes, reads, result, body))
        stored = set(stored_values(graph, ops))
        kinds = tuple(
            (
                graph.values[value],
                value in graph.constants,
                value in stored,
                levels.get(value),
                layouts.get(value),
            )
            for value in at
        )
        return (tuple(steps), kinds), at
