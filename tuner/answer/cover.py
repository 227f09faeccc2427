"""Which groups of ops a network is cut into when records answer for some of them and not for others.

Every op is in exactly one group, and the groups need each other in no circle. Of all such covers by given
candidates the cheapest is found, exactly: ops are covered in order, and two ways that cover the same ops so
far differ in nothing that matters later but their cost.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.ir.workload import is_remade
from tilewright.compiler_core.transforms.fuse import (
    FusionPolicy,
    Group,
    group_greedily,
    in_data_order,
    merged,
)

MOST_MERGED = 4
"""Most neighbouring groups of the default plan that are offered as one candidate."""
MOST_CANDIDATES = 4_000
MOST_STATES = 200_000
"""Ways to stand in the middle of a network that are remembered; beyond, the default groups are taken."""
MOST_CIRCLES = 64

Cost = tuple[float, int]


def candidate_groups(graph: Graph, base: Sequence[Group]) -> tuple[Group, ...]:
    """Legal groups that records may have: those of `base`, up to MOST_MERGED neighbours as one, single ops.

    (conv, relu), (conv)   ->   (conv, relu), (conv), (conv, relu, conv), (conv), (relu)
    """
    found = dict.fromkeys(base)
    home = {op: number for number, group in enumerate(base) for op in group if not is_remade(graph, op)}
    sources = [
        {
            home[above]
            for index in group
            for access in graph.ops[index].operands
            if (above := graph.producer.get(access.value)) in home and home[above] != number
        }
        for number, group in enumerate(base)
    ]
    grown = [(group, frozenset([number])) for number, group in enumerate(base)]
    for _ in range(MOST_MERGED - 1):
        wider: dict[frozenset[int], Group] = {}
        for group, members in grown:
            for source in sorted(set().union(*(sources[member] for member in members)) - members):
                together = members | {source}
                union = None if together in wider else merged(graph, base[source], group)
                if union is not None and len(found) < MOST_CANDIDATES:
                    wider[together] = union
                    found[union] = None
        grown = [(group, members) for members, group in wider.items()]
    for group in group_greedily(graph, FusionPolicy(epilogues=False)):
        found[group] = None
    return tuple(found)


def cheapest_cover(graph: Graph, costs_us: Mapping[Group, float], base: Sequence[Group]) -> tuple[Group, ...]:
    """The groups of least summed cost that cover every op once, in data order; ties go to fewer groups.

    `base` is a cover among the candidates, taken where the search for a better one grows out of bounds.
    """
    cover = _Covers(graph, costs_us).best()
    return cover if cover is not None else tuple(base)


class _Covers:
    """Candidates by the first op that they cover, each op that is stored as one bit."""

    def __init__(self, graph: Graph, costs_us: Mapping[Group, float]) -> None:
        self._graph = graph
        self._costs_us = costs_us
        stored = [index for index in range(len(graph.ops)) if not is_remade(graph, index)]
        self._bit = {index: place for place, index in enumerate(stored)}
        self._everything = (1 << len(stored)) - 1
        self._starting: dict[int, list[tuple[Group, int]]] = defaultdict(list)
        for group in costs_us:
            mask = sum(1 << self._bit[index] for index in group if index in self._bit)
            if mask:
                self._starting[_lowest(mask)].append((group, mask))

    def best(self) -> tuple[Group, ...] | None:
        """None where there are too many covers to look at."""
        return self._without(frozenset(), [MOST_CIRCLES])

    def _without(self, forbidden: frozenset[Group], left: list[int]) -> tuple[Group, ...] | None:
        """The best cover without some candidates: where groups need each other in a circle, one has to go."""
        left[0] -= 1
        cover = self._cheapest(forbidden) if left[0] >= 0 else None
        if cover is None:
            return None
        ordered = in_data_order(self._graph, cover)
        if ordered is not None:
            return ordered
        found = [self._without(forbidden | {group}, left) for group in _circle(self._graph, cover)]
        return min((each for each in found if each is not None), key=self._cost, default=None)

    def _cost(self, cover: Sequence[Group]) -> Cost:
        return sum(self._costs_us[group] for group in cover), len(cover)

    def _cheapest(self, forbidden: frozenset[Group]) -> tuple[Group, ...] | None:
        """The cheapest cover, circles or not."""
        standing: dict[int, dict[int, tuple[Cost, tuple[int, Group] | None]]] = defaultdict(dict)
        standing[0][0] = (0.0, 0), None
        states = 0
        for place in range(self._everything.bit_length()):
            for covered, (cost, _) in standing[place].items():
                for group, mask in self._starting[place]:
                    if mask & covered or group in forbidden:
                        continue
                    after = covered | mask
                    total = cost[0] + self._costs_us[group], cost[1] + 1
                    known = standing[_lowest(~after)].get(after)
                    if known is None or total < known[0]:
                        standing[_lowest(~after)][after] = total, (covered, group)
                        states += known is None
            if states > MOST_STATES:
                return None
        return tuple(self._way_to(self._everything, standing)) if self._reached(standing) else None

    def _reached(self, standing: Mapping[int, Mapping[int, object]]) -> bool:
        return self._everything in standing.get(self._everything.bit_length(), {})

    def _way_to(
        self, covered: int, standing: Mapping[int, Mapping[int, tuple[Cost, tuple[int, Group] | None]]]
    ) -> Iterator[Group]:
        while (step := standing[_lowest(~covered)][covered][1]) is not None:
            covered, group = step
            yield group


def _lowest(mask: int) -> int:
    return (mask & -mask).bit_length() - 1


def _circle(graph: Graph, groups: Sequence[Group]) -> list[Group]:
    """Groups of which each needs the next and the last the first."""
    home = {op: number for number, group in enumerate(groups) for op in group if not is_remade(graph, op)}
    needs = [
        sorted(
            {
                home[above]
                for index in group
                for access in graph.ops[index].operands
                if (above := graph.producer.get(access.value)) in home and home[above] != number
            }
        )
        for number, group in enumerate(groups)
    ]
    sound: set[int] = set()
    path: list[int] = []

    def search(number: int) -> list[int]:
        if number in path:
            return path[path.index(number) :]
        if number in sound:
            return []
        path.append(number)
        for source in needs[number]:
            if found := search(source):
                return found
        path.pop()
        sound.add(number)
        return []

    for number in range(len(groups)):
        if found := search(number):
            return [groups[each] for each in found]
    return []
