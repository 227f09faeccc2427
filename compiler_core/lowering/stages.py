"""Groups that may run side by side: the needs of each, and stages in data order.

conv a -> concat <- conv b        stages (a), (b), (concat)   ->   (a, b), (concat)
"""

from collections.abc import Sequence
from heapq import heapify, heappop, heappush

from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.ir.workload import is_remade
from tilewright.compiler_core.lowering.schedule import CoreRange, Placed, Stage
from tilewright.compiler_core.transforms.fuse import Group

Members = tuple[int, ...]
"""The groups of one stage, by position."""


def needs_of(graph: Graph, groups: Sequence[Group]) -> tuple[frozenset[int], ...]:
    """The groups that each group reads from, by position."""
    home = {op: number for number, group in enumerate(groups) for op in group if not is_remade(graph, op)}
    return tuple(
        frozenset(
            home[above]
            for index in group
            for access in graph.ops[index].operands
            if (above := graph.producer.get(access.value)) in home and above not in group
        )
        for group in groups
    )


def side_by_side(members: Members, cores: Sequence[int]) -> Stage:
    """The groups of one stage on ranges of `cores` each, one after the other from core 0 on."""
    firsts = [sum(cores[:index]) for index in range(len(cores))]
    return tuple(
        Placed(group, CoreRange(first, count))
        for group, first, count in zip(members, firsts, cores, strict=True)
    )


class Ancestry:
    """The needs among stages, direct or not, while independent stages are joined.

    A stage goes by the number of its first group; sets of stages are bits.
    """

    def __init__(self, needs: Sequence[frozenset[int]]) -> None:
        self.members: dict[int, Members] = {group: (group,) for group in range(len(needs))}
        self._above: dict[int, int] = {}
        for group, sources in enumerate(needs):  # earlier groups first: they are in data order
            above = 0
            for source in sources:
                above |= self._above[source] | 1 << source
            self._above[group] = above

    def independent(self, one: int, other: int) -> bool:
        """Whether neither of two stages needs the other."""
        return not (self._above[one] >> other & 1 or self._above[other] >> one & 1)

    def join(self, one: int, other: int) -> None:
        """Stage `one` takes in stage `other`, of which it is independent."""
        together = self._above[one] | self._above.pop(other)
        either = 1 << one | 1 << other
        self._above[one] = together
        for stage, above in self._above.items():
            if above & either:
                self._above[stage] = (above | together | 1 << one) & ~(1 << other)
        self.members[one] = (*self.members[one], *self.members.pop(other))


def in_stage_order(needs: Sequence[frozenset[int]], stages: Sequence[Members]) -> tuple[Members, ...] | None:
    """`stages` so that each comes after those it reads from, else as given; None where no order does that."""
    home = {group: number for number, members in enumerate(stages) for group in members}
    sources = [{home[each] for group in members for each in needs[group]} for members in stages]
    readers: list[list[int]] = [[] for _ in stages]
    for number, above in enumerate(sources):
        for source in above:
            readers[source].append(number)
    ready = [number for number, above in enumerate(sources) if not above]
    heapify(ready)
    done: list[int] = []
    while ready:
        number = heappop(ready)
        done.append(number)
        for reader in readers[number]:
            sources[reader].discard(number)
            if not sources[reader]:
                heappush(ready, reader)
    return tuple(stages[number] for number in done) if len(done) == len(stages) else None
