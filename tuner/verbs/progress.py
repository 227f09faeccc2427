"""The progress of long work: a bar and a table of kernels on a terminal, lines when piped."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tilewright.tuner.network.events import Counted, Event, Listener, Measured, Phase, standing

if TYPE_CHECKING:
    from rich.table import Table

LINE_EVERY_S = 5.0
AFTER_SEARCH = ("verify", "done")
"""The phases in which no more trials are spent."""
MOST_ROWS = 16
"""Kernels that the table shows: those that take most of the time."""
DRAWN_A_SECOND = 4


@contextmanager
def watching() -> Iterator[Listener]:
    """A listener for the time of a `with` block; everything goes to standard error."""
    if sys.stderr.isatty():
        with _live() as listener:
            yield listener
    else:
        yield _Lines()


@dataclass
class Board:
    """The kernels of a search, by the last event of each."""

    latest: dict[str, Measured] = field(default_factory=dict)

    def hear(self, event: Measured) -> None:
        """Take in the event of a kernel; one without further calls in the plan is dropped."""
        if event.calls:
            self.latest[event.digest] = event
        else:
            self.latest.pop(event.digest, None)

    def rows(self) -> list[tuple[str, str, str, str, str, str]]:
        """Name, calls, trials, best and bound in us, share of the whole: those first that take most of it."""
        kernels = sorted(self.latest.values(), key=lambda each: -_total(each))
        whole = max((each.sum_us for each in kernels), default=0.0)
        return [
            (
                each.kernel,
                str(each.calls),
                str(each.kernel_trials),
                _number(each.kernel_best_us),
                _number(each.kernel_bound_us),
                f"{_total(each) / whole:.1%}" if whole else "-",
            )
            for each in kernels[:MOST_ROWS]
        ]


HEADINGS = ("kernel", "calls", "trials", "best us", "bound us", "share")


def _total(event: Measured) -> float:
    return (event.kernel_best_us or 0.0) * event.calls


def _number(us: float | None) -> str:
    return "-" if us is None else f"{us:.2f}"


@contextmanager
def _live() -> Iterator[Listener]:
    from rich.console import Console, Group
    from rich.live import Live
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[best]}"),
    )
    console, board = Console(stderr=True), Board()
    progress = Progress(*columns, console=console)
    bar = progress.add_task("starting", total=None, best="")
    with Live(progress, console=console, transient=True, refresh_per_second=DRAWN_A_SECOND) as live:

        def listen(event: Event) -> None:
            if isinstance(event, Phase):
                progress.update(bar, description=event.name, best="")
                console.print(f"{event.name}: {event.detail}", markup=False, highlight=False)
                if event.name in AFTER_SEARCH:  # also where a search ends before its budget does
                    progress.update(bar, total=progress.tasks[bar].completed)
            elif isinstance(event, Counted):
                progress.update(bar, best=f"{event.done} {event.what}")
            else:
                board.hear(event)
                progress.update(bar, completed=event.trials, total=event.budget, best=_standing(event))
                live.update(Group(progress, _table(board.rows())))

        yield listen


def _table(rows: Sequence[tuple[str, ...]]) -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table(*HEADINGS[:1], box=None, pad_edge=False, header_style="bold")
    for heading in HEADINGS[1:]:
        table.add_column(heading, justify="right", no_wrap=True)
    table.columns[0].overflow, table.columns[0].no_wrap = "ellipsis", True
    for row in rows:
        table.add_row(*map(Text, row))
    return table


class _Lines:
    """Phases at once, measurements at most every LINE_EVERY_S, the last one before a phase always; what is
    counted where a phase takes long.
    """

    def __init__(self) -> None:
        self._last = -LINE_EVERY_S
        self._counted_s = time.monotonic()
        self._unsaid: Measured | None = None

    def __call__(self, event: Event) -> None:
        if isinstance(event, Phase):
            if self._unsaid is not None:
                self._say(self._unsaid)
            print(f"{event.name}: {event.detail}", file=sys.stderr, flush=True)
            self._counted_s = time.monotonic()
        elif isinstance(event, Counted):
            if time.monotonic() - self._counted_s >= LINE_EVERY_S:
                self._counted_s = time.monotonic()
                print(f"{event.done} {event.what}", file=sys.stderr, flush=True)
        elif time.monotonic() - self._last >= LINE_EVERY_S:
            self._say(event)
        else:
            self._unsaid = event

    def _say(self, event: Measured) -> None:
        self._last, self._unsaid = time.monotonic(), None
        line = f"measured {event.trials}/{event.budget}  {_standing(event)}"
        print(line, file=sys.stderr, flush=True)


def _standing(event: Measured) -> str:
    return standing(event.best, event.bound, event.unit)
