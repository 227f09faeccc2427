"""Moves stay inside the space, draw nothing twice, and reach what they promise."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tilewright.search_space.knobs import Knob, Rows
from tilewright.search_space.moves import (
    corners,
    crossover,
    distinct,
    enumerate_rows,
    mutate,
    neighbours,
    row_keys,
    sample,
    space_size,
    steps,
)
from tilewright.search_space.space import Space


@st.composite
def spaces(draw: st.DrawFn) -> Space:
    widths = draw(st.lists(st.integers(1, 6), min_size=1, max_size=5))
    knobs = tuple(
        Knob(f"k{index}", tuple(range(width)), ordered=draw(st.booleans()))
        for index, width in enumerate(widths)
    )
    modulus = draw(st.integers(1, 4))
    return Space(knobs, feasible=lambda rows: rows.sum(axis=1) % modulus == 0, rules=f"mod {modulus}")


def as_set(rows: Rows) -> set[tuple[int, ...]]:
    return {tuple(int(choice) for choice in row) for row in rows}


@given(spaces())
def test_corners_are_the_feasible_rows_at_the_ends(space: Space) -> None:
    """Of the first two knobs here; the others stay at their first value."""
    turned = [knob.name for knob in space.knobs[:2]]
    rows = enumerate_rows(space)
    assert rows is not None
    every = as_set(space.settle(rows))
    ends = [{0, width - 1} if index < 2 else {0} for index, width in enumerate(space.widths)]
    wanted = {row for row in every if all(value in end for value, end in zip(row, ends, strict=True))}
    assert as_set(corners(space, turned)) == wanted


@given(spaces())
def test_enumeration_is_the_whole_space_once(space: Space) -> None:
    rows = enumerate_rows(space)
    assert rows is not None
    grid = np.stack(np.meshgrid(*[np.arange(w) for w in space.widths], indexing="ij"), -1)
    flat = grid.reshape(-1, len(space.knobs)).astype(np.int32)
    assert as_set(rows) == as_set(flat[space.feasible(flat)])
    assert len(as_set(rows)) == len(rows) == len(set(row_keys(rows).tolist()))
    assert space_size(space).exact
    assert space_size(space).rows == len(rows)


@given(spaces(), st.integers(0, 5), st.integers(1, 40))
def test_samples_are_distinct_feasible_and_repeat_by_seed(space: Space, seed: int, count: int) -> None:
    rows = sample(space, count, np.random.default_rng(seed))
    assert len(rows) <= count
    assert len(as_set(rows)) == len(rows)
    assert space.feasible(rows).all()
    assert np.array_equal(rows, sample(space, count, np.random.default_rng(seed)))


@given(spaces(), st.integers(0, 5), st.integers(1, 2))
def test_neighbours_are_exactly_those_within_the_radius(space: Space, seed: int, radius: int) -> None:
    everything = enumerate_rows(space)
    assert everything is not None
    start = sample(space, 1, np.random.default_rng(seed))[0]
    changed = (everything != start).sum(axis=1)
    assert as_set(neighbours(space, start, radius)) == as_set(everything[(changed > 0) & (changed <= radius)])
    ordered = np.array([knob.ordered for knob in space.knobs])
    moved = np.where(ordered, np.abs(everything - start), everything != start).sum(axis=1)
    assert as_set(steps(space, start, radius)) == as_set(everything[(moved > 0) & (moved <= radius)])


@given(spaces(), st.integers(0, 5))
def test_children_are_feasible_and_take_after_their_parents(space: Space, seed: int) -> None:
    rng = np.random.default_rng(seed)
    parents = sample(space, 20, rng)
    first, second = parents, parents[::-1]
    children = crossover(space, first, second, rng)
    assert space.feasible(children).all()
    for child in children:
        assert ((child == first) | (child == second)).all(axis=1).any()
    mutants = mutate(space, parents, rng)
    assert space.feasible(mutants).all()
    assert ((mutants >= 0) & (mutants < space.widths)).all()
    assert all((mutant != parents).sum(axis=1).min() <= 2 for mutant in mutants)


def test_distinct_keeps_first_occurrences_in_order_and_drops_the_asked() -> None:
    rows = np.array([[1, 0], [0, 1], [1, 0], [2, 2]], dtype=np.int32)
    assert distinct(rows).tolist() == [[1, 0], [0, 1], [2, 2]]
    assert distinct(rows, without=row_keys(rows[1:2])).tolist() == [[1, 0], [2, 2]]


def test_the_size_of_a_huge_space_is_estimated_within_a_tenth() -> None:
    knobs = tuple(Knob(f"k{index}", tuple(range(16))) for index in range(8))
    space = Space(knobs, feasible=lambda rows: rows[:, 0] < 4, rules="quarter")
    size = space_size(space)
    assert not size.exact
    assert abs(size.rows / (16**8 / 4) - 1) < 0.1


def test_a_space_without_a_feasible_row_yields_none() -> None:
    space = Space((Knob("k", (1, 2)),), feasible=lambda rows: np.zeros(len(rows), dtype=np.bool_), rules="no")
    assert len(sample(space, 3, np.random.default_rng(0))) == 0
