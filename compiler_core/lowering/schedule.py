"""Schedule: every choice that turns a Graph into a Program, as plain values."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tilewright.compiler_core.ir.layouts import Layout
from tilewright.compiler_core.ir.workload import Level


@dataclass(frozen=True)
class Tiling:
    """The tiles and buffers of one kernel.

    `tile` has an extent per result axis of the root; `reduction_tile` one per reduction axis of the anchor
    (empty where the kernel has no anchor). `loop_order` lists the root's result axes, outermost loop first;
    scan axes and reductions always run inside the parallel loops. Slots are L1 copies: of every loaded
    operand, of the anchor's accumulator, of every stored value. With two tiles in flight a core starts on the
    next tile before it has finished one (turns.py).
    """

    tile: tuple[int, ...]
    reduction_tile: tuple[int, ...]
    loop_order: tuple[int, ...]
    load_slots: int = 2
    accumulator_slots: int = 1
    store_slots: int = 2
    tiles_in_flight: int = 1


@dataclass(frozen=True)
class CoreRange:
    """`count` cores from `first` on."""

    first: int
    count: int


@dataclass(frozen=True)
class Placed:
    """A group (position in Schedule.groups) on its cores, in one stage."""

    group: int
    cores: CoreRange


Stage = tuple[Placed, ...]


@dataclass(frozen=True)
class Schedule:
    """Groups of op positions, stages in order (kernels of a stage run side by side), a Tiling per group.

    `levels` places values that cross groups; values without an entry live in DRAM. `layouts` has their order
    in memory; values without an entry have the model's.
    """

    groups: tuple[tuple[int, ...], ...]
    stages: tuple[Stage, ...]
    tilings: tuple[Tiling, ...]
    levels: Mapping[int, Level] = field(default_factory=dict)
    layouts: Mapping[int, Layout] = field(default_factory=dict)
