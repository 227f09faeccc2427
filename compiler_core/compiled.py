"""numba as a typed decorator: the same function, compiled, its machine code kept on disk between runs.

The plain Python function stays reachable as `.py_func`, which the tests use as the oracle. numba itself is
loaded at the first call of a compiled function: importing one costs nothing.

numba keeps machine code until the file of the function changes, yet that has burnt in constants and functions
of other files. So code is kept under a digest of all files that a function draws on.
"""

import ast
import hashlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, cached_property, update_wrapper
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

MOST_PLAIN = 1
"""Up to this many rows are worked on without compiled code where none is loaded: a lookup asks about a single
one, and numba takes longer to load than a whole lookup.
"""
_PROJECT = __name__.partition(".")[0] + "."
_plain: list[Callable[..., Any]] = []
"""Functions that compiled ones may call, and that are not registered with numba yet."""


class Compiled(Generic[P, R]):
    """A function that numba compiles in nopython mode when it is first called."""

    def __init__(self, function: Callable[P, R]) -> None:
        self.py_func = function
        update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The compiled function's answer."""
        return self.dispatcher(*args, **kwargs)  # type: ignore[no-any-return]  # numba has no types

    def for_rows(self, rows: int) -> Callable[P, R]:
        """The function to call on so many rows: compiled, unless that is not worth loading the compiler."""
        return self if rows > MOST_PLAIN or is_loaded() else self.py_func

    @cached_property
    def dispatcher(self) -> Any:
        """The dispatcher that numba makes of it; other compiled functions call it directly."""
        numba = _numba()
        with _cached_in(numba, self.py_func):
            return numba.njit(cache=True)(self.py_func)


def compiled(function: Callable[P, R]) -> Compiled[P, R]:
    """`function` compiled by numba in nopython mode on first use."""
    return Compiled(function)


def jitable(function: Callable[P, R]) -> Callable[P, R]:
    """`function` unchanged, known to numba as one that compiled functions may take in."""
    _plain.append(function)
    return function


def is_loaded() -> bool:
    """Whether numba is in this process already."""
    return "numba" in sys.modules


def _numba() -> Any:
    """numba, with every function registered that compiled ones may call."""
    import numba
    from numba.extending import register_jitable

    _teach_types()
    while _plain:
        register_jitable(_plain.pop())
    return numba


@cache
def _teach_types() -> None:
    """Inside a compiled function, another one stands for its dispatcher."""
    from numba.extending import typeof_impl

    @typeof_impl.register(Compiled)
    def typeof_compiled(value: Compiled[Any, Any], context: Any) -> Any:
        return typeof_impl(value.dispatcher, context)


@contextmanager
def _cached_in(numba: Any, function: Callable[..., Any]) -> Iterator[None]:
    """Meanwhile, machine code is kept beside the source of `function`, under the digest of the sources that
    it depends on.
    """
    folder = Path(function.__code__.co_filename).parent
    settings = vars(numba.config)
    before = settings["CACHE_DIR"]
    settings["CACHE_DIR"] = str(folder / "__pycache__" / f"compiled-{_state_of(function.__module__)}")
    try:
        yield
    finally:
        settings["CACHE_DIR"] = before


@cache
def _state_of(module: str) -> str:
    """A digest of the sources that functions of `module` draw on."""
    states = []
    for path in sorted(_sources_of(module)):
        found = path.stat()
        states.append((str(path), found.st_size, found.st_mtime_ns))
    return hashlib.sha256(repr(states).encode()).hexdigest()[:16]


def _sources_of(module: str) -> set[Path]:
    """The file of a module, and those it has functions, numbers and named tuples from, and so on."""
    found: set[Path] = set()
    pending = [module]
    while pending:
        name = pending.pop()
        path = Path(sys.modules[name].__file__ or "")
        if path not in found:
            found.add(path)
            pending += _drawn_on(path)
    return found


def _drawn_on(path: Path) -> Iterator[str]:
    """The modules of this project from which a file imports what machine code can depend on."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.module and node.module in sys.modules:
            if not node.module.startswith(_PROJECT):
                continue
            for alias in node.names:
                value = getattr(sys.modules[node.module], alias.name)
                if isinstance(value, ModuleType):
                    yield value.__name__
                elif not isinstance(value, type) or issubclass(value, tuple):
                    yield node.module
