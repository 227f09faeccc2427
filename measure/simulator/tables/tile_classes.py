"""Interval tables and the classes of their tiles.

A search meets the same tables (Spans that Regions keeps) in thousands of Configs. Deriving the classes takes
time in proportion to the number of tiles once; afterwards a regular loop of any length is as cheap as a short
one.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tilewright.compiler_core.lowering.regions import Span
from tilewright.measure.simulator.tables.layout import Ints
from tilewright.measure.simulator.tables.pricing import covered
from tilewright.measure.simulator.tables.survey import classify


@dataclass(frozen=True, eq=False)
class Table:
    """One interval table. `widths` are flat; `places` counts the distinct places all intervals cover."""

    shape: tuple[int, ...]
    widths: Ints
    places: int


@dataclass(frozen=True, eq=False)
class Kinds:
    """The classes of the tiles of one loop, as survey.classify gives them."""

    classes: Ints
    until: Ints
    example: Ints
    members: Ints


@lru_cache(maxsize=4096)
def table_of(span: Span) -> Table:
    """The table of a Span."""
    low, high = np.broadcast_arrays(*span)
    widths = (high - low).reshape(-1)
    return Table(low.shape, widths, covered(low.reshape(-1), widths))


@lru_cache(maxsize=4096)
def kinds_of(dim: int, tables: tuple[Table, ...]) -> Kinds:
    """The classes of the tiles of the loop of dim `dim`, by all `tables` that move with it together."""
    widths = np.concatenate([table.widths for table in tables])
    shapes = np.array([table.shape for table in tables], dtype=np.int64)
    return Kinds(*classify(dim, widths, shapes))
