"""A network searched: the trials of its kernels, the plans followed, and why the search stopped."""

from dataclasses import dataclass

from tilewright.tuner.kernel.stopping import StopReason
from tilewright.tuner.network.book import Book
from tilewright.tuner.network.opened import Opened
from tilewright.tuner.network.search import NetworkSearch


@dataclass(frozen=True, eq=False)
class Searched:
    """A search that has stopped for `reason`, with its kernels expected to be `regret` above their optimum
    (None if untold); `book` is still open.
    """

    opened: Opened
    book: Book
    search: NetworkSearch
    reason: StopReason
    regret: float | None
