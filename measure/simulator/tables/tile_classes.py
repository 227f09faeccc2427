"""Interval tables and the classes of their tiles, remembered.

A search meets the same tables (objects that Regions remembers) in thousands of Configs. Deriving the classes
takes time in proportion to the number of tiles once; afterwards a regular loop of any length is as cheap as a
short one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tilewright.measure.simulator.tables.layout import Ints
from tilewright.measure.simulator.tables.pricing import covered
from tilewright.measure.simulator.tables.survey import classify

_MOST_REMEMBERED = 4096


@dataclass(frozen=True, eq=False)
class Table:
    """One interval table, identified by its arrays. It holds `low` and `high` so that no other array gets
    their ids.

    `widths` are flat; `places` counts the distinct places all intervals cover.
    """

    low: Ints
    high: Ints
    shape: tuple[int, ...]
    widths: Ints
    places: int


@dataclass(frozen=True, eq=False)
class Kinds:
    """The classes of the tiles of one loop, as survey.classify gives them, and the tables they come from."""

    tables: tuple[Table, ...]
    classes: Ints
    until: Ints
    example: Ints
    members: Ints


_tables: dict[tuple[int, int], Table] = {}
_kinds: dict[tuple[int, ...], Kinds] = {}


def table_of(low: Ints, high: Ints) -> Table:
    """The table of two arrays of bounds."""
    known = _tables.get((id(low), id(high)))
    if known is None:
        if len(_tables) >= _MOST_REMEMBERED:
            _tables.clear()
        flat_low, flat_high = np.broadcast_arrays(low, high)
        widths = (flat_high - flat_low).reshape(-1)
        places = covered(flat_low.reshape(-1), widths)
        known = _tables[id(low), id(high)] = Table(low, high, flat_low.shape, widths, places)
    return known


def kinds_of(dim: int, tables: Sequence[Table]) -> Kinds:
    """The classes of the tiles of the loop of dim `dim`, by all `tables` together."""
    moving = [table for table in tables if table.shape[dim] > 1]
    key = (dim, *map(id, moving))
    known = _kinds.get(key)
    if known is None:
        if len(_kinds) >= _MOST_REMEMBERED:
            _kinds.clear()
        widths = np.concatenate([table.widths for table in moving])
        shapes = np.array([table.shape for table in moving], dtype=np.int64)
        known = _kinds[key] = Kinds(tuple(moving), *classify(dim, widths, shapes))
    return known
