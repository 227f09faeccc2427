"""A memo of answers by row, for as long as the same rows are asked about.

A proposal asks the model about the same rows several times: generations of evolution share most of theirs,
and the rows of best draft and the neighbours of the best come back with every batch.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from tilewright.search_space.knobs import Rows
from tilewright.search_space.moves import Keys, row_keys

MOST = 4096
"""The most rows that are kept; one more, and the memo starts again from empty."""
Answer = TypeVar("Answer", bound=tuple[npt.NDArray[np.generic], ...])


class RowMemo(Generic[Answer]):
    """`function` maps rows [n, knobs] to arrays of n rows each; rows do not depend on one another."""

    def __init__(self, function: Callable[[Rows], Answer], most: int = MOST) -> None:
        self._function = function
        self._most = most
        self._keys: Keys = np.empty(0, dtype=np.uint64)
        self._kept: Answer | None = None

    def __call__(self, rows: Rows) -> Answer:
        """The answer for `rows`; only those not known yet are asked of the function."""
        keys = row_keys(rows)
        if self._kept is None or not len(rows):
            answer = self._function(rows)
            self._keep(keys, answer)
            return answer
        at = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        unknown = self._keys[at] != keys
        parts = [kept[at] for kept in self._kept]
        if unknown.any():
            fresh = self._function(rows[unknown])
            for part, made in zip(parts, fresh, strict=True):
                part[unknown] = made
            if len(self._keys) + int(unknown.sum()) > self._most:
                self._keys, self._kept = keys[:0], None
                self._keep(keys, tuple(parts))  # type: ignore[arg-type]
            else:
                self._keep(keys[unknown], fresh)
        return tuple(parts)  # type: ignore[return-value]

    def _keep(self, keys: Keys, answer: Answer) -> None:
        """Add what is new, in the order of its keys."""
        if not len(keys):
            return
        everything = np.concatenate([self._keys, keys])
        self._keys, first = np.unique(everything, return_index=True)
        kept = self._kept or tuple(part[:0] for part in answer)
        joined = (np.concatenate([old, new])[first] for old, new in zip(kept, answer, strict=True))
        self._kept = tuple(joined)  # type: ignore[assignment]
