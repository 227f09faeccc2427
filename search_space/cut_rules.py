"""The rules of a kernel's rows that depend on the loops they cut alone, as tables.

They need no extents: a network's convolutions have the same rules, whatever their channels. So the rules are
kept by the kernel's structure, and a kernel of known structure draws no outline.
"""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from tilewright.compiler_core.ir.index_map import IndexExpr
from tilewright.compiler_core.ir.workload import Level
from tilewright.compiler_core.lowering.lower import moves_enough
from tilewright.compiler_core.lowering.outline import buffer_outline
from tilewright.compiler_core.lowering.steps import Outline, SlotKnob
from tilewright.compiler_core.lowering.widths import BufferKey
from tilewright.search_space import row_tables
from tilewright.search_space.row_rules import ONE_SLOT, CutTables, Rooms
from tilewright.search_space.row_tables import ints, starts
from tilewright.search_space.rules import IN_FLIGHT, KnobLayout

MOST_STRUCTURES = 256
"""Structures whose rules are kept: those asked for last."""

_KNOB = {
    SlotKnob.ONE: ONE_SLOT,
    SlotKnob.LOAD: row_tables.LOAD,
    SlotKnob.ACCUMULATOR: row_tables.ACCUMULATOR,
    SlotKnob.STORE: row_tables.STORE,
}


@dataclass(frozen=True)
class CutRules:
    """Rules for all rows that cut the same loops.

    `unused` are the columns of slot knobs that change nothing, `first_order[i]` is the first loop order that
    orders the cut loops as order i does. `plans[n]` fills L1 with n + 1 tiles in flight; without any, no row
    is valid.
    """

    unused: tuple[int, ...]
    first_order: tuple[int, ...]
    plans: tuple[Outline, ...]


@dataclass(frozen=True, eq=False)
class WrittenRule:
    """The rules of all cuts met so far, as tables."""

    cuts: CutTables
    rooms: Rooms


@dataclass(eq=False)
class Cuts:
    """The cuts met so far of kernels of one structure."""

    rules: dict[int, CutRules] = field(default_factory=dict)
    written: WrittenRule | None = None

    def write(self, layout: KnobLayout, cuts: Iterable[int]) -> WrittenRule:
        """Find the rules of more cuts of a kernel of this structure, and write all down."""
        for code in cuts:
            if code not in self.rules:
                loops = range(len(layout.sizes))
                self.rules[code] = _found(layout, frozenset(d for d in loops if code >> d & 1))
        known = sorted(self.rules.items())
        plans = list({id(plan): plan for _, rules in known for plan in rules.plans}.values())
        place = {id(plan): index for index, plan in enumerate(plans)}
        unused = np.zeros((len(known), len(layout.knobs)), dtype=np.bool_)
        for row, (_, rules) in zip(unused, known, strict=True):
            row[list(rules.unused)] = True
        ways = [[place[id(plan)] for plan in (*rules.plans, *rules.plans)[:2]] for _, rules in known]
        self.written = WrittenRule(
            CutTables(
                cuts=ints([code for code, _ in known]),
                valid=np.array([bool(rules.plans) for _, rules in known], dtype=np.bool_),
                first_order=np.array([rules.first_order for _, rules in known], dtype=np.int64).reshape(
                    len(known), len(layout.orders)
                ),
                unused=unused,
                way=np.array([way or [0, 0] for way in ways], dtype=np.int64).reshape(-1, 2),
            ),
            _rooms(layout, plans),
        )
        return self.written


def cuts_of(layout: KnobLayout) -> Cuts:
    """The cuts met so far of all kernels of the same structure."""
    return _cuts(_structure(layout))


@lru_cache(maxsize=MOST_STRUCTURES)
def _cuts(structure: Hashable) -> Cuts:
    return Cuts()


def _structure(layout: KnobLayout) -> Hashable:
    """All that the rules of cuts depend on. Extents only decide which loops have a knob, and the turns."""
    regions, graph = layout.regions, layout.regions.graph
    ops = tuple(
        [
            (
                op.kind,
                op.axis_kinds,
                tuple([(each.value, tuple(map(_reach, each.exprs))) for each in op.operands]),
                op.result,
            )
            for op in graph.ops
        ]
    )
    return (
        layout.target.digest,
        ops,
        graph.inputs,
        graph.outputs,
        tuple([value.dtype for value in graph.values]),
        tuple([level is Level.CONSTANT for level in regions.workload.levels]),
        layout.tiled_loops,
        layout.kinds,
        layout.turns,
    )


def _reach(expr: IndexExpr) -> Hashable:
    """The axes that an index moves with, and whether it is one of them or depends on data."""
    return expr.axes, expr.projected_axis, expr.source >= 0


def _found(layout: KnobLayout, cut: frozenset[int]) -> CutRules:
    among_cut = [tuple(d for d in order if d in cut) for order in layout.orders]
    first_order = tuple(map(among_cut.index, among_cut))
    if not moves_enough(layout.regions, cut):
        # No row of this cut is valid: its outline, the dear part, is never asked for.
        return CutRules((), first_order, ())
    flying = layout.column(IN_FLIGHT)
    plans = tuple(
        buffer_outline(layout.regions, cut, layout.target, tiles)
        for tiles in ((1, 2) if cut and flying >= 0 else (1,))
    )
    used = {buffer.slots for buffer in plans[0].buffers}
    unused = [
        layout.column(knob)
        for knob in (SlotKnob.LOAD, SlotKnob.ACCUMULATOR, SlotKnob.STORE)
        if knob not in used
    ]
    unused += () if cut else (flying,)
    return CutRules(tuple(column for column in unused if column >= 0), first_order, plans)


def _rooms(layout: KnobLayout, plans: list[Outline]) -> Rooms:
    held = [[plan.buffers[index] for index in storage] for plan in plans for storage in plan.storages]
    firsts = [storage[0] for storage in held]
    tenants = [buffer for storage in held for buffer in storage]
    number = layout.widths.buffers
    return Rooms(
        first_storage=starts([plan.storages for plan in plans]),
        slots=ints([_KNOB[first.slots] for first in firsts]),
        more=ints([first.outlived for first in firsts]),
        accumulator=np.array([first.accumulator for first in firsts], dtype=np.bool_),
        first_tenant=starts(held),
        buffer=ints([number[BufferKey(buffer.value, buffer.read_early)] for buffer in tenants]),
        element_bytes=ints([buffer.element_bytes for buffer in tenants]),
    )
