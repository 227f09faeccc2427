"""A part of a kernel's space that is small enough to be measured whole.

Values of knobs are left out until at most so many rows satisfy the rules. What stays is spread evenly over
each knob, and holds the values of given rows: those of the default and of the best draft, which a search of
the whole space would have too.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from tilewright.search_space.knobs import Knob, Rows
from tilewright.search_space.moves import enumerate_rows
from tilewright.search_space.space import Space

_COUNTED = 1 << 19
"""From this size of a grid on its rows are counted."""
LEAST_ORDERED = 3
"""Values that a knob with an order keeps until the others have two."""

Positions = list[npt.NDArray[np.int64]]


def lattice(space: Space, kept: Rows, most: int) -> Space:
    """The part of `space` with the values of the rows `kept`, and at most `most` rows."""
    positions = [np.arange(len(knob.values)) for knob in space.knobs]
    while True:
        part = part_of(space, positions)
        if part.grid_size <= _COUNTED:
            found = enumerate_rows(part, _COUNTED)
            if found is not None and len(found) <= most:
                return part
        at = _widest(space.knobs, positions, kept)
        if at is None:
            return part
        positions[at] = _thinned(positions[at], kept[:, at])


def part_of(space: Space, positions: Sequence[npt.NDArray[np.int64]]) -> Space:
    """The part of `space` with the values at these positions of each knob."""
    knobs = tuple(
        replace(knob, values=tuple(knob.values[int(at)] for at in chosen))
        for knob, chosen in zip(space.knobs, positions, strict=True)
    )

    def feasible(rows: Rows) -> npt.NDArray[np.bool_]:
        columns = [chosen[rows[:, column]] for column, chosen in enumerate(positions)]
        return space.feasible(np.stack(columns, axis=1).astype(np.int32))

    return Space(knobs, feasible, rules=space.rules)


def _widest(knobs: Sequence[Knob], positions: Positions, kept: Rows) -> int | None:
    """The knob to thin: the one with most values, those without an order first below LEAST_ORDERED."""

    def weight(at: int) -> tuple[bool, int]:
        count = len(positions[at])
        return (count > LEAST_ORDERED or not knobs[at].ordered, count)

    open_ = [at for at in range(len(knobs)) if len(positions[at]) > len(np.unique(kept[:, at]))]
    return max(open_, key=weight, default=None)


def _thinned(positions: npt.NDArray[np.int64], kept: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    """About half of the positions, the last one among them, and those kept; at least one fewer."""
    half = np.union1d(positions[::-1][::2], kept)
    return half if len(half) < len(positions) else np.unique(kept).astype(np.int64)
