"""Grouping of ops: neighbouring groups are merged while the merged kernel is cheaper than its parts.

    (conv, relu) 4.6 us, (conv, relu) 4.9 us   ->   (conv, relu, conv, relu) 5.4 us: one launch less

A merge that does not pay is kept with its reason, so that a report can say why a neighbour was not fused.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from heapq import heappop, heappush
from itertools import count
from math import isinf
from operator import itemgetter

from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.ir.workload import is_remade
from tilewright.compiler_core.transforms.fuse import Group, in_data_order, merged

Price = Callable[[Group], float]
Edge = tuple[int, int]
MOST_OPS = 64
MOST_NEIGHBOURS = 12
"""A group of more neighbours than this is not weighed anew with all of them each time it grows."""


class NotFused(StrEnum):
    """Why two neighbouring groups stay apart."""

    ILLEGAL = "not a legal group"
    CAPACITY = "no tile of both fits"
    COST = "slower than its parts"


@dataclass(frozen=True)
class Boundary:
    """Two neighbouring groups, by position, that stay apart; prices in us of the parts and of the whole, the
    latter a lower bound unless `exact`.
    """

    producer: int
    consumer: int
    reason: NotFused
    parts_us: float
    whole_us: float | None
    whole: Group | None = None
    exact: bool = True


@dataclass(frozen=True)
class Grouping:
    """Groups in data order, and their summed price in us."""

    groups: tuple[Group, ...]
    price_us: float


class Order(StrEnum):
    """The order of merges: by absolute saving, or by saving relative to the parts."""

    SAVING = "saving"
    SHARE = "share"


def merge_while_it_pays(
    graph: Graph,
    groups: Sequence[Group],
    price: Price,
    most_ops: int = MOST_OPS,
    floor: Price = lambda group: 0.0,
    orders: Sequence[Order] = (Order.SAVING,),
) -> Grouping:
    """Merge neighbours, the best merge first, until no merge saves anything; the cheapest of all `orders`.

    No union is larger than `most_ops`. `floor` is never above the price of a group: a union that cannot save
    as much as another does is not priced yet, and one that is merged away before is never.
    """
    found = []
    for order in orders:
        merging = _Merging(graph, groups, price, most_ops, floor, order)
        while (edge := merging.best_edge()) is not None:
            merging.merge(edge)
        found.append(merging.result())
    return min(found, key=lambda grouping: grouping.price_us)


def boundaries_of(
    graph: Graph, groups: Sequence[Group], price: Price, floor: Price | None = None
) -> tuple[Boundary, ...]:
    """Why neighbours of `groups` are not one, with the prices of merging them.

    `floor` as in `merge_while_it_pays`: a union whose floor is above its parts is not priced.
    """
    return _Merging(graph, groups, price, floor=floor).boundaries(tuple(groups))


@dataclass(frozen=True)
class _Union:
    """Two groups as one, and its price: exact, or a lower bound. `sizes` are those of the two."""

    group: Group
    us: float
    exact: bool
    sizes: tuple[int, int]


class _Merging:
    """Live groups by number, their readers, and the saving of each possible merge.

    `queue` has a merge at the most that it may save; the price of its union is asked for when it leads. An
    entry is out of date when the union it was made for is not that of its edge any more. Where a group with
    many neighbours has grown, the saving it had with one before it grew stands until it leads: 64 branches
    into a sum are 64 unions, not 64 after each merge.
    """

    def __init__(
        self,
        graph: Graph,
        groups: Sequence[Group],
        price: Price,
        most_ops: int = MOST_OPS,
        floor: Price | None = None,
        order: Order = Order.SAVING,
    ) -> None:
        self.graph = graph
        self.most_ops = most_ops
        self.price = price
        self.floor = floor
        self.order = order
        self.groups = dict(enumerate(groups))
        self.us = {number: price(group) for number, group in self.groups.items()}
        self.home = {
            op: number for number, group in self.groups.items() for op in group if not is_remade(graph, op)
        }
        self.readers: dict[int, set[int]] = {number: set() for number in self.groups}
        self.sources: dict[int, set[int]] = {number: self._sources(number) for number in self.groups}
        for number, sources in self.sources.items():
            for source in sources:
                self.readers[source].add(number)
        self.unions: dict[Edge, _Union | NotFused] = {}
        self.queue: list[tuple[float, Edge, int, _Union]] = []
        self.put = count()
        for producer, readers in self.readers.items():
            for consumer in sorted(readers):
                self._weigh((producer, consumer))

    def _sources(self, number: int) -> set[int]:
        """The groups that one reads from."""
        graph = self.graph
        found = {
            self.home[above]
            for index in self.groups[number]
            for access in graph.ops[index].operands
            if (above := graph.producer.get(access.value)) is not None and above in self.home
        }
        return found - {number}

    def _weigh(self, edge: Edge) -> None:
        producer, consumer = edge
        group = merged(self.graph, self.groups[producer], self.groups[consumer])
        if group is None or len(group) > self.most_ops or self._detour(edge):
            self.unions[edge] = NotFused.ILLEGAL
        elif self.floor is None:
            self._put(edge, _Union(group, self.price(group), exact=True, sizes=self._sizes(edge)))
        else:
            self._put(edge, _Union(group, self.floor(group), exact=False, sizes=self._sizes(edge)))

    def _sizes(self, edge: Edge) -> tuple[int, int]:
        return len(self.groups[edge[0]]), len(self.groups[edge[1]])

    def _priced(self, union: _Union) -> _Union:
        return union if union.exact else replace(union, us=self.price(union.group), exact=True)

    def _weigh_anew(self, edge: Edge, crowded: bool) -> None:
        """Weigh a merge with a group that has grown; among many, one weighed before waits until it leads."""
        if not crowded or not isinstance(self.unions.get(edge), _Union):
            self._weigh(edge)

    def _put(self, edge: Edge, union: _Union) -> None:
        self.unions[edge] = union
        parts_us = self.us[edge[0]] + self.us[edge[1]]
        saving_us = parts_us - union.us
        if saving_us > 0.0:
            worth = saving_us if self.order is Order.SAVING or isinf(parts_us) else saving_us / parts_us
            heappush(self.queue, (-worth, (-edge[0], -edge[1]), next(self.put), union))

    def _detour(self, edge: Edge) -> bool:
        """Whether a way leads through other groups: merged, these and the union would need each other.

        The order of ops rules none of them out: a way may enter a group behind where it leaves it.
        """
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

    def best_edge(self) -> Edge | None:
        """The merge that saves most; one that later merges have opened a detour for is none any more."""
        while self.queue:
            _, (producer, consumer), _, union = heappop(self.queue)
            edge = -producer, -consumer
            if self.unions.get(edge) is not union:
                continue
            if union.sizes != self._sizes(edge):
                self._weigh(edge)
            elif self._detour(edge):
                self.unions[edge] = NotFused.ILLEGAL
            elif not union.exact:
                self._put(edge, self._priced(union))
            else:
                return edge
        return None

    def merge(self, edge: Edge) -> None:
        """The consumer takes the producer in; every merge with either is weighed anew."""
        producer, consumer = edge
        union = self.unions[edge]
        assert isinstance(union, _Union), "an illegal merge saves nothing"
        for source in self.sources[producer]:
            self.unions.pop((source, producer), None)
        for reader in self.readers[producer]:
            self.unions.pop((producer, reader), None)
        self.home.update((op, consumer) for op in self.groups.pop(producer) if self.home.get(op) == producer)
        del self.us[producer]
        self.groups[consumer], self.us[consumer] = union.group, union.us
        self.readers[consumer] |= self.readers.pop(producer)
        self.sources[consumer] |= self.sources.pop(producer)
        self.readers[consumer] -= {producer, consumer}
        self.sources[consumer] -= {producer, consumer}
        for reader in self.readers[consumer]:
            self.sources[reader] = (self.sources[reader] - {producer}) | {consumer}
        for source in self.sources[consumer]:
            self.readers[source] = (self.readers[source] - {producer}) | {consumer}
        crowded = len(self.readers[consumer]) + len(self.sources[consumer]) > MOST_NEIGHBOURS
        for reader in sorted(self.readers[consumer]):
            self._weigh_anew((consumer, reader), crowded)
        for source in sorted(self.sources[consumer]):
            self._weigh_anew((source, consumer), crowded)

    def result(self) -> Grouping:
        """The groups, in data order."""
        ordered = in_data_order(self.graph, [self.groups[number] for number in sorted(self.groups)])
        assert ordered is not None, "a merge with a detour is never made"
        return Grouping(ordered, sum(self.us.values()))

    def boundaries(self, ordered: tuple[Group, ...]) -> tuple[Boundary, ...]:
        """The boundaries left between neighbours, by the place of their groups."""
        place = {group: index for index, group in enumerate(ordered)}
        boundaries = []
        for (producer, consumer), union in sorted(self.unions.items(), key=itemgetter(0)):
            parts_us = self.us[producer] + self.us[consumer]
            reason, whole, whole_us, exact = NotFused.ILLEGAL, None, None, True
            if isinstance(union, _Union):
                union = union if union.us > parts_us else self._priced(union)
                exact = union.exact
                whole, whole_us = union.group, union.us if union.us < float("inf") else None
                reason = NotFused.CAPACITY if whole_us is None else NotFused.COST
            ends = place[self.groups[producer]], place[self.groups[consumer]]
            boundaries.append(Boundary(*ends, reason, parts_us, whole_us, whole, exact))
        return tuple(sorted(boundaries, key=lambda boundary: (boundary.consumer, boundary.producer)))
