"""The network measured as a whole on the way: what a run has to show for itself so far.

First its default, then, at a few shares of the budget, the best kernels of the present plan put together.
Events of a run show the best of these, in the unit of its objective: it never rises.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from tilewright.compiler_core.lowering.pipeline import Plan
from tilewright.search_space.knobs import Config
from tilewright.search_space.network import network_config
from tilewright.tuner.network.book import Book
from tilewright.tuner.network.opened import Opened


@dataclass
class Whole:
    """`best` is the lowest number of the objective that a whole network has measured, of `config`."""

    opened: Opened
    book: Book
    best: float | None = None
    config: Config | None = None

    @property
    def bound(self) -> float | None:
        """A number that no schedule of the network beats, where one is known."""
        return self.opened.bound_of(self.opened.objective)

    @property
    def unit(self) -> str:
        """That of both numbers."""
        return self.opened.objective.row.unit

    def measure(self, config: Config) -> None:
        """Measure a Config of the network, once in a run, and keep it where it is the best so far."""
        (measured,) = self.book.measure_whole([config], self.opened.bound_us)
        number = self.opened.objective.of(measured)
        if number is not None and (self.best is None or number < self.best):
            self.best, self.config = number, config

    def put_together(self, plan: Plan, configs: Mapping[str, Config]) -> None:
        """Measure a plan with a Config for each of its kernels, by workload digest."""
        self.measure(network_config(plan, configs, self.opened.network))
