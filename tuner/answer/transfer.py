"""A network's Config at another size of a dim: the same groups, each kernel tiled as before where that fits.

portable     groups, and per group the Config of its kernel with the extents that it was tuned for
carried      tile 64 of 64 (not cut)   ->   not cut at 100;   tile 16 of 64   ->   the next useful size below
"""

import json
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from tilewright.compiler_core.digest import digest_of
from tilewright.compiler_core.errors import ConfigError
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.ir.ops import AxisKind
from tilewright.compiler_core.lowering.pipeline import Seat, plan_groups
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.lowering.schedule import Tiling
from tilewright.compiler_core.target_model.target import Target
from tilewright.compiler_core.transforms.rewrites import rewritten
from tilewright.search_space.codec import config_of, tiling_of
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
from tilewright.search_space.rules import cores_with_work
from tilewright.tuner.kernel.task import KernelTask
from tilewright.tuner.network.session import Session
from tilewright.tuner.network.side_by_side import share_of

_GROUP, _OPS = "group_", "ops"


def portable(session: Session, config: Config) -> Config:
    """`config` of a session's network, written down by groups instead of by the digests of one size.

    Ops have the numbers of the model: canonical ones may differ from size to size.
    """
    plan, _ = session.schedule_of(config)
    configs, beside = kernel_configs(config, plan), beside_configs(config, plan)
    items = [(_OPS, _alike(session.graph)), (GROUPS, stages_text(plan)), (LAYOUTS, layouts_text(plan))]
    items.append((REWRITES, rewrites_text(plan.graph.rewrites)))
    for stage in plan.stages:
        for group, cores in ((placed.group, placed.cores.count) for placed in stage):
            if (kernel := plan.kernels[group]) is None:
                continue
            digest = kernel.workload.digest
            extents = [loop.extent for loop in plan.regions[digest].loops]
            tuned = {"config": dict(configs[digest].items), "extents": extents}
            if len(stage) > 1:
                tuned["beside"] = dict(beside[Seat(digest, cores)].items)
            items.append((f"{_GROUP}{group}", json.dumps(tuned, separators=(",", ":"))))
    return Config(tuple(items))


def _alike(graph: Graph) -> str:
    """Which ops in which order, and what each reads: equal at all sizes at which the network looks alike."""
    return digest_of([[op.kind, [access.value for access in op.operands]] for op in graph.ops])


def carried(config: Config, session: Session) -> Config:
    """What a `portable` Config says for a session's network, which differs from its own in extents only.

    ConfigError where the network has other ops or kernels than the one it was made for, or an op that has no
    such form at this size.
    """
    values = dict(config.items)
    if values.get(_OPS) != _alike(session.graph):
        raise ConfigError("the network has other ops at this size than where it was tuned")
    target = session.target
    groups, stages = stages_from(str(values[GROUPS]), target)
    forms = rewrites_from(str(values.get(REWRITES, "")))
    forms = {op: rewrite.carried(session.graph.ops[op]) for op, rewrite in forms.items()}
    graph = rewritten(session.graph, forms)
    laid = layouts_from(str(values.get(LAYOUTS, "")), graph)
    laid = {value: layout for value, layout in laid.items() if layout.fits(graph.shape(value))}
    plan = plan_groups(graph, groups, target, None, laid, stages)
    chosen: dict[str, Config] = {}
    beside: dict[Seat, Config] = {}
    for placed in chain.from_iterable(stages):
        if (kernel := plan.kernels[placed.group]) is None:
            continue
        text = values.get(f"{_GROUP}{placed.group}")
        if not isinstance(text, str):
            raise ConfigError(f"the range has no Config for group {placed.group} of this size of the network")
        tuned: Mapping[str, Any] = json.loads(text)
        digest, extents = kernel.workload.digest, tuned["extents"]
        seat, regions = Seat(digest, placed.cores.count), plan.regions[digest]
        if digest not in chosen:
            chosen[digest] = _fitted(Config(tuple(tuned["config"].items())), extents, regions, target)
        if seat in plan.seats and seat not in beside:
            config, part = Config(tuple(tuned["beside"].items())), share_of(target, seat.cores)
            beside[seat] = _fitted(config, extents, regions, part)
    return network_config(plan, chosen, session.network, beside)


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
            tiling.tiles_in_flight,
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
