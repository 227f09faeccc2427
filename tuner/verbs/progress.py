"""How long work is watched: a bar on a terminal, one line per event when piped."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tilewright.tuner.network.events import Event, Listener, Measured, Phase

LINE_EVERY_S = 5.0


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
                return
            progress.update(bar, completed=event.trials, total=event.budget, best=standing(event))

        yield listen


class _Lines:
    """Phases at once, measurements at most every LINE_EVERY_S."""

    def __init__(self) -> None:
        self._last = -LINE_EVERY_S

    def __call__(self, event: Event) -> None:
        if isinstance(event, Phase):
            print(f"{event.name}: {event.detail}", file=sys.stderr, flush=True)
        elif isinstance(event, Measured) and time.monotonic() - self._last >= LINE_EVERY_S:
            self._last = time.monotonic()
            line = f"measured {event.trials}/{event.budget}  {standing(event)}"
            print(line, file=sys.stderr, flush=True)


def standing(event: Measured) -> str:
    """The best whole network so far and its bound, in the unit of the objective."""
    told = (("best", event.best), ("bound", event.bound))
    return ", ".join(f"{name} {number:.2f} {event.unit}" for name, number in told if number is not None)
