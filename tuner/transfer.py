"""A network's Config at another size of a dim: the same groups, each kernel tiled as before where that fits.

portable     groups, and per group the Config of its kernel with the extents that it was tuned for
carried      tile 64 of 64 (not cut)   ->   not cut at 100;   tile 16 of 64   ->   the next useful size below
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from compiler_core.digest import digest_of
from compiler_core.errors import ConfigError
from compiler_core.graph import Graph
from compiler_core.ops import AxisKind
from compiler_core.pipeline import plan_groups
from compiler_core.regions import Regions
from compiler_core.schedule import Tiling
from compiler_core.target import Target
from search_space.codec import config_of, tiling_of
from search_space.knobs import Config
from search_space.network import GROUPS, kernel_configs, network_config
from search_space.rules import cores_with_work
from tuner.session import Session
from tuner.tasks import KernelTask

_GROUP, _OPS = "group_", "ops"


def portable(session: Session, config: Config) -> Config:
    """`config` of a session's network, written down by groups instead of by the digests of one size.

    Ops have the numbers of the model: canonical ones may differ from size to size.
    """
    plan, _ = session.schedule_of(config)
    configs = kernel_configs(config, plan)
    groups = "|".join(" ".join(map(str, group)) for group in plan.groups)
    items = [(_OPS, _alike(session.graph)), (GROUPS, groups)]
    for group, kernel in enumerate(plan.kernels):
        if kernel is not None:
            digest = kernel.workload.digest
            extents = [loop.extent for loop in plan.regions[digest].loops]
            tuned = {"config": dict(configs[digest].items), "extents": extents}
            items.append((f"{_GROUP}{group}", json.dumps(tuned, separators=(",", ":"))))
    return Config(tuple(items))


def _alike(graph: Graph) -> str:
    """Which ops in which order, and what each reads: equal at all sizes at which the network looks alike."""
    return digest_of([[op.kind, [access.value for access in op.operands]] for op in graph.ops])


def carried(config: Config, session: Session) -> Config:
    """What a `portable` Config says for a session's network, which differs from its own in extents only.

    ConfigError where the network has other ops or kernels than the one it was made for.
    """
    values = dict(config.items)
    if values.get(_OPS) != _alike(session.graph):
        raise ConfigError("the network has other ops at this size than where it was tuned")
    groups = tuple(tuple(int(op) for op in part.split()) for part in str(values[GROUPS]).split("|"))
    plan = plan_groups(session.graph, groups, session.target)
    chosen: dict[str, Config] = {}
    for group, kernel in enumerate(plan.kernels):
        if kernel is None or kernel.workload.digest in chosen:
            continue
        text = values.get(f"{_GROUP}{group}")
        if not isinstance(text, str):
            raise ConfigError(f"the range has no Config for group {group} of this size of the network")
        tuned: Mapping[str, Any] = json.loads(text)
        regions = plan.regions[kernel.workload.digest]
        fitted = _fitted(Config(tuple(tuned["config"].items())), tuned["extents"], regions, session.target)
        chosen[kernel.workload.digest] = fitted
    return network_config(plan, chosen, session.network)


def _fitted(config: Config, extents: Sequence[int], regions: Regions, target: Target) -> Config:
    """The nearest Config of a kernel's space: loops that were not cut stay whole where that fits."""
    task = KernelTask(regions, target)
    tiling, cores = tiling_of(config, regions)
    sizes = (*tiling.tile, *tiling.reduction_tile)
    if len(sizes) != len(extents):
        raise ConfigError("a kernel of a range has other loops at this size of the network")
    for keep_whole in (True, False):
        fitted = []
        for at, (size, extent, loop) in enumerate(zip(sizes, extents, regions.loops, strict=True)):
            wanted = loop.extent if keep_whole and size >= extent else min(size, loop.extent)
            useful = task.layout.sizes[at]
            fitted.append(max((s for s in useful if s <= wanted), default=useful[0]))
        rank = len(tiling.tile)
        tiles = 1
        for size, loop in zip(fitted, regions.loops, strict=True):
            tiles *= -(-loop.extent // size) if loop.kind is AxisKind.PARALLEL else 1
        again = Tiling(
            tuple(fitted[:rank]),
            tuple(fitted[rank:]),
            tiling.loop_order,
            tiling.load_slots,
            tiling.accumulator_slots,
            tiling.store_slots,
        )
        try:
            found = config_of(
                again, min(cores, cores_with_work(tiles, target.cores)), task.space, task.layout
            )
        except ConfigError:
            continue
        if task.space.contains(found):
            return found
    return task.default
