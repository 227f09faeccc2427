"""A network's Config at another size of a dim: the same groups, each kernel tiled for that size.

portable     groups, and per group the Config of its kernel with the extents that it was tuned for
carried      the groups as they were where a tile of each fits, else taken apart; tiles as retile.py says
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from math import isinf

from tilewright.compiler_core.digest import digest_of
from tilewright.compiler_core.errors import ConfigError
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.ir.layouts import Layout
from tilewright.compiler_core.ir.workload import is_remade
from tilewright.compiler_core.lowering.pipeline import CoPlacement, Plan, plan_graph, plan_groups
from tilewright.compiler_core.lowering.schedule import CoreRange, Placed, Stage
from tilewright.compiler_core.transforms.fuse import FusionPolicy, Group, group_greedily
from tilewright.compiler_core.transforms.rewrites import rewritten
from tilewright.search_space.knobs import Config
from tilewright.search_space.network import (
    GROUPS,
    LAYOUTS,
    REWRITES,
    beside_configs,
    kernel_configs,
    layouts_from,
    layouts_text,
    network_config,
    rewrites_from,
    rewrites_text,
    stages_from,
    stages_text,
)
from tilewright.tuner.kernel.task import KernelTask
from tilewright.tuner.network.opened import Opened
from tilewright.tuner.planning.grouping import merge_while_it_pays
from tilewright.tuner.planning.side_by_side import share_of
from tilewright.tuner.sizes.retile import Tuned, loop_extents, retiled

_GROUP, _OPS = "group_", "ops"


@dataclass(frozen=True)
class Carried:
    """A network's Config at another size, and how many of its groups had to be taken apart there."""

    config: Config
    split: int


def portable(opened: Opened, config: Config) -> Config:
    """`config` of an opened network, written down by groups instead of by the digests of one size.

    Ops have the numbers of the model: canonical ones may differ from size to size.
    """
    plan, _ = opened.schedule_of(config)
    configs, beside = kernel_configs(config, plan), beside_configs(config, plan)
    items = [(_OPS, _alike(opened.graph)), (GROUPS, stages_text(plan)), (LAYOUTS, layouts_text(plan))]
    items.append((REWRITES, rewrites_text(plan.graph.rewrites)))
    for stage in plan.stages:
        for group, cores in ((placed.group, placed.cores.count) for placed in stage):
            if (kernel := plan.kernels[group]) is None:
                continue
            digest = kernel.workload.digest
            extents = list(loop_extents(plan.regions[digest]))
            tuned = {"config": dict(configs[digest].items), "extents": extents}
            if len(stage) > 1:
                tuned["beside"] = dict(beside[CoPlacement(digest, cores)].items)
            items.append((f"{_GROUP}{group}", json.dumps(tuned, separators=(",", ":"))))
    return Config(tuple(items))


def _alike(graph: Graph) -> str:
    """The ops in order, and the operands of each: equal at all sizes with the same structure."""
    return digest_of([[op.kind, [access.value for access in op.operands]] for op in graph.ops])


def carried(config: Config, opened: Opened) -> Carried:
    """The Config of a `portable` one for an opened network, which differs from its own in extents only.

    ConfigError where the network has other ops than the one it was made for, an op has no such form at this
    size, or there is an op of which no tile fits the target.
    """
    values = dict(config.items)
    if values.get(_OPS) != _alike(opened.graph):
        raise ConfigError("the network has other ops at this size than where it was tuned")
    forms = rewrites_from(str(values.get(REWRITES, "")))
    forms = {op: rewrite.carried(opened.graph.ops[op]) for op, rewrite in forms.items()}
    graph = rewritten(opened.graph, forms)
    laid = layouts_from(str(values.get(LAYOUTS, "")), graph)
    laid = {value: layout for value, layout in laid.items() if layout.fits(graph.shape(value))}
    groups, stages = stages_from(str(values[GROUPS]), opened.target)
    tuned = {group: _tuned_of(values, index) for index, group in enumerate(groups)}
    split = 0
    while True:
        known = opened.planner.analysed
        plan = plan_groups(graph, groups, opened.target, known, laid, stages)
        carrying = _Carrying(opened, plan, tuned)
        if not carrying.misfits:
            config = network_config(plan, carrying.chosen, opened.network, carrying.beside)
            return Carried(config, split)
        split += len(carrying.misfits)
        groups, stages = _taken_apart(opened, plan, carrying.misfits, laid)


@dataclass(frozen=True)
class _TunedGroup:
    """A group's tuned kernels: alone on the chip, and beside others where it ran so."""

    alone: Tuned
    beside: Tuned | None


def _tuned_of(values: Mapping[str, object], group: int) -> _TunedGroup | None:
    """None for a group on the host."""
    text = values.get(f"{_GROUP}{group}")
    if not isinstance(text, str):
        return None
    entry = json.loads(text)
    extents = tuple(entry["extents"])
    beside = Tuned(Config(tuple(entry["beside"].items())), extents) if "beside" in entry else None
    return _TunedGroup(Tuned(Config(tuple(entry["config"].items())), extents), beside)


class _Carrying:
    """The kernels of a plan with their Configs; `misfits` are the groups of which no tile fits."""

    def __init__(self, opened: Opened, plan: Plan, tuned: Mapping[Group, _TunedGroup | None]) -> None:
        self.chosen: dict[str, Config] = {}
        self.beside: dict[CoPlacement, Config] = {}
        self.misfits: list[int] = []
        self._opened = opened
        tasks = {task.digest: task for task in opened.planner.tasks_of(plan)}
        for stage in plan.stages:
            for placed in stage:
                kernel = plan.kernels[placed.group]
                if kernel is not None:
                    task = tasks[kernel.workload.digest]
                    cores = placed.cores.count if len(stage) > 1 else None
                    if not self._fits(task, cores, tuned.get(plan.groups[placed.group])):
                        self.misfits.append(placed.group)

    def _fits(self, task: KernelTask, cores: int | None, tuned: _TunedGroup | None) -> bool:
        """Choose a Config for a kernel, and for the `cores` that it has beside others; False without one."""
        if task.digest not in self.chosen:
            config = retiled(task, tuned.alone) if tuned is not None else None
            config = config or self._opened.planner.prices.priced(task.workload).guess
            if config is None:
                return False
            self.chosen[task.digest] = config
        if cores is not None and (co_placement := CoPlacement(task.digest, cores)) not in self.beside:
            part = KernelTask(task.regions, share_of(task.target, cores))
            config = retiled(part, tuned.beside) if tuned is not None and tuned.beside is not None else None
            if config is None:
                return False
            self.beside[co_placement] = config
        return True


def _taken_apart(
    opened: Opened, plan: Plan, misfits: Sequence[int], laid: Mapping[int, Layout]
) -> tuple[tuple[Group, ...], tuple[Stage, ...]]:
    """Groups and stages with the misfits in parts, merged again while that promises to pay.

    A stage with a misfit runs its groups one after the other. ConfigError where an op alone fits no better.
    """
    start = plan_graph(plan.graph, opened.target)
    levels = {**start.levels, **plan.levels}
    price = partial(opened.planner.prices.of, plan.graph, levels=levels, layouts=laid)
    groups: list[Group] = []
    stages: list[Stage] = []

    def put(parts: Sequence[tuple[Group, CoreRange]]) -> None:
        stages.append(tuple(Placed(len(groups) + index, cores) for index, (_, cores) in enumerate(parts)))
        groups.extend(group for group, _ in parts)

    everywhere = CoreRange(0, opened.target.cores)
    for stage in plan.stages:
        if not any(placed.group in misfits for placed in stage):
            put([(plan.groups[placed.group], placed.cores) for placed in stage])
            continue
        for group in (plan.groups[placed.group] for placed in stage):
            parts: tuple[Group, ...] = (group,)
            if isinf(price(group)):
                merging = merge_while_it_pays(plan.graph, _pieces(start, group), price)
                parts = merging.groups
                if isinf(merging.price_us):
                    raise ConfigError(f"no tile of op {max(group)} fits {opened.target.name} at this size")
            for part in parts:
                put([(part, everywhere)])
    return tuple(groups), tuple(stages)


def _pieces(start: Plan, group: Group) -> tuple[Group, ...]:
    """The groups of the -O0 plan that lie inside `group`, and its other ops one by one."""
    graph, inside = start.graph, set(group)
    whole = [each for each in start.groups if inside.issuperset(each)]
    missing = inside.difference(chain.from_iterable(whole))
    alone = group_greedily(graph, FusionPolicy(epilogues=False)) if missing else ()
    return (*whole, *(each for each in alone if max(each) in missing and not is_remade(graph, max(each))))
