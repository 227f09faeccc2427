"""The plan of a network: which ops run together, in which order; chosen anew whenever prices have changed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

import optuna
from optuna.samplers import TPESampler

from compiler_core.fuse import Group
from compiler_core.kernel_order import spilled_bytes
from compiler_core.layouts import Layout
from compiler_core.pipeline import Plan, plan_groups
from compiler_core.target import Target
from compiler_core.workload import Level
from tuner.graph_knobs import GraphKnobs, ask_knobs, default_trial
from tuner.grouping import Boundary, Grouping, as_they_are, merge_while_it_pays
from tuner.layout_search import lay_out
from tuner.prices import Prices
from tuner.tasks import KernelTask

SWITCH = 0.995
"""A new plan must promise to take less than this share of the present one's time."""


@dataclass
class Planner:
    """`base` is the -O0 plan; `plan` the cheapest known under `prices`, with the `grouping` it came from.

    Without `fuses` the base plan stays. `knobs` of the whole network are those of the lowest price among
    `studied` trials, or as given without any. `layouts` of the values between kernels are chosen once, before
    anything is measured: under others every kernel that touches them would be another kernel.
    """

    base: Plan
    target: Target
    prices: Prices
    plan: Plan = field(init=False)
    grouping: Grouping | None = None
    tasks: dict[str, KernelTask] = field(default_factory=dict)
    layouts: Mapping[int, Layout] = field(default_factory=dict)
    fuses: bool = True
    knobs: GraphKnobs = field(default_factory=GraphKnobs)
    studied: int = 0

    def __post_init__(self) -> None:
        self.plan = self.base

    @property
    def levels(self) -> Mapping[int, Level]:
        """Where values live when a group is priced: as in the present plan, inner values as at -O0."""
        return {**self.base.levels, **self.plan.levels}

    def boundaries(self) -> tuple[Boundary, ...]:
        """Why neighbouring groups of the present plan are not one kernel."""
        return as_they_are(self.base.graph, self.plan.groups, self.price).boundaries

    def replan(self) -> Plan:
        """Merge groups under today's prices; keep the present plan where nothing promises to be faster."""
        if not self.fuses:
            return self.plan
        graph, levels = self.base.graph, self.levels
        if self.grouping is None:
            self.layouts = lay_out(
                graph, self.base.groups, lambda group, laid: self.prices.of(graph, group, levels, laid)
            )
            self.knobs = self._studied()
        price = partial(self.prices.of, graph, levels=levels, layouts=self.layouts)
        grouping = self._merged(self.knobs)
        present_us = sum(map(price, self.plan.groups))
        if self.grouping is None or grouping.price_us < SWITCH * present_us:
            self.grouping = grouping
            self.plan = self._planned(grouping, self.knobs)
        return self.plan

    def _merged(self, knobs: GraphKnobs) -> Grouping:
        price = partial(self.prices.of, self.base.graph, levels=self.levels, layouts=self.layouts)
        return merge_while_it_pays(self.base.graph, knobs.start(self.base), price, knobs.most_ops)

    def _planned(self, grouping: Grouping, knobs: GraphKnobs) -> Plan:
        groups = knobs.ordered(self.base, grouping.groups, self.target)
        return plan_groups(self.base.graph, groups, self.target, self.prices.regions(), self.layouts)

    def _studied(self) -> GraphKnobs:
        """The knobs of the network that promises to be fastest among `studied`, the present ones first."""
        if not self.studied:
            return self.knobs
        graph = self.base.graph
        spills = spilled_bytes(graph, self.base.groups, self.target) > 0
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(sampler=TPESampler(seed=self.prices.seed))
        study.enqueue_trial(default_trial())
        best: tuple[float, GraphKnobs] | None = None
        for _ in range(self.studied):
            trial = study.ask()
            knobs = ask_knobs(trial, spills=spills)
            plan = self._planned(self._merged(knobs), knobs)
            promised = sum(self.prices.of(graph, group, plan.levels, plan.layouts) for group in plan.groups)
            study.tell(trial, promised)
            if best is None or promised < best[0]:
                best = promised, knobs
        assert best is not None, "one trial at least"
        return best[1]

    def price(self, group: Group) -> float:
        """Microseconds of a group as one kernel, operands as in the present plan; 0 for a host op."""
        return self.prices.of(self.base.graph, group, self.levels, self.plan.layouts)

    def is_measured(self, group: Group) -> bool:
        """Whether this run measured a group as one kernel, operands as in the present plan."""
        return self.prices.is_measured(self.base.graph, group, self.levels, self.plan.layouts)

    def tasks_of(self, plan: Plan) -> tuple[KernelTask, ...]:
        """A task per distinct kernel of `plan`, in order of first use; the same objects at every call."""
        for digest in plan.counts:
            if digest not in self.tasks:
                priced = self.prices.kernels.get(digest)
                self.tasks[digest] = priced.task if priced else KernelTask(plan.regions[digest], self.target)
        return tuple(self.tasks[digest] for digest in plan.counts)
