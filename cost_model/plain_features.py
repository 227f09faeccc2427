"""Features of any Space, from its rows alone, for tasks without features of their own.

A trained model is only as good as the axes it may split on. Products and ratios of tile sizes (threads in a
block, elements in a tile) decide more than the sizes themselves, so every pair of numeric knobs adds both.
"""

from collections.abc import Callable
from itertools import combinations
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from tilewright.search_space.knobs import Knob, Rows
from tilewright.search_space.space import Space

Features: TypeAlias = npt.NDArray[np.float32]
FeatureFunction: TypeAlias = Callable[[Rows], Features]

_MAX_PAIRED_KNOBS = 6


def plain_features(space: Space) -> FeatureFunction:
    """A function from rows int32 [n, knobs] to float32 [n, features], the same columns for every call.

    An ordered knob gives log2 of its value, or its position where a value is not positive; where its values
    are integers, the power of two that divides them too; an unordered knob of more than two values one
    indicator per value; each pair of positive numeric knobs log2 of their product and of their ratio. Knobs
    of one value give nothing.
    """
    tables: list[tuple[int, Features]] = []
    logs: list[tuple[int, Features]] = []
    for index, knob in enumerate(space.knobs):
        if len(knob.values) > 1:
            tables.append((index, _own_columns(knob)))
            if len(knob.values) > 2 and (log := _log2(knob)) is not None:
                logs.append((index, log))
    pairs = list(combinations(logs[:_MAX_PAIRED_KNOBS], 2))

    def features(rows: Rows) -> Features:
        columns = [table[rows[:, index]] for index, table in tables]
        for (left, left_log), (right, right_log) in pairs:
            first, second = left_log[rows[:, left]], right_log[rows[:, right]]
            columns.append(np.stack([first + second, first - second], axis=1))
        return np.concatenate(columns, axis=1) if columns else np.zeros((len(rows), 1), dtype=np.float32)

    return features


def _numbers(knob: Knob) -> list[float] | None:
    numbers = [float(v) for v in knob.values if isinstance(v, int | float) and not isinstance(v, bool)]
    return numbers if len(numbers) == len(knob.values) else None


def _log2(knob: Knob) -> Features | None:
    numbers = _numbers(knob)
    if not knob.ordered or numbers is None or min(numbers) <= 0:
        return None
    return np.log2(np.array(numbers, dtype=np.float32))


def _own_columns(knob: Knob) -> Features:
    """float32 [values, columns] to be indexed by a knob's positions."""
    width = len(knob.values)
    if not knob.ordered and width > 2:
        return np.eye(width, dtype=np.float32)
    log = _log2(knob)
    columns = [np.arange(width, dtype=np.float32) if log is None else log]
    integers = [v for v in knob.values if isinstance(v, int) and not isinstance(v, bool) and v > 0]
    if len(integers) == width > 2:
        columns.append(np.array([(v & -v).bit_length() for v in integers], dtype=np.float32))
    return np.stack(columns, axis=1)
