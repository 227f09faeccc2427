"""The Configs of lowest draft: the first trials of a search, and the expected cost of a kernel.

Random rows have drafts well above the draft's minimum. A climb over single knobs from the best of many draws
reaches the minimum, and costs no measurement.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from tilewright.search_space.knobs import Rows
from tilewright.search_space.moves import all_neighbours, distinct, enumerate_rows, mutate, row_keys, sample
from tilewright.search_space.space import Space

DraftLog = Callable[[Rows], npt.NDArray[np.float64]]
Lowest = Callable[[Rows, int], npt.NDArray[np.int64]]
"""Positions of so many rows of lowest draft, lowest first; of equal ones the first first."""
WHOLE = 1 << 14
"""Spaces up to this many combinations are ranked whole instead."""


@dataclass(frozen=True)
class ClimbEffort:
    """Random rows drawn (in so many attempts), how many of the best are climbed from, and how often.

    One that `settles` ends with a round that changes none of the best: all their neighbours were seen.
    """

    drawn: int = 4096
    attempts: int = 64
    climbed: int = 64
    rounds: int = 6
    settles: bool = False


@dataclass(frozen=True)
class Drawn:
    """Distinct feasible rows of a space: all of them (`whole`), or some drawn at random."""

    rows: Rows
    whole: bool


def draw(space: Space, rng: np.random.Generator, effort: ClimbEffort) -> Drawn:
    """All rows of a small space, else random ones."""
    whole = enumerate_rows(space, limit=WHOLE)
    if whole is not None:
        return Drawn(whole, whole=True)
    return Drawn(sample(space, effort.drawn, rng, effort.attempts), whole=False)


def best_drafts(
    space: Space,
    draft_log: DraftLog,
    start: Rows,
    count: int,
    rng: np.random.Generator,
    effort: ClimbEffort | None = None,
    drawn: Drawn | None = None,
    lowest: Lowest | None = None,
) -> Rows:
    """Up to `count` distinct feasible rows of lowest draft, lowest first; the climb begins at `start` too.

    Rows `drawn` before save drawing them, and `lowest` the drafts of most rows.
    """
    lowest = lowest or partial(_lowest, draft_log)
    effort = effort or ClimbEffort()
    drawn = drawn or draw(space, rng, effort)
    if drawn.whole:
        return drawn.rows[lowest(drawn.rows, count)]
    rows = np.concatenate([start, drawn.rows])
    if not len(rows):
        return rows
    kept = max(count, effort.climbed)
    before = rows[:0]
    for _ in range(effort.rounds):
        rows = rows[lowest(rows, kept)]
        if effort.settles and np.array_equal(rows, before):
            return rows[:count]
        # Neighbours of rows that were kept before were offered then: none is lower than all that is kept.
        fresh = rows[: effort.climbed]
        fresh = fresh[~np.isin(row_keys(fresh), row_keys(before[: effort.climbed]))]
        before = rows
        rows = distinct(np.concatenate([rows, all_neighbours(space, fresh), mutate(space, rows, rng)]))
    return rows[lowest(rows, count)]


def _lowest(draft_log: DraftLog, rows: Rows, count: int) -> npt.NDArray[np.int64]:
    return np.argsort(draft_log(rows), kind="stable")[:count]


def unlike(rows: Rows, count: int, knobs: int = 2) -> Rows:
    """`count` of `rows` in their order: those that differ from all taken before in at least `knobs` knobs.

    Where there are too few of these, the first others fill up. Near-equal rows share the error of the draft.
    """
    taken: list[int] = []
    for index in range(len(rows)):
        if len(taken) < count and ((rows[taken] != rows[index]).sum(axis=1) >= knobs).all():
            taken.append(index)
    others = [index for index in range(len(rows)) if index not in taken]
    return rows[sorted([*taken, *others[: count - len(taken)]])]
