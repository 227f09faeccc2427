"""A whole network as a task, and the Config that stands for its Schedule.

    groups               "0 1 2|3 4|..."      ops of each group in canonical numbers, groups in stage order
    kernel_<16 hex>      '{"tile_0": 1, ...}' the Config of every kernel of that workload digest

Where values live follows from groups and order, so it is not written down.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from compiler_core.errors import ConfigError
from compiler_core.fuse import Group
from compiler_core.graph import Graph
from compiler_core.pipeline import Plan, plan_groups, schedule_of
from compiler_core.schedule import Schedule
from compiler_core.target import Target
from compiler_core.workload import graph_digest, number_network
from search_space.codec import tiling_of
from search_space.knobs import Config

GROUPS = "groups"
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


def numbered(graph: Graph) -> Numbered:
    """`graph` as a task. Ops that no output needs get no number."""
    numbering = number_network(graph)
    at = {value: i for i, value in enumerate(numbering.values)}
    ops = tuple(
        replace(
            graph.ops[position],
            operands=tuple(replace(access, value=at[access.value]) for access in operands),
            result=at[graph.ops[position].result],
        )
        for position, operands in zip(numbering.ops, numbering.operands, strict=True)
    )
    canonical = Graph(
        values=tuple(graph.values[value] for value in numbering.values),
        ops=ops,
        inputs=tuple(at[value] for value in numbering.inputs if value not in graph.constants),
        outputs=tuple(at[value] for value in graph.outputs),
        constants={at[value]: np.zeros(0) for value in numbering.inputs if value in graph.constants},
    )
    return Numbered(NetworkTask(canonical), numbering.ops)


def network_config(plan: Plan, chosen: Mapping[str, Config], network: Numbered) -> Config:
    """The Config that runs the plan's groups in their order, each kernel as `chosen` by workload digest."""
    groups = "|".join(" ".join(str(network.number_of[op]) for op in group) for group in plan.groups)
    kernels = {_KERNEL + digest[:16]: chosen[digest].to_json() for digest in sorted(plan.regions)}
    return Config(((GROUPS, groups), *kernels.items()))


def network_schedule(task: NetworkTask, config: Config, target: Target) -> tuple[Plan, Schedule]:
    """What `config` means for the network of `task`: inverse of `network_config`, on canonical numbers.

    ConfigError when a group is not one of this network, or a kernel has no Config.
    """
    plan = plan_groups(task.graph, _groups_of(config, task.graph), target)
    configs = kernel_configs(config, plan)
    return plan, schedule_of(plan, {d: tiling_of(configs[d], regions) for d, regions in plan.regions.items()})


def kernel_configs(config: Config, plan: Plan) -> Mapping[str, Config]:
    """The Config of every distinct kernel of the plan, by digest; ConfigError where one is missing."""
    values = dict(config.items)
    chosen = {}
    for digest in plan.regions:
        text = values.get(_KERNEL + digest[:16])
        if not isinstance(text, str):
            raise ConfigError(f"the network's config has no entry for kernel {digest[:16]}")
        chosen[digest] = Config.from_json(text)
    return chosen


def _groups_of(config: Config, graph: Graph) -> tuple[Group, ...]:
    text = dict(config.items).get(GROUPS)
    try:
        groups = tuple(tuple(int(op) for op in part.split()) for part in str(text).split("|"))
    except ValueError:
        raise ConfigError(f"the network's config lists its groups as {json.dumps(text)[:80]}") from None
    if any(not group or min(group) < 0 or max(group) >= len(graph.ops) for group in groups):
        raise ConfigError(f"the network's config names an op outside 0..{len(graph.ops) - 1}")
    return groups
