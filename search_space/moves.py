"""The moves a search makes in a Space: draw, enumerate, step to neighbours, cross over, mutate.

Everything works on rows int32 [n, knobs], returns feasible rows only, and draws from the Generator given.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from tilewright.compiler_core.compiled import compiled
from tilewright.search_space.knobs import Rows
from tilewright.search_space.space import Space

Keys = npt.NDArray[np.uint64]

_ENUMERABLE = 1 << 20
_CHUNK = 1 << 16
MOST_TURNED = 8
_GOLDEN, _MIX = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9


@dataclass(frozen=True)
class SpaceSize:
    """The number of feasible rows of a Space; an estimate unless `exact`."""

    rows: float
    exact: bool


def row_keys(rows: Rows) -> Keys:
    """A 64-bit key per row, uint64 [n]: equal rows have equal keys.

    Two different rows share a key with a chance of 2^-64. Code that drops rows by key loses a fresh one that
    rarely, and never keeps a duplicate.
    """
    return _keys(np.ascontiguousarray(rows))


@compiled
def _keys(rows: Rows) -> Keys:
    keys = np.empty(rows.shape[0], dtype=np.uint64)
    for i in range(rows.shape[0]):
        key = np.uint64(rows.shape[1])
        for column in range(rows.shape[1]):
            factor = np.uint64(2 * column + 1) * np.uint64(_GOLDEN) | np.uint64(1)
            mixed = (np.uint64(rows[i, column]) + np.uint64(1)) * factor
            key = (key ^ mixed ^ (mixed >> np.uint64(29))) * np.uint64(_MIX)
            key ^= key >> np.uint64(32)
        keys[i] = key
    return keys


def distinct(rows: Rows, without: Keys | None = None) -> Rows:
    """`rows` in their order, first occurrences only, less those whose key is in `without`."""
    keys = row_keys(rows)
    _, first = np.unique(keys, return_index=True)
    first.sort()
    if without is not None and len(without):
        first = first[~np.isin(keys[first], without)]
    return rows[first]


def enumerate_rows(space: Space, limit: int = _ENUMERABLE) -> Rows | None:
    """All feasible rows in lexicographic order, or None when the grid has more than `limit` combinations."""
    if space.grid_size > limit:
        return None
    parts = []
    for start in range(0, space.grid_size, _CHUNK):
        index = np.arange(start, min(start + _CHUNK, space.grid_size))
        rows = np.stack(np.unravel_index(index, tuple(space.widths)), axis=1).astype(np.int32)
        parts.append(rows[space.feasible(rows)])
    return np.concatenate(parts)


def feasible_rows(space: Space, most: int, partial: int = _ENUMERABLE) -> Rows | None:
    """All feasible rows in lexicographic order; None where there are more than `most`, or on the way more
    than `partial` beginnings of one, or where the space cannot tell of beginnings and its grid is large.
    """
    if space.begins is None:
        rows = enumerate_rows(space, limit=4 * most)
        return rows if rows is not None and len(rows) <= most else None
    rows = np.zeros((1, 0), dtype=np.int32)
    for width in space.widths:
        if len(rows) * int(width) > partial:
            return None
        values = np.tile(np.arange(width, dtype=np.int32), len(rows))
        rows = np.concatenate([np.repeat(rows, width, axis=0), values[:, None]], axis=1)
        rows = rows[space.begins(rows)]
    rows = rows[space.feasible(rows)]
    return rows if len(rows) <= most else None


def random_grid(space: Space, count: int, rng: np.random.Generator) -> Rows:
    """`count` uniform rows of the grid, feasible or not."""
    return rng.integers(0, space.widths, size=(count, len(space.knobs)), dtype=np.int32)


def corners(space: Space, names: Sequence[str]) -> Rows:
    """Feasible rows with each knob of `names` (MOST_TURNED at most) at its first or last value, others at
    their first.
    """
    columns = [index for index, knob in enumerate(space.knobs) if knob.name in names][:MOST_TURNED]
    last = np.asarray(space.widths, dtype=np.int32)[columns] - 1
    ends = np.array(list(product((0, 1), repeat=len(columns))), dtype=np.int32)
    rows = np.zeros((len(ends), len(space.knobs)), dtype=np.int32)
    rows[:, columns] = ends * last
    return distinct(space.settle(rows))


def sample(space: Space, count: int, rng: np.random.Generator, attempts: int = 64) -> Rows:
    """Up to `count` distinct feasible rows, uniform by rejection.

    Gives up after `attempts` draws of max(256, 2 count) each, so a space that is feasible almost nowhere
    yields fewer rows, possibly none.
    """
    found = np.empty((0, len(space.knobs)), dtype=np.int32)
    for _ in range(attempts):
        drawn = random_grid(space, max(256, 2 * count), rng)
        wanted = min(count, space.grid_size)
        while len(drawn) and len(found) < wanted:
            # As many as are missing, and a few for those that drop out: rules cost more than draws.
            part, drawn = np.split(drawn, [max(64, (wanted - len(found)) * 9 // 8)])
            found = distinct(np.concatenate([found, part[space.feasible(part)]]))
        if len(found) >= wanted:
            break
    return found[:count]


def neighbours(space: Space, row: Rows, radius: int = 1) -> Rows:
    """Feasible rows that differ from `row` int32 [knobs] in 1 to `radius` knobs, in any value of those."""
    found = row[None, :]
    for _ in range(radius):
        found = distinct(np.concatenate([found, *(_one_knob_changed(space, near) for near in found)]))
    return distinct(space.settle(found[1:]), without=row_keys(row[None, :]))


def all_neighbours(space: Space, rows: Rows) -> Rows:
    """`neighbours` of each of `rows` in turn, all at once; a row of `rows` may be among them."""
    if not len(rows):
        return rows
    column, value = space.single_changes
    changed = np.repeat(rows, len(column), axis=0)
    at, columns, values = np.arange(len(changed)), np.tile(column, len(rows)), np.tile(value, len(rows))
    moved = changed[at, columns] != values
    changed[at, columns] = values
    return distinct(space.settle(distinct(changed[moved])))


def steps(space: Space, row: Rows, radius: int = 1) -> Rows:
    """Feasible rows at most `radius` steps from `row`.

    A step is to an adjacent value of an ordered knob, or to any value of an unordered one.
    """
    found = row[None, :]
    for _ in range(radius):
        found = distinct(np.concatenate([found, *(_one_step_taken(space, near) for near in found)]))
    return distinct(space.settle(found[1:]), without=row_keys(row[None, :]))


def crossover(space: Space, first: Rows, second: Rows, rng: np.random.Generator) -> Rows:
    """Children int32 [<= n, knobs]: every knob from either parent; infeasible children are dropped."""
    children = np.where(rng.random(first.shape) < 0.5, first, second)
    return space.settle(children)


def mutate(space: Space, rows: Rows, rng: np.random.Generator) -> Rows:
    """Each row with one or two knobs changed, half the time by one step where the knob is ordered."""
    children = rows.copy()
    at = np.arange(len(rows))
    for again in (np.ones(len(rows), dtype=np.bool_), rng.random(len(rows)) < 0.5):
        column = rng.integers(0, len(space.knobs), size=len(rows))
        width = space.widths[column]
        anywhere = rng.integers(0, width)
        step = np.clip(children[at, column] + rng.choice(np.array([-1, 1]), size=len(rows)), 0, width - 1)
        by_step = (rng.random(len(rows)) < 0.5) & space.ordered[column]
        changed = np.where(by_step, step, anywhere)
        children[at[again], column[again]] = changed[again]
    return space.settle(children)


def space_size(space: Space, seed: int = 0, draws: int = 1 << 16) -> SpaceSize:
    """Exact up to 2^20 combinations; beyond that the grid times the feasible share of `draws` random rows."""
    rows = enumerate_rows(space)
    if rows is not None:
        return SpaceSize(float(len(rows)), exact=True)
    drawn = random_grid(space, draws, np.random.default_rng(seed))
    return SpaceSize(float(space.grid_size) * float(np.mean(space.feasible(drawn))), exact=False)


def _one_knob_changed(space: Space, row: Rows) -> Rows:
    column, value = space.single_changes
    rows = np.repeat(row[None, :], len(column), axis=0)
    rows[np.arange(len(column)), column] = value
    changed: Rows = rows[value != row[column]]
    return changed


def _one_step_taken(space: Space, row: Rows) -> Rows:
    rows = _one_knob_changed(space, row)
    moved = np.abs(rows - row)
    near: Rows = rows[np.all((moved <= 1) | ~space.ordered, axis=1)]
    return near
