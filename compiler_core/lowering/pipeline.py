"""compile_graph: a Graph and a Schedule become a Program.

groups -> kernels (canonical Workloads) -> regions -> lowered kernels -> stages -> LLB offsets
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from tilewright.compiler_core.errors import ConfigError, ModelError
from tilewright.compiler_core.ir.alike import KernelCutter
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.ir.layouts import Layout, misplaced
from tilewright.compiler_core.ir.ops import Unit
from tilewright.compiler_core.ir.workload import Kernel, Level
from tilewright.compiler_core.lowering.lower import lower_kernel
from tilewright.compiler_core.lowering.memory.allocate import Block, TensorSpan, allocate_blocks
from tilewright.compiler_core.lowering.memory.placement import Lifetime, lifetimes, place_values
from tilewright.compiler_core.lowering.program import HostCall, KernelCall, Program
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.lowering.schedule import CoreRange, Placed, Schedule, Stage, Tiling
from tilewright.compiler_core.lowering.tile import default_tiling
from tilewright.compiler_core.target_model.target import Target
from tilewright.compiler_core.transforms.fuse import FusionPolicy, Group, group_greedily

Chosen = tuple[Tiling, int]
"""A kernel's Tiling, and the cores it uses."""
MOST_OPS = 1 << 14
"""Of a network, once it is simplified: a decoder of a hundred layers has about 10,000."""
LLB_SHARE = 0.75
"""Share of the LLB that values between kernels may take; the rest stages what streams through."""


class CoPlacement(NamedTuple):
    """A kernel that runs beside others: its workload digest, and the cores it may use at most."""

    digest: str
    cores: int


@dataclass(frozen=True, eq=False)
class Plan:
    """Groups of a Graph in stage order, where values live, and the kernels that follow from both.

    `stages` gives every group the cores it may use: all of them where it runs alone, else a range of its own.
    `kernels[g]` is None where group g is a host op. `regions` has one entry per distinct workload digest.
    `layouts` as in a Schedule.
    """

    graph: Graph
    groups: tuple[Group, ...]
    stages: tuple[Stage, ...]
    levels: Mapping[int, Level]
    kernels: tuple[Kernel | None, ...]
    regions: Mapping[str, Regions] = field(repr=False)
    layouts: Mapping[int, Layout] = field(default_factory=dict)

    @cached_property
    def counts(self) -> Mapping[str, int]:
        """The number of runs of each distinct kernel, by workload digest, in order of first use."""
        return Counter(kernel.workload.digest for kernel in self.kernels if kernel is not None)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the groups for people, after the nodes of the model."""
        return tuple(self.graph.kernel_name(group) for group in self.groups)

    @cached_property
    def names_of_kernels(self) -> Mapping[str, str]:
        """The name of each distinct kernel by workload digest: that of the first group that runs it."""
        return {digest: self.graph.kernel_name(self.groups_of(digest)[0]) for digest in self.counts}

    def groups_of(self, digest: str) -> tuple[Group, ...]:
        """The groups that run a distinct kernel, in order."""
        return self._groups_of[digest]

    @cached_property
    def _groups_of(self) -> Mapping[str, tuple[Group, ...]]:
        found: dict[str, list[Group]] = {}
        for group, kernel in zip(self.groups, self.kernels, strict=True):
            if kernel is not None:
                found.setdefault(kernel.workload.digest, []).append(group)
        return {digest: tuple(groups) for digest, groups in found.items()}

    @cached_property
    def stage_of(self) -> tuple[int, ...]:
        """The stage of every group."""
        return tuple(_stage_of(self.stages, len(self.groups)))

    @cached_property
    def co_placements(self) -> Mapping[CoPlacement, int]:
        """The number of runs of each distinct kernel beside others on so many cores, by first use."""
        return Counter(
            CoPlacement(kernel.workload.digest, placed.cores.count)
            for stage in self.stages
            for placed in stage
            if len(stage) > 1 and (kernel := self.kernels[placed.group]) is not None
        )


def plan_graph(graph: Graph, target: Target, policy: FusionPolicy | None = None) -> Plan:
    """Fuse and place: everything about a network that is settled before its kernels are tuned.

    Raises ModelError for a network of more than MOST_OPS ops, before anything is priced.
    """
    if len(graph.ops) > MOST_OPS:
        raise ModelError(
            f"the model has {len(graph.ops)} ops, above the limit of {MOST_OPS}; split it, and tune its parts"
        )
    groups = group_greedily(graph, policy or FusionPolicy())
    return plan_groups(graph, groups, target)


def plan_groups(
    graph: Graph,
    groups: Sequence[Group],
    target: Target,
    known: Mapping[str, Regions] | None = None,
    layouts: Mapping[int, Layout] | None = None,
    stages: Sequence[Stage] | None = None,
) -> Plan:
    """The Plan for given groups, values between them as `layouts` says; `known` saves their analysis.

    Layouts of values that stay inside a group are left out. Groups run one after the other in the order
    given, each on all cores, unless `stages` says otherwise.
    """
    if stages is None:
        stages = [(Placed(group, CoreRange(0, target.cores)),) for group in range(len(groups))]
    stage_of = _stage_of(stages, len(groups))
    lives = lifetimes(graph, groups, stage_of, target)
    levels = _placed(lives, len(stages), target)
    laid = {life.value: layouts[life.value] for life in lives if life.value in layouts} if layouts else {}
    kernels = _kernels(graph, groups, levels, laid)
    regions: dict[str, Regions] = {}
    for kernel in kernels:
        if kernel is not None and kernel.workload.digest not in regions:
            analysed = (known or {}).get(kernel.workload.digest)
            regions[kernel.workload.digest] = analysed or Regions(kernel.workload)
    return Plan(graph, tuple(groups), tuple(stages), levels, kernels, regions, laid)


def levels_of(graph: Graph, groups: Sequence[Group], target: Target) -> Mapping[int, Level]:
    """The place of every value between groups that run one after the other, as in their Plan."""
    return _placed(lifetimes(graph, groups, range(len(groups)), target), len(groups), target)


def _placed(lives: Sequence[Lifetime], stages: int, target: Target) -> Mapping[int, Level]:
    return place_values(lives, stages, int(target.llb_bytes * LLB_SHARE))


def _kernels(
    graph: Graph, groups: Sequence[Group], levels: Mapping[int, Level], layouts: Mapping[int, Layout]
) -> tuple[Kernel | None, ...]:
    cutter = KernelCutter(graph)
    return tuple(None if is_host(graph, group) else cutter.kernel(group, levels, layouts) for group in groups)


def is_host(graph: Graph, group: Group) -> bool:
    """Whether a group is an op without structured form."""
    return graph.ops[max(group)].row.unit is Unit.HOST


def default_schedule(plan: Plan, target: Target) -> Schedule:
    """-O0: the plan's groups in order, each on all cores with its default tiling."""
    by_digest = {digest: default_tiling(regions, target) for digest, regions in plan.regions.items()}
    chosen = {digest: (tiling, target.cores) for digest, tiling in by_digest.items()}
    return schedule_of(plan, chosen)


def schedule_of(
    plan: Plan, chosen: Mapping[str, Chosen], beside: Mapping[CoPlacement, Chosen] | None = None
) -> Schedule:
    """The plan's stages with their tilings: `chosen` by workload digest for kernels that run alone, `beside`
    for those that run beside others.
    """
    tilings = [Tiling((), (), ())] * len(plan.groups)
    stages: list[Stage] = []
    for stage in plan.stages:
        placed: list[Placed] = []
        for group, cores in ((each.group, each.cores) for each in stage):
            kernel, used = plan.kernels[group], 1
            if kernel is not None:
                digest = kernel.workload.digest
                alone = len(stage) == 1
                tilings[group], used = (
                    chosen[digest] if alone else (beside or {})[CoPlacement(digest, cores.count)]
                )
            placed.append(Placed(group, CoreRange(cores.first, used)))
        stages.append(tuple(placed))
    return Schedule(plan.groups, tuple(stages), tuple(tilings), plan.levels, plan.layouts)


def compile_graph(graph: Graph, schedule: Schedule, target: Target, plan: Plan | None = None) -> Program:
    """Lower every group of `schedule` and lay out the LLB.

    A `plan` of the same groups and levels saves their analysis. ConfigError where a tiling or a layout is
    illegal or a stage asks for more cores than there are.
    """
    for what in misplaced(graph, schedule.layouts):
        raise ConfigError(what)
    same = plan is not None and (plan.groups, plan.layouts) == (schedule.groups, schedule.layouts)
    plan = plan if plan is not None and same else _replan(graph, schedule)
    stage_of = _stage_of(schedule.stages, len(schedule.groups))
    stages: list[tuple[KernelCall | HostCall, ...]] = []
    lowered: dict[tuple[str, Tiling, int], KernelCall] = {}
    for stage in schedule.stages:
        calls: list[KernelCall | HostCall] = []
        _check_cores(stage, target)
        for placed in stage:
            kernel = plan.kernels[placed.group]
            if kernel is None:
                calls.append(HostCall(max(schedule.groups[placed.group])))
                continue
            digest, tiling = kernel.workload.digest, schedule.tilings[placed.group]
            key = (digest, tiling, placed.cores.count)
            if key not in lowered:
                program = lower_kernel(plan.regions[digest], tiling, placed.cores.count, target)
                lowered[key] = KernelCall(kernel, program, placed.cores)
            calls.append(KernelCall(kernel, lowered[key].program, placed.cores))
        stages.append(tuple(calls))
    offsets, llb_bytes = _llb_offsets(graph, schedule, stage_of, target)
    return Program(tuple(stages), offsets, llb_bytes)


def _replan(graph: Graph, schedule: Schedule) -> Plan:
    kernels = _kernels(graph, schedule.groups, schedule.levels, schedule.layouts)
    regions = {k.workload.digest: Regions(k.workload) for k in kernels if k is not None}
    return Plan(graph, schedule.groups, schedule.stages, schedule.levels, kernels, regions, schedule.layouts)


def _stage_of(stages: Sequence[Stage], groups: int) -> list[int]:
    """The stage of every group; ConfigError where one is in none."""
    stage_of = [-1] * groups
    for number, stage in enumerate(stages):
        for placed in stage:
            stage_of[placed.group] = number
    if -1 in stage_of:
        raise ConfigError(f"group {stage_of.index(-1)} is in no stage; every group runs exactly once")
    return stage_of


def _check_cores(stage: Sequence[Placed], target: Target) -> None:
    taken: set[int] = set()
    for placed in stage:
        cores = range(placed.cores.first, placed.cores.first + placed.cores.count)
        if not cores or cores[0] < 0 or cores[-1] >= target.cores or taken & set(cores):
            raise ConfigError(
                f"group {placed.group} is placed on cores {list(cores)}; {target.name} has {target.cores}"
                " and kernels of a stage share none"
            )
        taken |= set(cores)


def _llb_offsets(
    graph: Graph, schedule: Schedule, stage_of: Sequence[int], target: Target
) -> tuple[Mapping[int, int], int]:
    """Offsets of the values that live in the LLB, and the arena they need."""
    lives = [
        life
        for life in lifetimes(graph, schedule.groups, stage_of, target)
        if schedule.levels.get(life.value) is Level.LLB
    ]
    spans = [TensorSpan(index, life.size_bytes, life.born, life.dies) for index, life in enumerate(lives)]
    arena = allocate_blocks([Block((span,)) for span in spans], len(schedule.stages))
    return {life.value: arena.offsets[index] for index, life in enumerate(lives)}, arena.arena_bytes
