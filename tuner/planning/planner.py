"""The plan of a network: which ops run together, in which form and order; chosen anew as prices change."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial

from tilewright.compiler_core.digest import Json
from tilewright.compiler_core.ir.layouts import Layout
from tilewright.compiler_core.ir.workload import Level, Workload
from tilewright.compiler_core.lowering.kernel_order import known_orders, spilled_bytes
from tilewright.compiler_core.lowering.pipeline import Plan, plan_graph, plan_groups
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.target_model.target import Target
from tilewright.compiler_core.transforms.fuse import Group
from tilewright.compiler_core.transforms.rewrites import Split, Unfold, rewritten
from tilewright.search_space.knobs import Config
from tilewright.search_space.network import Numbered, network_config, rewrites_text
from tilewright.tuner.kernel.task import KernelTask
from tilewright.tuner.planning.graph_knobs import GraphKnobs, ask_knobs
from tilewright.tuner.planning.grouping import (
    Boundary,
    Grouping,
    Order,
    Price,
    boundaries_of,
    merge_while_it_pays,
)
from tilewright.tuner.planning.kept_plan import KeptPlan, about_plan
from tilewright.tuner.planning.layouts import lay_out
from tilewright.tuner.planning.plan_cache import PLANS
from tilewright.tuner.planning.prices import Prices
from tilewright.tuner.planning.rewrites import Better, better_forms

SWITCH = 0.995
"""A new plan must promise to take less than this share of the present one's time."""


@dataclass
class Planner:
    """`base` is the -O0 plan; `plan` the cheapest known under `prices`, with the `grouping` it came from.

    Without `fuses` the base plan stays. `knobs` of the whole network are those of the lowest price among
    `studied` trials, or as given without any. `layouts` of the values between kernels, and which ops have a
    `better` form, are found once, before anything is measured: under others every kernel that touches them
    would be another kernel. Forms that turn out slower than hoped are given up all at once; `plain` is the
    plan that was left for them, if any, so that it can be measured beside the others.
    """

    base: Plan
    target: Target
    prices: Prices
    plan: Plan = field(init=False)
    plain: Plan | None = None
    grouping: Grouping | None = None
    tasks: dict[str, KernelTask] = field(default_factory=dict)
    layouts: Mapping[int, Layout] = field(default_factory=dict)
    better: Mapping[int, Better] = field(default_factory=dict)
    fuses: bool = True
    knobs: GraphKnobs = field(default_factory=GraphKnobs)
    studied: int = 0
    _starts: dict[str, Plan] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.plan = self.base

    def boundaries(self, plan: Plan) -> tuple[Boundary, ...]:
        """Why neighbouring groups of a plan are not one kernel."""
        floor = partial(self.prices.floor, plan.graph, levels=self._levels_of(plan), layouts=plan.layouts)
        return boundaries_of(plan.graph, plan.groups, self.pricing(plan), floor)

    def replan(self) -> Plan:
        """Merge groups under today's prices; keep the present plan where nothing promises to be faster."""
        if not self.fuses or (self.grouping is None and self._recalled()):
            return self.plan
        first = self.grouping is None
        if first:
            self.layouts = lay_out(self.base.graph, self.base.groups, partial(self._alone, self.base))
            self.better = better_forms(
                self.base, self.target, lambda plan, group: self._alone(plan, group, self.layouts)
            )
            self.knobs = self._studied()
        choices = dict.fromkeys((self.knobs, self.knobs.without_forms()))
        merged = [(self._merged(knobs), knobs) for knobs in choices if knobs is self.knobs or self.better]
        grouping, knobs = min(merged, key=lambda pair: pair[0].price_us)
        present_us = sum(map(self.pricing(self.plan), self.plan.groups))
        if first or grouping.price_us < SWITCH * present_us:
            if first and self._start(knobs).graph.rewrites:
                self.plain = self._planned(*merged[-1])
            self.grouping, self.knobs = grouping, knobs
            self.plan = self._planned(grouping, knobs)
        if first:
            self._keep()
        return self.plan

    def _recalled(self) -> bool:
        """Take the first plan of an earlier run, if one is kept and no record would have changed it."""
        prices = self.prices
        kept = None if self.studied else KeptPlan.from_json(prices.cache.get(PLANS, self._about))
        if kept is None or not prices.unaided or prices.knows_any(kept.priced):
            return False
        self.layouts, self.better = kept.layouts, kept.better
        own = self.knobs.without_forms()
        if kept.plain is not None:
            self.plain = plan_groups(
                self._start(own).graph, kept.plain, self.target, self.analysed, kept.layouts
            )
        self.knobs = self.knobs if kept.with_forms else own
        self.grouping = Grouping(kept.groups, kept.price_us)
        graph = self._start(self.knobs).graph
        self.plan = plan_groups(graph, kept.groups, self.target, self.analysed, kept.layouts)
        return True

    def _keep(self) -> None:
        """Keep the first plan for later runs, where it follows from the network and the target alone."""
        if self.grouping is None or self.studied or not self.prices.unaided:
            return
        with_forms = self.knobs != self.knobs.without_forms()
        plain = None if self.plain is None else self.plain.groups
        kept = KeptPlan(
            self.layouts,
            self.better,
            with_forms,
            self.plan.groups,
            self.grouping.price_us,
            plain,
            tuple(self.prices.kernels),
        )
        self.prices.cache.put(PLANS, self._about, kept.to_json())
        self.prices.cache.flush()

    @cached_property
    def _about(self) -> Json:
        return about_plan(self.base.graph, self.target, [self.prices.seed, repr(self.knobs)])

    def in_known_orders(self, plan: Plan) -> Iterator[Plan]:
        """A plan whose groups run one after the other, and the same in the other orders known for them."""
        yield plan
        if len(plan.stages) == len(plan.groups):
            for groups in known_orders(plan.graph, plan.groups, self.target):
                if groups != plan.groups:
                    yield plan_groups(plan.graph, groups, self.target, self.analysed, plan.layouts)

    @property
    def start(self) -> Plan:
        """The -O0 plan of the network in the forms that the present plan was merged from."""
        return self.base if self.grouping is None else self._start(self.knobs)

    def _levels_of(self, plan: Plan) -> Mapping[int, Level]:
        """The place of every value under a plan; values inside its kernels lie as at -O0."""
        return {**self.base.levels, **plan.levels}

    def _start(self, knobs: GraphKnobs) -> Plan:
        """The -O0 plan in the forms that the knobs take: where merging starts."""
        forms = {op: found.rewrite for op, found in self.better.items() if knobs.takes(found.rewrite)}
        name = rewrites_text(forms)
        if name not in self._starts:
            graph = rewritten(self.base.graph, forms)
            self._starts[name] = plan_graph(graph, self.target) if forms else self.base
        return self._starts[name]

    def _alone(self, plan: Plan, group: Group, layouts: Mapping[int, Layout]) -> float:
        """Microseconds of a group of a plan that nothing is merged in."""
        return self.prices.of(plan.graph, group, plan.levels, layouts)

    def _levels(self, start: Plan) -> Mapping[int, Level]:
        """Places of values when merging begins: those of the present plan, if it is of the same network."""
        same = self.plan.graph.rewrites == start.graph.rewrites
        return {**start.levels, **self.plan.levels} if same else start.levels

    def _merged(self, knobs: GraphKnobs) -> Grouping:
        start = self._start(knobs)
        levels = self._levels(start)
        price = partial(self.prices.of, start.graph, levels=levels, layouts=self.layouts)
        floor = partial(self.prices.floor, start.graph, levels=levels, layouts=self.layouts)
        return merge_while_it_pays(
            start.graph, knobs.start(start), price, knobs.most_ops, floor, tuple(Order)
        )

    def _planned(self, grouping: Grouping, knobs: GraphKnobs) -> Plan:
        start = self._start(knobs)
        groups = knobs.ordered(start, grouping.groups, self.target)
        return plan_groups(start.graph, groups, self.target, self.analysed, self.layouts)

    def _studied(self) -> GraphKnobs:
        """The knobs of the network that promises to be fastest among `studied`, the present ones first."""
        if not self.studied:
            return self.knobs
        # A study needs optuna, which takes longer to load than a lookup to answer.
        from tilewright.tuner.planning.study import best_knobs

        spills = spilled_bytes(self.base.graph, self.base.groups, self.target) > 0
        forms = {type(found.rewrite) for found in self.better.values()}
        offered = partial(ask_knobs, spills=spills, splits=Split in forms, unfolds=Unfold in forms)
        return best_knobs(offered, self._promised, self.studied, self.prices.seed)

    def _promised(self, knobs: GraphKnobs) -> float:
        """The price of the network planned with `knobs`."""
        plan = self._planned(self._merged(knobs), knobs)
        return sum(self.prices.of(plan.graph, group, plan.levels, plan.layouts) for group in plan.groups)

    def pricing(self, plan: Plan) -> Price:
        """The price of a group as one kernel, operands as in `plan`; 0 for a host op."""
        levels = self._levels_of(plan)
        return partial(self.prices.of, plan.graph, levels=levels, layouts=plan.layouts)

    def is_measured(self, group: Group, plan: Plan) -> bool:
        """Whether this run measured a group as one kernel, operands as in `plan`."""
        return self.prices.is_measured(plan.graph, group, self._levels_of(plan), plan.layouts)

    def default_config(self, network: Numbered) -> Config:
        """The -O0 Config of the network that the base plan is of."""
        defaults = {task.digest: self.prices.default(task) for task in self.tasks_of(self.base)}
        return network_config(self.base, defaults, network)

    @property
    def analysed(self) -> Mapping[str, Regions]:
        """The analysis of all kernels of plans so far, to be reused."""
        return {digest: task.regions for digest, task in self.tasks.items()}

    def merged_kernels(self) -> Iterator[tuple[KernelTask, tuple[KernelTask, ...]]]:
        """Kernels of the present plan that took several of the -O0 plan's in, and these as they would be."""
        start = self.start
        levels = self._levels(start)
        for group, kernel in zip(self.plan.groups, self.plan.kernels, strict=True):
            inner = [each for each in start.groups if set(each) <= set(group)]
            if kernel is None or len(inner) < 2 or set().union(*inner) != set(group):
                continue
            parts = (self.prices.workload(start.graph, each, levels, self.layouts) for each in inner)
            yield self._task(kernel.workload), tuple(map(self._task, parts))

    def _task(self, workload: Workload) -> KernelTask:
        if workload.digest not in self.tasks:
            self.tasks[workload.digest] = KernelTask(Regions(workload), self.target)
        return self.tasks[workload.digest]

    def tasks_of(self, plan: Plan) -> tuple[KernelTask, ...]:
        """A task per distinct kernel of `plan`, in order of first use; the same objects at every call."""
        for digest in plan.counts:
            if digest not in self.tasks:
                self.tasks[digest] = KernelTask(plan.regions[digest], self.target)
        return tuple(self.tasks[digest] for digest in plan.counts)
