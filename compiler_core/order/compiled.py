"""numba as a typed decorator: the same function, compiled, its machine code kept on disk between runs.

The plain Python function stays reachable as `.py_func`, which the tests use as the oracle.
"""

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import numba

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """`function` compiled by numba in nopython mode on first use."""
    return cast("Callable[P, R]", numba.njit(cache=True)(function))
