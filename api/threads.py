"""The threads for the database: a few permanent ones, each with a connection of its own."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

Given = ParamSpec("Given")
Result = TypeVar("Result")


class Threads:
    """Runs blocking calls for the event loop."""

    def __init__(self, count: int) -> None:
        self._pool = ThreadPoolExecutor(max(1, count), "database")

    async def __call__(
        self, function: Callable[Given, Result], *given: Given.args, **named: Given.kwargs
    ) -> Result:
        """`function(*given, **named)` on one of the threads."""
        call = partial(function, *given, **named)
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    def close(self) -> None:
        """Waits for calls under way."""
        self._pool.shutdown(cancel_futures=True)
