"""An assignment: a plan of a network, and a Config for each of its kernels."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from tilewright.compiler_core.lowering.host_time import host_stage_us
from tilewright.compiler_core.lowering.pipeline import CoPlacement, Plan
from tilewright.compiler_core.lowering.schedule import Stage
from tilewright.search_space.knobs import Config
from tilewright.search_space.network import beside_configs, kernel_configs, network_config
from tilewright.tuner.kernel.task import KernelTask
from tilewright.tuner.network.opened import Opened
from tilewright.tuner.planning.prices import draft_us


@dataclass(frozen=True)
class Choice:
    """A kernel's Config, and its source: measured, database, guessed or default."""

    config: Config
    latency_us: float
    source: str


@dataclass(frozen=True, eq=False)
class Assignment:
    """A plan of a network, and the choices for its kernels: `choices` by workload digest, `beside` for those
    that run on a part of the chip.
    """

    opened: Opened
    plan: Plan
    choices: Mapping[str, Choice]
    beside: Mapping[CoPlacement, Choice] = field(default_factory=dict)

    @property
    def tasks(self) -> tuple[KernelTask, ...]:
        """The distinct kernels of the plan."""
        return self.opened.planner.tasks_of(self.plan)

    @cached_property
    def config(self) -> Config:
        """The network's Config."""
        alone = {digest: self.choices[digest].config for digest in self.plan.counts}
        beside = {placed: self.beside[placed].config for placed in self.plan.co_placements}
        return network_config(self.plan, alone, self.opened.network, beside)

    @property
    def sum_us(self) -> float:
        """The plan's stages added up, each as long as its slowest kernel measured alone, and the host ops."""
        return self.host_us + sum(
            max((choice.latency_us for _, choice in self.choices_of(stage)), default=0.0)
            for stage in self.plan.stages
        )

    @property
    def host_us(self) -> float:
        """The time of ops on the host, each in a stage of its own."""
        graph, target = self.plan.graph, self.opened.target
        return sum(
            host_stage_us(graph, graph.ops[max(group)], target)
            for group, kernel in zip(self.plan.groups, self.plan.kernels, strict=True)
            if kernel is None
        )

    def choices_of(self, stage: Stage) -> list[tuple[CoPlacement, Choice]]:
        """The choices for the kernels of one stage of the plan, with their places."""
        kernels = [(self.plan.kernels[each.group], each.cores.count) for each in stage]
        co_placements = [
            CoPlacement(kernel.workload.digest, cores) for kernel, cores in kernels if kernel is not None
        ]
        alone = len(stage) == 1
        return [
            (co_placement, self.choices[co_placement.digest] if alone else self.beside[co_placement])
            for co_placement in co_placements
        ]


MISSING = "missing"
"""The source of a kernel's Config where no record answers, and nothing that the user wants stands in."""


def guessed_of(opened: Opened, plan: Plan) -> Assignment:
    """The plan with the Config of every kernel that its draft likes best."""
    return Assignment(
        opened, plan, {task.digest: best_guess(opened, task) for task in opened.planner.tasks_of(plan)}
    )


def best_guess(opened: Opened, task: KernelTask) -> Choice:
    """The Config that the draft likes best."""
    priced = opened.planner.prices.priced(task.workload)
    assert priced.guess is not None, "a kernel of a plan fits"
    return Choice(priced.guess, priced.guess_us, "guessed")


def assignment_of(
    opened: Opened,
    config: Config,
    choices: Mapping[str, Choice] | None = None,
    beside: Mapping[CoPlacement, Choice] | None = None,
    readings_us: Mapping[tuple[str, str], float] | None = None,
) -> Assignment:
    """The assignment of a Config of the network; choices of `choices` and `beside` with the same Configs are
    kept. `readings_us` are measured latencies of kernels, by workload and Config digest; records tell others.
    """
    plan, _ = opened.schedule_of(config)
    configs, tasks = kernel_configs(config, plan), opened.planner.tasks_of(plan)
    known = {
        digest: Choice(best.config, best.latency_us, "database")
        for digest, best in opened.records.bests(tasks).items()
    }
    settled = {
        digest: choice
        for source in (known, choices or {})
        for digest, choice in source.items()
        if choice.config == configs.get(digest)
    }
    rest = [(task.digest, configs[task.digest].digest) for task in tasks if task.digest not in settled]
    told_us = readings_us or {}
    read_us = {**opened.records.readings_us([pair for pair in rest if pair not in told_us]), **told_us}
    alone = {
        task.digest: settled.get(task.digest) or _choice(task, configs[task.digest], read_us)
        for task in tasks
    }
    shared = {}
    for co_placement, wanted in beside_configs(config, plan).items():
        present = (beside or {}).get(co_placement)
        if present is None or present.config != wanted:
            present = Choice(wanted, draft_us(opened.co_placed(plan, co_placement), wanted), "guessed")
        shared[co_placement] = present
    return Assignment(opened, plan, alone, shared)


def _choice(task: KernelTask, config: Config, readings_us: Mapping[tuple[str, str], float]) -> Choice:
    if (task.digest, config.digest) in readings_us:
        return Choice(config, readings_us[task.digest, config.digest], "measured")
    return Choice(config, draft_us(task, config), "default" if config == task.ruled else "guessed")
