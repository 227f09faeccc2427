"""How long work is watched: a bar on a terminal, one line per event when piped."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tilewright.tuner.network.events import Event, Listener, Measured, Phase, standing

LINE_EVERY_S = 5.0
AFTER_SEARCH = ("verify", "done")
"""The phases in which no more trials are spent."""


@contextmanager
def watching() -> Iterator[Listener]:
    """A listener for the time of a `with` block; everything goes to standard error."""
    if sys.stderr.isatty():
        with _bar() as listener:
            yield listener
    else:
        yield _Lines()


@contextmanager
def _bar() -> Iterator[Listener]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[best]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("starting", total=None, best="")

        def listen(event: Event) -> None:
            if isinstance(event, Phase):
                progress.update(bar, description=event.name)
                progress.console.print(f"{event.name}: {event.detail}")
                if event.name in AFTER_SEARCH:  # also where a search ends before its budget does
                    progress.update(bar, total=progress.tasks[bar].completed)
                return
            progress.update(bar, completed=event.trials, total=event.budget, best=_standing(event))

        yield listen


class _Lines:
    """Phases at once, measurements at most every LINE_EVERY_S, the last one before a phase always."""

    def __init__(self) -> None:
        self._last = -LINE_EVERY_S
        self._unsaid: Measured | None = None

    def __call__(self, event: Event) -> None:
        if isinstance(event, Phase):
            if self._unsaid is not None:
                self._say(self._unsaid)
            print(f"{event.name}: {event.detail}", file=sys.stderr, flush=True)
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
