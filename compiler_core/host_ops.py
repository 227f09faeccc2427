"""Numpy meanings of ops that have no structured form and run on the host.

Each takes whole operands and gives all results of the model's op, in the model's order.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Meaning = Callable[[Sequence[Array], Mapping[str, Any]], Sequence[Array]]


def run(function: str, args: Sequence[Array], attributes: Mapping[str, Any]) -> Sequence[Array]:
    """All results of host op `function`; KeyError for a name that is not in MEANINGS."""
    return MEANINGS[function](args, attributes)


def _non_zero(args: Sequence[Array], attributes: Mapping[str, Any]) -> Sequence[Array]:
    return [np.array(np.nonzero(args[0]), dtype=np.int64).reshape(args[0].ndim, -1)]


MEANINGS: Mapping[str, Meaning] = {
    "non_zero": _non_zero,
}
