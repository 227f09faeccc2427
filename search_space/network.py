"""A whole network as a task, and the Config that stands for its Schedule.

    groups               "0 1 2|3 4|..."      ops of each group in canonical numbers, groups in stage order
                         "0|1@24+2 3@8|..."   side by side: 24 of the cores for one group, 8 for the other
    kernel_<16 hex>      '{"tile_0": 1, ...}' the Config of every kernel of that workload digest
    kernel_<16 hex>@24   '{"tile_0": 1, ...}' the same where it runs beside others on 24 cores
    layouts              "0:0.2.3.1|3:..."    the Layout of what an op makes; only where one has any
    rewrites             "0:unfold.0|3:..."   the other form of an op; only where one has any

Groups and layouts count the ops of the network as rewritten, rewrites those of the network itself. Where
values live follows from groups and order, so it is not written down.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tilewright.compiler_core.errors import ConfigError, RecordError
from tilewright.compiler_core.ir.graph import Graph, Rewrites
from tilewright.compiler_core.ir.layouts import Layout, layout_from, misplaced
from tilewright.compiler_core.ir.workload import graph_digest, number_network
from tilewright.compiler_core.lowering.pipeline import CoPlacement, Plan, plan_groups, schedule_of
from tilewright.compiler_core.lowering.schedule import CoreRange, Placed, Schedule, Stage
from tilewright.compiler_core.target_model.target import Target
from tilewright.compiler_core.transforms.fuse import Group
from tilewright.compiler_core.transforms.rewrites import places, rewrite_from, rewritten
from tilewright.search_space.codec import tiling_of
from tilewright.search_space.knobs import Config

GROUPS, LAYOUTS, REWRITES = "groups", "layouts", "rewrites"
_KERNEL = "kernel_"


@dataclass(frozen=True, eq=False)
class NetworkTask:
    """A network in canonical numbering, without names and weights."""

    graph: Graph

    @cached_property
    def digest(self) -> str:
        """The graph digest: a database key."""
        return graph_digest(self.graph)


@dataclass(frozen=True, eq=False)
class Numbered:
    """A NetworkTask, and which op of the network each of its ops is."""

    task: NetworkTask
    ops: tuple[int, ...]

    @cached_property
    def number_of(self) -> Mapping[int, int]:
        """From an op of the network to its canonical number."""
        return {op: number for number, op in enumerate(self.ops)}

    def under(self, rewrites: Rewrites) -> "Numbered":
        """The same of the network as rewritten; `rewrites` by the network's own ops."""
        if not rewrites:
            return self
        own = {self.number_of[op]: rewrite for op, rewrite in rewrites.items()}
        forms = places(self.task.graph, own)
        more = {op: len(forms[self.number_of[op]]) - 1 for op in rewrites}
        first = [op + sum(added for before, added in more.items() if before < op) for op in self.ops]
        ops = [index + step for index, form in zip(first, forms, strict=True) for step in range(len(form))]
        return Numbered(NetworkTask(rewritten(self.task.graph, own)), tuple(ops))


def numbered(graph: Graph) -> Numbered:
    """`graph` as a task. Ops that no output needs get no number."""
    numbering = number_network(graph)
    at = numbering.number_of
    canonical = Graph(
        values=tuple(graph.values[value] for value in numbering.values),
        ops=numbering.renumbered(graph),
        inputs=tuple(at[value] for value in numbering.inputs if value not in graph.constants),
        outputs=tuple(at[value] for value in graph.outputs),
        constants={at[value]: np.zeros(0) for value in numbering.inputs if value in graph.constants},
    )
    return Numbered(NetworkTask(canonical), numbering.ops)


def network_config(
    plan: Plan,
    chosen: Mapping[str, Config],
    network: Numbered,
    beside: Mapping[CoPlacement, Config] | None = None,
) -> Config:
    """The Config that runs the plan's stages: kernels that run alone as `chosen` by workload digest, those
    that run beside others as `beside`.
    """
    kernels = {_KERNEL + digest[:16]: chosen[digest].to_json() for digest in sorted(plan.regions)}
    co_placements = {
        _entry_name(co_placement): (beside or {})[co_placement].to_json()
        for co_placement in sorted(plan.co_placements)
    }
    number_of = network.under(plan.graph.rewrites).number_of
    stages, laid = stages_text(plan, number_of), layouts_text(plan, number_of)
    forms = rewrites_text(plan.graph.rewrites, network.number_of)
    extra = [(name, text) for name, text in ((LAYOUTS, laid), (REWRITES, forms)) if text]
    return Config(((GROUPS, stages), *kernels.items(), *co_placements.items(), *extra))


def network_schedule(task: NetworkTask, config: Config, target: Target) -> tuple[Plan, Schedule]:
    """The Plan and Schedule of `config` for the network of `task`: inverse of `network_config`, on canonical
    numbers.

    The plan's graph is the network as rewritten. ConfigError when a group is not one of it, an op has no such
    form, or a kernel has no Config.
    """
    values = dict(config.items)
    graph = rewritten(task.graph, rewrites_from(str(values.get(REWRITES, ""))))
    groups, stages = _stages_of(config, graph, target)
    layouts = layouts_from(str(values.get(LAYOUTS, "")), graph)
    for what in misplaced(graph, layouts):
        raise ConfigError(f"the network's config is illegal: {what}")
    plan = plan_groups(graph, groups, target, None, layouts, stages)
    configs, beside = kernel_configs(config, plan), beside_configs(config, plan)
    return plan, schedule_of(
        plan,
        {digest: tiling_of(configs[digest], regions) for digest, regions in plan.regions.items()},
        {
            co_placement: tiling_of(each, plan.regions[co_placement.digest])
            for co_placement, each in beside.items()
        },
    )


def kernel_configs(config: Config, plan: Plan) -> Mapping[str, Config]:
    """The Config of every distinct kernel of the plan, by digest; ConfigError where one is missing."""
    return {digest: kernel_config(config, digest) for digest in plan.regions}


def kernel_config(config: Config, digest: str) -> Config:
    """The Config of one kernel that runs alone; ConfigError where the network's has none."""
    return _entry(config, _KERNEL + digest[:16])


def beside_configs(config: Config, plan: Plan) -> Mapping[CoPlacement, Config]:
    """The Config of every kernel that runs beside others; ConfigError where one is missing."""
    return {co_placement: _entry(config, _entry_name(co_placement)) for co_placement in plan.co_placements}


def _entry(config: Config, name: str) -> Config:
    text = dict(config.items).get(name)
    if not isinstance(text, str):
        raise ConfigError(f"the network's config has no entry {name}")
    return Config.from_json(text)


def _entry_name(co_placement: CoPlacement) -> str:
    return f"{_KERNEL}{co_placement.digest[:16]}@{co_placement.cores}"


def stages_text(plan: Plan, number_of: Mapping[int, int] | None = None) -> str:
    """The plan's stages as text: stages between "|", groups between "+", the cores of one behind "@"."""
    stages = []
    for stage in plan.stages:
        groups = [
            " ".join(str(op if number_of is None else number_of[op]) for op in plan.groups[placed.group])
            for placed in stage
        ]
        if len(stage) > 1:
            groups = [f"{ops}@{each.cores.count}" for ops, each in zip(groups, stage, strict=True)]
        stages.append("+".join(groups))
    return "|".join(stages)


def stages_from(text: str, target: Target) -> tuple[tuple[Group, ...], tuple[Stage, ...]]:
    """Groups and stages of a `stages_text`; ConfigError when it is none."""
    groups: list[Group] = []
    stages: list[Stage] = []
    try:
        for stage in text.split("|") if text else ():
            placed: list[Placed] = []
            first = 0
            for part in stage.split("+"):
                ops, at, cores = part.partition("@")
                placed.append(Placed(len(groups), CoreRange(first, int(cores) if at else target.cores)))
                groups.append(tuple(int(op) for op in ops.split()))
                first += placed[-1].cores.count
            stages.append(tuple(placed))
    except ValueError:
        raise ConfigError(f"the network's config lists its groups as {json.dumps(text)[:80]}") from None
    return tuple(groups), tuple(stages)


def layouts_text(plan: Plan, number_of: Mapping[int, int] | None = None) -> str:
    """The plan's layouts as text, by the op that makes the value: "0:0.2.3.1|3:..."."""
    made = {plan.graph.producer[value]: layout for value, layout in plan.layouts.items()}
    numbered = {op if number_of is None else number_of[op]: layout for op, layout in made.items()}
    return "|".join(f"{op}:{numbered[op]}" for op in sorted(numbered))


def layouts_from(text: str, graph: Graph) -> Mapping[int, Layout]:
    """Layouts of a `layouts_text`, by value; ConfigError when it is none."""
    layouts: dict[int, Layout] = {}
    try:
        for entry in text.split("|") if text else ():
            op, layout = entry.split(":")
            layouts[graph.ops[int(op)].result] = layout_from(layout)
    except (ValueError, IndexError, RecordError):
        raise ConfigError(f"the network's config lists its layouts as {json.dumps(text)[:80]}") from None
    return layouts


def rewrites_text(rewrites: Rewrites, number_of: Mapping[int, int] | None = None) -> str:
    """Rewrites as text, by op: "0:unfold.0|3:split.2.16"."""
    numbered = {op if number_of is None else number_of[op]: rewrite for op, rewrite in rewrites.items()}
    return "|".join(f"{op}:{numbered[op]}" for op in sorted(numbered))


def rewrites_from(text: str) -> Rewrites:
    """Inverse of `rewrites_text`; ConfigError when it is none."""
    try:
        entries = [entry.split(":") for entry in text.split("|")] if text else []
        return {int(op): rewrite_from(rewrite) for op, rewrite in entries}
    except (ValueError, RecordError):
        raise ConfigError(f"the network's config lists its rewrites as {json.dumps(text)[:80]}") from None


def _stages_of(config: Config, graph: Graph, target: Target) -> tuple[tuple[Group, ...], Sequence[Stage]]:
    groups, stages = stages_from(str(dict(config.items).get(GROUPS)), target)
    if any(not group or min(group) < 0 or max(group) >= len(graph.ops) for group in groups):
        raise ConfigError(f"the network's config names an op outside 0..{len(graph.ops) - 1}")
    return groups, stages
