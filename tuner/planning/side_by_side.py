"""Groups side by side: independent stages share the cores where that is faster.

    (a) 3.1 us on 8 cores, (b) 2.9 us on 32   ->   (a @ 8, b @ 24) 3.4 us: one launch less, no core idle

Kernels are priced alone on a part of the chip with its part of the ports, by what was measured on so few
cores or by the lowest draft; the whole Program is measured before anything is kept.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from heapq import heapify, heappop, heappush

from tilewright.compiler_core.lowering.pipeline import CoPlacement, Plan, plan_groups
from tilewright.compiler_core.lowering.schedule import CoreRange, Placed, Stage
from tilewright.compiler_core.lowering.stages import Ancestry, Members, in_stage_order, needs_of, side_by_side
from tilewright.compiler_core.target_model.target import Target
from tilewright.search_space.knobs import Config
from tilewright.tuner.kernel.task import KernelTask
from tilewright.tuner.planning.prices import draft_us, guessed

PARTS = 8
"""Cores are shared out in so many parts of the chip."""
MOST_STAGES = 600
"""Plans of more stages are left as they are: every pair is looked at."""
LEAST_SAVING_US = 0.05

Tried = Sequence[tuple[float, Config]]
"""Latencies in us of a kernel's Configs alone on the chip, measured or guessed, best first."""


@dataclass(frozen=True, eq=False)
class Shared:
    """A plan with groups side by side; by co-placement the time expected in us, and the Config."""

    plan: Plan
    co_placements: Mapping[CoPlacement, tuple[float, Config]]


def share_of(target: Target, cores: int) -> Target:
    """`cores` of a chip with their part of the shared ports."""
    part = cores / target.cores
    return replace(
        target,
        cores=cores,
        llb=replace(target.llb, gbps=target.llb.gbps * part),
        dram=replace(target.dram, gbps=target.dram.gbps * part),
    )


@dataclass
class PartPrices:
    """Prices of kernels on a part of the chip, each computed at its first use."""

    target: Target
    tasks: Mapping[str, KernelTask]
    tried: Mapping[str, Tried]
    seed: int = 0
    _known: dict[CoPlacement, tuple[float, Config]] = field(default_factory=dict)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Parts of the chip that a kernel may get, ascending, in cores."""
        cores = self.target.cores
        return tuple(sorted({cores * part // PARTS for part in range(1, PARTS)} - {0}))

    def alone_us(self, digest: str) -> float:
        """The kernel on the whole chip."""
        return self.tried[digest][0][0]

    def of(self, co_placement: CoPlacement) -> tuple[float, Config]:
        """Microseconds of a kernel on so many cores, and the Config; no worse than on fewer of `sizes`."""
        if co_placement not in self._known:
            fewer = [size for size in self.sizes if size < co_placement.cores]
            options = [self.of(CoPlacement(co_placement.digest, fewer[-1]))] if fewer else []
            options += [
                each for each in self.tried[co_placement.digest] if cores_of(each[1]) <= co_placement.cores
            ][:1]
            alone_us, alone = self.tried[co_placement.digest][0]
            if cores_of(alone) > co_placement.cores:
                task = self.tasks[co_placement.digest]
                narrow = guessed(
                    KernelTask(task.regions, share_of(self.target, co_placement.cores)), self.seed
                )
                if narrow.guess is not None:
                    options.append((narrow.guess_us * alone_us / draft_us(task, alone), narrow.guess))
            self._known[co_placement] = min(options, key=lambda each: each[0])
        return self._known[co_placement]

    def shared_out(self, digests: Sequence[str]) -> tuple[float, tuple[int, ...]]:
        """Kernels side by side: the microseconds of the slowest, and the cores of each that make it fast."""
        curves = [
            [(self.of(CoPlacement(digest, size))[0], size) for size in self.sizes] for digest in digests
        ]
        for us in sorted({us for curve in curves for us, _ in curve}):
            cores = [
                min((size for taken_us, size in curve if taken_us <= us), default=self.target.cores)
                for curve in curves
            ]
            if sum(cores) <= self.target.cores:
                return us, tuple(cores)
        return float("inf"), ()


def cores_of(config: Config) -> int:
    """The cores that a kernel's Config uses."""
    cores = dict(config.items).get("cores", 1)
    assert isinstance(cores, int), "a whole number in every space of a kernel"
    return cores


def share_cores(plan: Plan, prices: PartPrices) -> Shared | None:
    """`plan` with the stages joined that save most together, one after the other; None where none saves.

    None also where values would have to move out of the LLB for it, for then its kernels would be others.
    """
    if prices.target.cores < 2 or len(plan.groups) > MOST_STAGES or len(plan.stages) < len(plan.groups):
        return None
    joining = _Joining(plan, prices)
    joining.join_while_it_pays()
    shared = joining.result()
    return shared if shared is not None and set(shared.plan.counts) <= set(plan.counts) else None


_Entry = tuple[float, tuple[int, int], tuple[Members, ...]]
"""The possible saving of joining two stages, negated; the two; their members when it was weighed, none for an
estimate.
"""


class _Joining:
    """Stages by number with their times, and the pairs worth joining: weighed exactly only when they lead."""

    def __init__(self, plan: Plan, prices: PartPrices) -> None:
        self.plan = plan
        self.prices = prices
        self.needs = needs_of(plan.graph, plan.groups)
        self.ancestry = Ancestry(self.needs)
        self.us = {
            group: prices.alone_us(kernel.workload.digest)
            for group, kernel in enumerate(plan.kernels)
            if kernel is not None
        }
        self.work_us = {group: self._work_us(group) for group in self.us}
        stages = sorted(self.us)
        pairs = [(one, other) for index, one in enumerate(stages) for other in stages[index + 1 :]]
        self.queue: list[_Entry] = [
            (-self._hope(pair), pair, ()) for pair in pairs if self.ancestry.independent(*pair)
        ]
        heapify(self.queue)

    def _work_us(self, stage: int) -> float:
        """The least time of the kernel's work on the whole chip."""
        kernel, target = self.plan.kernels[stage], self.prices.target
        assert kernel is not None, "only kernels are joined"
        least = self.prices.tasks[kernel.workload.digest].model.least
        return least.cycles(target.cores) / target.cycles_per_us

    def _hope(self, pair: tuple[int, int]) -> float:
        """The most that joining two stages can save: the chip does the work of both, no faster than each."""
        one, other = pair
        target = self.prices.target
        together = target.launch_cycles / target.cycles_per_us + self.work_us[one] + self.work_us[other]
        return self.us[one] + self.us[other] - max(self.us[one], self.us[other], together)

    def _digests(self, pair: tuple[int, int]) -> list[str]:
        members = (*self.ancestry.members[pair[0]], *self.ancestry.members[pair[1]])
        kernels = [self.plan.kernels[group] for group in members]
        return [kernel.workload.digest for kernel in kernels if kernel is not None]

    def join_while_it_pays(self) -> None:
        while self.queue:
            hope, pair, weighed = heappop(self.queue)
            if -hope <= LEAST_SAVING_US:
                return
            one, other = pair
            members = self.ancestry.members
            if one not in members or other not in members or not self.ancestry.independent(one, other):
                continue
            now = members[one], members[other]
            together_us, _ = self.prices.shared_out(self._digests(pair))
            saving = self.us[one] + self.us[other] - together_us
            if weighed != now:
                heappush(self.queue, (-saving, pair, now))
                continue
            self.ancestry.join(one, other)
            self.us[one] = together_us
            self.work_us[one] += self.work_us.pop(other)
            del self.us[other]
            for third in self.us:
                fresh = min(one, third), max(one, third)
                if third != one and self.ancestry.independent(*fresh):
                    heappush(self.queue, (-self._hope(fresh), fresh, ()))

    def result(self) -> Shared | None:
        members = self.ancestry.members
        if len(members) == len(self.plan.groups):
            return None
        ordered = in_stage_order(self.needs, [members[stage] for stage in sorted(members)])
        assert ordered is not None, "independent stages are joined only"
        stages = tuple(self._stage(each) for each in ordered)
        plan = plan_groups(
            self.plan.graph,
            self.plan.groups,
            self.prices.target,
            self.plan.regions,
            self.plan.layouts,
            stages,
        )
        return Shared(
            plan, {co_placement: self.prices.of(co_placement) for co_placement in plan.co_placements}
        )

    def _stage(self, members: Members) -> Stage:
        cores = self.prices.target.cores
        if len(members) == 1:
            return (Placed(members[0], CoreRange(0, cores)),)
        kernels = [self.plan.kernels[group] for group in members]
        digests = [kernel.workload.digest for kernel in kernels if kernel is not None]
        return side_by_side(members, self.prices.shared_out(digests)[1])
