"""The price of a regret: what so many trials are expected to leave, before they are spent."""

from dataclasses import dataclass

import numpy as np

from tilewright.tuner.outlook.course import LENGTH
from tilewright.tuner.outlook.outlook import Band, Outlook

_PER_KERNEL = (4, 16, 40, 100)
"""Trials a kernel at which a price is told."""


@dataclass(frozen=True)
class Price:
    """The regret after so many more trials of the whole network."""

    trials: int
    band: Band

    def __str__(self) -> str:
        when = f"{self.trials} trials" if self.trials else "now"
        low, high = _percent(self.band.low), _percent(self.band.high)
        return f"{when}: {_percent(self.band.expected)} % ({low} to {high})"


def prices(outlook: Outlook, budget: int) -> tuple[Price, ...]:
    """At a few numbers of trials up to `budget`, which are shared out evenly; the last is `budget`. With
    something measured already, the first is now.
    """
    kernels = len(outlook.seen)
    now = {0} if all(each.trials for each in outlook.seen) else set()
    totals = sorted({*now, *(each * kernels for each in _PER_KERNEL if each * kernels < budget), budget})
    return tuple(Price(total, outlook.band(_shared(outlook, total))) for total in totals)


def trials_to(outlook: Outlook, regret: float, confidence: float = 0.95) -> int | None:
    """The trials after which `regret` is reached with `confidence`; None where no known search tells."""
    kernels = len(outlook.seen)
    for each in np.unique(np.round(np.geomspace(1, LENGTH, 40)).astype(int)).tolist():
        if float(np.mean(outlook.regret(each) <= regret)) >= confidence:
            return int(each) * kernels
    return None


def price_text(outlook: Outlook, budget: int, regret: float | None) -> str:
    """One line for people: regrets to expect up to `budget` more trials, and what `regret` takes."""
    line = "expected regret (9 in 10): " + "; ".join(map(str, prices(outlook, budget)))
    if regret is None:
        return line
    takes = trials_to(outlook, regret)
    asked = f"{_percent(regret)} % with 95 % confidence takes"
    return f"{line}; {asked} {'more than is known' if takes is None else f'about {takes} trials'}"


def _shared(outlook: Outlook, total: int) -> list[int]:
    """`total` trials shared out evenly; a kernel with a draft runs by that at the least."""
    each_gets = total // len(outlook.seen)
    return [max(each_gets, int(each.drafted and not each.trials)) for each in outlook.seen]


def _percent(share: float) -> str:
    """Two digits, without an exponent."""
    percent = 100.0 * share
    return f"{percent:.0f}" if percent >= 10.0 else f"{percent:.1f}"
