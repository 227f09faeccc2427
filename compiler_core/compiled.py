"""numba as a typed decorator: the same function, compiled, its machine code kept on disk between runs.

The plain Python function stays reachable as `.py_func`, which the tests use as the oracle.

numba keeps machine code until the file of the function changes, yet that has burnt in constants and functions
of other files. So code is kept under a digest of all files that a function may draw on.
"""

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import ParamSpec, TypeVar, cast

import numba

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """`function` compiled by numba in nopython mode on first use."""
    folder = Path(function.__code__.co_filename).parent
    vars(numba.config)["CACHE_DIR"] = str(folder / "__pycache__" / f"compiled-{_state_of(folder)}")
    return cast("Callable[P, R]", numba.njit(cache=True)(function))


@cache
def _state_of(folder: Path) -> str:
    """A digest of name, size and time of the sources in `folder` and in compiler_core."""
    core = Path(__file__).parent
    files = sorted({*folder.rglob("*.py"), *core.rglob("*.py")})
    states = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return hashlib.sha256(repr(states).encode()).hexdigest()[:16]
