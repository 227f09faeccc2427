"""Stages: who needs whom, what may be joined, and an order that respects data."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilewright.compiler_core.lowering.schedule import CoreRange, Placed
from tilewright.compiler_core.lowering.stages import Ancestry, in_stage_order, side_by_side

DIAMOND = (frozenset[int](), frozenset({0}), frozenset({0}), frozenset({1, 2}))


def test_the_branches_of_a_diamond_may_be_joined_and_nothing_else() -> None:
    ancestry = Ancestry(DIAMOND)
    pairs = [(one, other) for one in range(4) for other in range(one + 1, 4)]
    assert [pair for pair in pairs if ancestry.independent(*pair)] == [(1, 2)]
    ancestry.join(1, 2)
    assert in_stage_order(DIAMOND, list(ancestry.members.values())) == ((0,), (1, 2), (3,))


def test_two_stages_that_need_each_other_have_no_order() -> None:
    needs = (frozenset[int](), frozenset[int](), frozenset({0}), frozenset({1}))
    assert in_stage_order(needs, [(0, 3), (1, 2)]) is None
    assert in_stage_order(needs, [(0, 1), (2, 3)]) == ((0, 1), (2, 3))


@given(st.data())
def test_whatever_is_independent_can_be_joined_and_ordered(data: Any) -> None:
    count = data.draw(st.integers(2, 9))
    needs = tuple(
        frozenset(data.draw(st.sets(st.integers(0, group - 1), max_size=3)) if group else ())
        for group in range(count)
    )
    ancestry = Ancestry(needs)
    for _ in range(count):
        stages = sorted(ancestry.members)
        pairs = [(one, other) for one in stages for other in stages if one < other]
        for one, other in pairs:
            joined = [set(ancestry.members[stage]) for stage in stages if stage not in (one, other)]
            both = set(ancestry.members[one] + ancestry.members[other])
            possible = in_stage_order(needs, [tuple(both), *map(tuple, joined)]) is not None
            apart = not any(needs[group] & both for group in both)
            assert ancestry.independent(one, other) == (possible and apart)
        free = [pair for pair in pairs if ancestry.independent(*pair)]
        if not free:
            break
        ancestry.join(*data.draw(st.sampled_from(free)))
    ordered = in_stage_order(needs, [ancestry.members[stage] for stage in sorted(ancestry.members)])
    assert ordered is not None
    place = {group: number for number, members in enumerate(ordered) for group in members}
    assert all(place[source] < place[group] for group in range(count) for source in needs[group])


@pytest.mark.parametrize("cores", [(1, 2), (3, 1)])
def test_groups_of_a_stage_lie_one_behind_the_other(cores: tuple[int, int]) -> None:
    stage = side_by_side((4, 7), cores)
    assert stage == (Placed(4, CoreRange(0, cores[0])), Placed(7, CoreRange(cores[0], cores[1])))
