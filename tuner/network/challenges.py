"""Fusions that have not proved themselves: their parts are measured before more of the budget follows them.

    drafts     whole 3.6 us, parts 2.1 + 2.6         ->   merged
    measured   whole 4.8 us                          ->   contested: 2.1 + 2.6 promise less than 4.8
    measured   parts 1.9 + 2.4                       ->   taken apart when the network is next planned anew

A plan is chosen by prices. Those of kernels that were not measured are drafts, corrected by how far off the
drafts of measured kernels are. Where all of these were merged, the correction hides what it should show.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from tilewright.tuner.kernel.task import KernelTask
from tilewright.tuner.planning.planner import Planner


@dataclass(frozen=True)
class Contest:
    """A merged kernel, the parts of it that were not measured, and what these promise to save."""

    whole: KernelTask
    parts: tuple[KernelTask, ...]
    saves_us: float


def contests(planner: Planner, measured_us: Mapping[str, float]) -> list[Contest]:
    """The contested kernels of the present plan, by what the network would save; `measured_us` by digest.

    A part counts with its measurement, else with its draft as it is.
    """
    found: dict[str, Contest] = {}
    for whole, parts in planner.merged_kernels():
        if whole.digest not in measured_us or whole.digest in found:
            continue
        promised_us = sum(
            measured_us.get(part.digest, planner.prices.priced(part.workload).guess_us) for part in parts
        )
        unknown = tuple(dict.fromkeys(part for part in parts if part.digest not in measured_us))
        saves_us = (measured_us[whole.digest] - promised_us) * planner.plan.counts[whole.digest]
        if unknown and saves_us > 0.0:
            found[whole.digest] = Contest(whole, unknown, saves_us)
    return sorted(found.values(), key=lambda contest: (-contest.saves_us, contest.whole.digest))
