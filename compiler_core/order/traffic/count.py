"""DRAM traffic of an order when the shared buffer holds only so many bytes; plain Python, the oracle.

Model: a tensor is resident or not, whole. Graph inputs start in DRAM; graph outputs are stored as they are
written. A kernel streams an operand that is not resident from DRAM, and may keep it; it writes a result into
the buffer, or to DRAM where there is no room. Room is made at the cost of the resident tensor whose next use
lies farthest ahead, if that is farther than the newcomer's own (Belady 1966, with bypass); it is stored first
unless DRAM has it. An operand that a kernel reads from the buffer stays there while it runs; a result written
in place takes the room of the operand it overwrites.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from tilewright.compiler_core.order.kernel_graph import GRAPH_INPUT, KernelGraph, live_profile


@dataclass(frozen=True)
class Traffic:
    """Bytes that cross the DRAM port; Every order moves `compulsory_bytes` at any capacity.
    `resident_bytes[step]` are in the buffer while the kernel of that step runs.
    """

    load_bytes: int
    store_bytes: int
    compulsory_bytes: int
    resident_bytes: tuple[int, ...] = field(repr=False)

    @property
    def total_bytes(self) -> int:
        """Loads and stores."""
        return self.load_bytes + self.store_bytes


def compulsory_bytes(graph: KernelGraph) -> int:
    """Graph inputs that anyone reads, once; graph outputs that a kernel writes, once."""
    return sum(
        tensor.bytes
        for tensor in graph.tensors
        if (tensor.consumers if tensor.producer == GRAPH_INPUT else tensor.is_output)
    )


def traffic_of(
    graph: KernelGraph, order: Sequence[int], capacity_bytes: int, streamed: Collection[int] = ()
) -> Traffic:
    """Traffic of `order` in `capacity_bytes`; with room for the order's peak it is compulsory.

    The tensors `streamed` are never resident, which may leave room for tensors that save more.
    UsageError when `order` is not a topological order.
    """
    live_profile(graph, order)
    walk = _Walk(graph, order, capacity_bytes, frozenset(streamed))
    resident_bytes = tuple(walk.run(kernel) for kernel in order)
    return Traffic(walk.load_bytes, walk.store_bytes, compulsory_bytes(graph), resident_bytes)


class _Walk:
    """The resident tensors, the tensors in DRAM, and the later steps that read each tensor."""

    def __init__(
        self, graph: KernelGraph, order: Sequence[int], capacity_bytes: int, streamed: frozenset[int]
    ) -> None:
        step_of = {kernel: step for step, kernel in enumerate(order)}
        self.graph = graph
        self.uses = [sorted((step_of[k] for k in t.consumers), reverse=True) for t in graph.tensors]
        self.in_dram = [tensor.producer == GRAPH_INPUT for tensor in graph.tensors]
        self.streamed = streamed
        self.resident: set[int] = set()
        self.room = capacity_bytes
        self.capacity_bytes = capacity_bytes
        self.load_bytes = self.store_bytes = 0

    def run(self, kernel: int) -> int:
        """Runs `kernel`; returns the bytes resident meanwhile."""
        operands, tensors = self.graph.operands[kernel], self.graph.tensors
        read_here = [t for t in operands if t in self.resident]
        self.load_bytes += sum(tensors[t].bytes for t in operands if t not in self.resident)
        host = next((t for t in self.graph.overwritable(kernel) if self._dies(t) and t in self.resident), -1)
        for t in operands:
            self.uses[t].pop()
        results = [t for t in self.graph.results[kernel] if self.uses[t]]
        for t in self.graph.results[kernel]:
            if tensors[t].is_output:
                self._store(t)
        newcomers = [t for t in operands if t not in self.resident and self.uses[t]]
        newcomers += [t for t in results if host < 0 or t in self.streamed]
        for t in sorted(newcomers, key=lambda t: (self.uses[t][-1], t)):
            admitted = t not in self.streamed and self._admit(t, pinned={*read_here, *results})
            if not admitted and not self.in_dram[t]:
                self._store(t)
        held = self.capacity_bytes - self.room
        for t in read_here:
            if not self.uses[t]:
                self._drop(t)
        if host >= 0:
            for t in results:
                if t not in self.streamed:
                    self.resident.add(t)
                    self.room -= tensors[t].bytes
        return held

    def _dies(self, tensor: int) -> bool:
        return len(self.uses[tensor]) == 1

    def _store(self, tensor: int) -> None:
        self.store_bytes += self.graph.tensors[tensor].bytes
        self.in_dram[tensor] = True

    def _drop(self, tensor: int) -> None:
        self.resident.remove(tensor)
        self.room += self.graph.tensors[tensor].bytes

    def _admit(self, newcomer: int, pinned: set[int]) -> bool:
        """Makes `newcomer` resident if there is room, or room can be made of later uses alone."""
        size, use = self.graph.tensors[newcomer].bytes, self.uses[newcomer][-1]
        later = [t for t in self.resident - pinned if self.uses[t][-1] > use]
        if self.room + sum(self.graph.tensors[t].bytes for t in later) < size:
            return False
        later.sort(key=lambda t: (self.uses[t][-1], self.in_dram[t], t))
        while self.room < size:
            victim = later.pop()
            if not self.in_dram[victim]:
                self._store(victim)
            self._drop(victim)
        self.resident.add(newcomer)
        self.room -= size
        return True
