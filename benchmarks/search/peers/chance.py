"""Uniform random rows: the peer that every table needs."""

import numpy as np

from tilewright.search_space.knobs import Rows
from tilewright.search_space.moves import distinct, sample
from tilewright.search_space.space import Space
from tilewright.tuner.kernel.problem import History

BATCH = 64


class Chance:
    """Distinct feasible rows by rejection."""

    def __init__(self, space: Space, seed: int) -> None:
        self._space = space
        self._rng = np.random.default_rng(seed)

    def ask(self, history: History) -> Rows:
        """BATCH rows."""
        return distinct(sample(self._space, BATCH, self._rng), without=history.asked)
