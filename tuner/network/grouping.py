"""Which ops run together: neighbouring groups are merged while the merged kernel is cheaper than its parts.

    (conv, relu) 4.6 us, (conv, relu) 4.9 us   ->   (conv, relu, conv, relu) 5.4 us: one launch less

A merge that does not pay is kept with its reason, so that a report can say why a neighbour was not fused.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.ir.workload import is_remade
from tilewright.compiler_core.transforms.fuse import Group, in_data_order, merged

Price = Callable[[Group], float]
Edge = tuple[int, int]
MOST_OPS = 64


class NotFused(StrEnum):
    """Why two neighbouring groups stay apart."""

    ILLEGAL = "not a legal group"
    CAPACITY = "no tile of both fits"
    COST = "slower than its parts"


@dataclass(frozen=True)
class Boundary:
    """Two neighbouring groups, by position, that stay apart; prices in us of the parts and of the whole."""

    producer: int
    consumer: int
    reason: NotFused
    parts_us: float
    whole_us: float | None
    whole: Group | None = None


@dataclass(frozen=True)
class Grouping:
    """Groups in data order, their summed price in us, and the boundaries left between neighbours."""

    groups: tuple[Group, ...]
    price_us: float
    boundaries: tuple[Boundary, ...]


def merge_while_it_pays(
    graph: Graph, groups: Sequence[Group], price: Price, most_ops: int = MOST_OPS
) -> Grouping:
    """Merge the neighbours whose union saves most, again and again, until no merge saves anything.

    No union is larger than `most_ops`.
    """
    merging = _Merging(graph, groups, price, most_ops)
    while (edge := merging.best_edge()) is not None:
        merging.merge(edge)
    return merging.result()


def as_they_are(graph: Graph, groups: Sequence[Group], price: Price) -> Grouping:
    """`groups` unchanged, with what merging neighbours would cost."""
    return _Merging(graph, groups, price).result(tuple(groups))


class _Merging:
    """Live groups by number, who reads whom, and what each possible merge would save."""

    def __init__(self, graph: Graph, groups: Sequence[Group], price: Price, most_ops: int = MOST_OPS) -> None:
        self.graph = graph
        self.most_ops = most_ops
        self.price = price
        self.groups = dict(enumerate(groups))
        self.us = {number: price(group) for number, group in self.groups.items()}
        self.home = {
            at: number for number, group in self.groups.items() for at in group if not is_remade(graph, at)
        }
        self.readers: dict[int, set[int]] = {number: set() for number in self.groups}
        for number in self.groups:
            for source in self._sources(number):
                self.readers[source].add(number)
        self.unions: dict[Edge, tuple[Group, float] | NotFused] = {}
        for producer, readers in self.readers.items():
            for consumer in sorted(readers):
                self._weigh((producer, consumer))

    def _sources(self, number: int) -> set[int]:
        """The groups that one reads from."""
        graph = self.graph
        found = {
            self.home[above]
            for at in self.groups[number]
            for access in graph.ops[at].operands
            if (above := graph.producer.get(access.value)) is not None and above in self.home
        }
        return found - {number}

    def _weigh(self, edge: Edge) -> None:
        producer, consumer = edge
        union = merged(self.graph, self.groups[producer], self.groups[consumer])
        if union is None or len(union) > self.most_ops or self._detour(edge):
            self.unions[edge] = NotFused.ILLEGAL
        else:
            self.unions[edge] = (union, self.price(union))

    def _detour(self, edge: Edge) -> bool:
        """Whether a way leads through other groups: merged, these and the union would need each other."""
        producer, consumer = edge
        pending = [reader for reader in self.readers[producer] if reader != consumer]
        seen = set(pending)
        while pending:
            for reader in self.readers[pending.pop()]:
                if reader == consumer:
                    return True
                if reader not in seen:
                    seen.add(reader)
                    pending.append(reader)
        return False

    def _saving(self, edge: Edge) -> float:
        union = self.unions[edge]
        return (
            float("-inf") if isinstance(union, NotFused) else self.us[edge[0]] + self.us[edge[1]] - union[1]
        )

    def best_edge(self) -> Edge | None:
        """The merge that saves most; one that later merges have opened a detour for is none any more."""
        while self.unions:
            best = max(self.unions, key=lambda edge: (self._saving(edge), edge))
            if self._saving(best) <= 0.0:
                return None
            if not self._detour(best):
                return best
            self.unions[best] = NotFused.ILLEGAL
        return None

    def merge(self, edge: Edge) -> None:
        """The consumer takes the producer in; every merge with either is weighed anew."""
        producer, consumer = edge
        union = self.unions[edge]
        assert not isinstance(union, NotFused), "an illegal merge saves nothing"
        self.groups[consumer], self.us[consumer] = union
        del self.groups[producer], self.us[producer]
        self.home = {at: consumer if number == producer else number for at, number in self.home.items()}
        readers = self.readers.pop(producer) | self.readers[consumer]
        for others in self.readers.values():
            if producer in others:
                others.remove(producer)
                others.add(consumer)
        self.readers[consumer] = readers - {consumer}
        for others_number, others in self.readers.items():
            others.discard(others_number)
        self.unions = {other: union for other, union in self.unions.items() if not set(other) & set(edge)}
        for reader in sorted(self.readers[consumer]):
            self._weigh((consumer, reader))
        for source in sorted(number for number, others in self.readers.items() if consumer in others):
            self._weigh((source, consumer))

    def result(self, ordered: tuple[Group, ...] | None = None) -> Grouping:
        """The groups, in data order where none is given."""
        if ordered is None:
            ordered = in_data_order(self.graph, [self.groups[number] for number in sorted(self.groups)])
        assert ordered is not None, "a merge with a detour is never made"
        place = {group: at for at, group in enumerate(ordered)}
        boundaries = []
        for (producer, consumer), union in sorted(self.unions.items()):
            parts_us = self.us[producer] + self.us[consumer]
            reason, whole, whole_us = NotFused.ILLEGAL, None, None
            if not isinstance(union, NotFused):
                whole, whole_us = union[0], union[1] if union[1] < float("inf") else None
                reason = NotFused.CAPACITY if whole_us is None else NotFused.COST
            ends = place[self.groups[producer]], place[self.groups[consumer]]
            boundaries.append(Boundary(*ends, reason, parts_us, whole_us, whole))
        boundaries.sort(key=lambda boundary: (boundary.consumer, boundary.producer))
        return Grouping(ordered, sum(self.us.values()), tuple(boundaries))
