"""What was worked out of a row is given again, and asked once."""

import numpy as np
import numpy.typing as npt

from tests.tuner.landscapes import space
from tilewright.search_space.knobs import Rows
from tilewright.search_space.moves import all_neighbours, distinct, enumerate_rows, neighbours
from tilewright.tuner.kernel.row_memo import RowMemo


def test_a_row_is_asked_once_while_it_is_remembered() -> None:
    asked: list[int] = []

    def work(rows: Rows) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float32]]:
        asked.append(len(rows))
        return rows.sum(axis=1).astype(np.float64), rows.astype(np.float32)

    rows = enumerate_rows(space())
    assert rows is not None
    memo, rng = RowMemo(work, most=120), np.random.default_rng(0)
    for _ in range(30):
        some = rows[rng.integers(0, 150, size=rng.integers(0, 40))]
        sums, same = memo(some)
        assert np.array_equal(sums, some.sum(axis=1))
        assert np.array_equal(same, some)
    fresh = sum(asked)
    memo(some)
    assert sum(asked) == fresh < 600


def test_the_neighbours_of_many_rows_are_those_of_each() -> None:
    made = space()
    rows = enumerate_rows(made)
    assert rows is not None
    some = rows[[3, 40, 41, 200]]
    each = distinct(np.concatenate([neighbours(made, row) for row in some]))
    together = all_neighbours(made, some)
    assert {tuple(row) for row in each.tolist()} == {tuple(row) for row in together.tolist()}
    assert np.array_equal(distinct(np.concatenate([some, together])), distinct(np.concatenate([some, each])))
    assert len(all_neighbours(made, some[:0])) == 0
