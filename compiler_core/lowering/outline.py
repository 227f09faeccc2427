"""The outline of a lowered kernel: its steps and buffers before any size is known.

Which steps there are, when they fire and which buffers can take turns depends only on *which* loops are cut,
not on how finely. So a search lowers thousands of Configs over a handful of outlines, and the static capacity
rule of a space reads bytes off the same outline that the lowering uses.

A cut decides little of it: whether the step that fills a buffer moves at all, and whether with every loop of
the cut. All else is the kernel's `Skeleton`, drawn once.
"""

from dataclasses import dataclass, replace

from tilewright.compiler_core.ir.ops import Unit
from tilewright.compiler_core.ir.workload import Level
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.lowering.steps import (
    FROM_MEMORY,
    Action,
    BufferFacts,
    BufferOutline,
    CutFacts,
    Outline,
    OutlineKey,
    Skeleton,
    SkeletonKey,
    SlotKnob,
    Step,
)
from tilewright.compiler_core.lowering.turns import in_flight, one_by_one, turns_of
from tilewright.compiler_core.target_model.target import Target

LAST = 1 << 30
"""Rank behind all turns."""


def outline(regions: Regions, cut: frozenset[int], target: Target, tiles_in_flight: int = 1) -> Outline:
    """The outline of a kernel when the loops `cut` (dims of the interval tables) have more than one tile."""
    key = OutlineKey(cut, target.digest, tiles_in_flight)
    known = regions.outlines.get(key)
    if known is None:
        drawn = buffer_outline(regions, cut, target, tiles_in_flight)
        reaches = _Reaches(regions, target)
        tile_cut = cut & regions.tile_loops
        steps = []
        for step in drawn.steps:
            if step.action is Action.STORE:
                moves = tile_cut
            elif step.action is Action.COMPUTE:
                moves = reaches.of_op(step.op, cut)
            else:
                moves = reaches.of_load(drawn.buffers[step.buffer].value, step.late, cut)
            steps.append(replace(step, moves=tuple(sorted(moves))))
        known = regions.outlines[key] = replace(drawn, steps=tuple(steps))
    return known


def buffer_outline(
    regions: Regions, cut: frozenset[int], target: Target, tiles_in_flight: int = 1
) -> Outline:
    """An outline whose buffers and storages are those of `cut`; its steps do not say with what they move."""
    key = SkeletonKey(target.digest, tiles_in_flight)
    skeleton = regions.skeletons.get(key)
    if skeleton is None:
        skeleton = regions.skeletons[key] = _Draft(regions, target, tiles_in_flight).drawn()
    found = _facts_of_cut(skeleton, regions, cut, _Reaches(regions, target))
    known = skeleton.outlines.get(found)
    if known is None:
        known = skeleton.outlines[found] = _with_storages(skeleton, found)
    return known


def _facts_of_cut(
    skeleton: Skeleton, regions: Regions, cut: frozenset[int], reaches: "_Reaches"
) -> tuple[CutFacts, ...]:
    """The facts of every buffer that depend on the cut."""
    tile_cut = cut & regions.tile_loops
    found = []
    for buffer in skeleton.buffers:
        outline = buffer.outline
        if buffer.op < 0:
            moves = reaches.of_load(outline.value, buffer.late, cut)
            slots, shareable = SlotKnob.LOAD if moves else SlotKnob.ONE, False
        else:
            moves = reaches.of_op(buffer.op, cut)
            slots = buffer.outline.slots if tile_cut else SlotKnob.ONE
            shareable = buffer.shareable and moves >= (tile_cut if buffer.late else cut)
        found.append(CutFacts(slots, shareable, buffer.outlived and bool(moves)))
    return tuple(found)


def _with_storages(skeleton: Skeleton, found: tuple[CutFacts, ...]) -> Outline:
    """The outline of all cuts with these facts."""
    tenants = _share(skeleton.buffers, found)
    storage_of = {buffer: storage for storage, held in enumerate(tenants) for buffer in held}
    return Outline(
        skeleton.steps,
        tuple(
            replace(buffer.outline, slots=facts.slots, outlived=facts.outlived, storage=storage_of[index])
            for index, (buffer, facts) in enumerate(zip(skeleton.buffers, found, strict=True))
        ),
        tuple(map(tuple, tenants)),
    )


@dataclass(frozen=True)
class _Reaches:
    """The loops of a cut with which ops and loads move."""

    regions: Regions
    target: Target

    def of_op(self, at: int, cut: frozenset[int]) -> frozenset[int]:
        """A split reduction starts over in every tile, also in tiles that its result does not move with."""
        if at == self.regions.anchor and not cut <= self.regions.tile_loops:
            return cut
        return self.regions.op_moves[at] & cut

    def of_load(self, value: int, late: bool, cut: frozenset[int]) -> frozenset[int]:
        """Operands that stream past L1 are fetched anew for every tile."""
        return cut if self.streams(value, late) else self.regions.value_moves(value, not late) & cut

    def streams(self, value: int, late: bool) -> bool:
        """Whether an outer operand is fetched anew for every tile: contractions alone read it."""
        graph = self.regions.graph
        return (
            self.target.streams_operands
            and not late
            and all(graph.ops[reader].row.contraction for reader in graph.readers[value])
        )


class _Draft:
    """Collects steps and buffers: early ops, then late ops, then stores. Execution order is by rank."""

    def __init__(self, regions: Regions, target: Target, tiles_in_flight: int) -> None:
        self.regions = regions
        self.target = target
        self.reaches = _Reaches(regions, target)
        self.steps: list[Step] = []
        self.ranks: list[int] = []
        self.buffers: list[BufferFacts] = []
        self.loaded: dict[tuple[int, bool], int] = {}
        self.computed: dict[int, int] = {}
        graph = regions.graph
        self.places = in_flight(turns_of(graph, target)) if tiles_in_flight > 1 else one_by_one(graph)

    def drawn(self) -> Skeleton:
        graph = self.regions.graph
        for late in (False, True):
            for index in range(len(graph.ops)):
                if (index not in self.regions.early) == late:
                    self._emit_op(index, late)
        for value in graph.outputs:
            lag = self.places[graph.producer[value]].lag
            self._step(Step(Action.STORE, self.computed[value], (), late=True, lag=lag), LAST)
        order = sorted(range(len(self.steps)), key=self.ranks.__getitem__)
        steps = tuple(self.steps[index] for index in order)
        return Skeleton(steps, tuple(self._lived(steps)))

    def _lived(self, steps: tuple[Step, ...]) -> list[BufferFacts]:
        """The buffers with their first and last step, and whether one reads them a tile behind."""
        born: dict[int, int] = {}
        dies: dict[int, int] = {}
        behind: set[int] = set()
        outlived: set[int] = set()
        for index, step in enumerate(steps):
            if step.action is not Action.STORE:
                born[step.buffer] = index
        for index, step in enumerate(steps):
            for buffer in {*step.reads, step.buffer} - {FROM_MEMORY}:
                dies[buffer] = index
                if step.lag > steps[born[buffer]].lag:
                    behind.add(buffer)
                    if index > born[buffer]:
                        outlived.add(buffer)
        return [
            replace(
                each,
                born=born[index],
                dies=dies[index],
                shareable=each.shareable and index not in behind,
                outlived=index in outlived,
            )
            for index, each in enumerate(self.buffers)
        ]

    def _step(self, step: Step, rank: int) -> None:
        self.steps.append(step)
        self.ranks.append(rank)

    def _emit_op(self, at: int, late: bool) -> None:
        graph = self.regions.graph
        op = graph.ops[at]
        reads = tuple([self._source(access.value, access.is_data_dependent, late) for access in op.operands])
        anchor = at == self.regions.anchor
        stored = op.result in graph.outputs
        slots = SlotKnob.ONE
        if stored:
            slots = SlotKnob.STORE
        elif anchor:
            slots = SlotKnob.ACCUMULATOR
        stored_as = self.target.storage_dtype(graph.values[op.result].dtype)
        sums = anchor or op.row.unit is Unit.MATRIX
        outlined = BufferOutline(
            op.result,
            None,
            (self.target.accumulator_dtype(stored_as) if sums else stored_as).bytes,
            slots,
            op.row.unit is Unit.MATRIX and self.target.accumulator_kib > 0,
        )
        self.computed[op.result] = self._add(
            BufferFacts(
                outlined,
                op=at,
                late=late,
                turn=self.places[at].turn,
                shareable=not stored and not anchor,
                in_place_of=self._in_place(at, reads),
            )
        )
        lag, rank = self.places[at].lag, self.places[at].rank
        self._step(Step(Action.COMPUTE, self.computed[op.result], (), late, at, reads, lag), rank)

    def _source(self, value: int, data_dependent: bool, late: bool) -> int:
        """The buffer an op reads a value from; outer operands load on first use, early and late apart."""
        if value in self.computed:
            return self.computed[value]
        if data_dependent:
            return FROM_MEMORY
        if (value, late) not in self.loaded:
            streams = self.reaches.streams(value, late)
            passes = streams and self.regions.workload.level_of(value) is Level.CONSTANT
            stored_as = self.target.storage_dtype(self.regions.graph.values[value].dtype)
            first = min(
                [
                    self.places[index]
                    for index in self.regions.graph.readers[value]
                    if (index in self.regions.early) != late
                ],
                key=lambda place: (place.lag, place.rank),
            )
            outlined = BufferOutline(value, not late, 0 if passes else stored_as.bytes, SlotKnob.LOAD, False)
            self.loaded[value, late] = self._add(BufferFacts(outlined, late=late, turn=first.turn))
            load = Step(Action.LOAD, self.loaded[value, late], (), late, lag=first.lag)
            self._step(load, first.rank)
        return self.loaded[value, late]

    def _add(self, buffer: BufferFacts) -> int:
        self.buffers.append(buffer)
        return len(self.buffers) - 1

    def _in_place(self, at: int, reads: tuple[int, ...]) -> int:
        """The buffer an elementwise op may overwrite: read point by point, by this op last, and only once."""
        graph = self.regions.graph
        op = graph.ops[at]
        if op.reduction_axes or op.row.unit is Unit.MATRIX:
            return -1
        for access, read in zip(op.operands, reads, strict=True):
            once = sum(a.value == access.value for a in op.operands) == 1
            last = graph.readers[access.value][-1] == at
            if once and last and access.value in self.computed and access.is_identity(op.rank):
                return read
        return -1


def _share(buffers: tuple[BufferFacts, ...], found: tuple[CutFacts, ...]) -> list[list[int]]:
    """Buffers by storage: short-lived ones take turns, elementwise ops work in place."""
    tenants: list[list[int]] = []
    shared: list[list[int]] = []
    for index, facts in enumerate(found):
        home = None
        if facts.shareable:
            home = next((held for held in shared if _may_join(index, held, buffers)), None)
        if home is not None:
            home.append(index)
            continue
        tenants.append([index])
        if facts.shareable:
            shared.append(tenants[-1])
    return tenants


def _may_join(at: int, held: list[int], buffers: tuple[BufferFacts, ...]) -> bool:
    """Whether all tenants have died before `at` is born, or `at` overwrites the one that is dying."""
    mine = buffers[at]
    for other in held:
        theirs = buffers[other]
        if theirs.late != mine.late or theirs.turn != mine.turn:
            return False
        if theirs.outline.accumulator is not mine.outline.accumulator:
            return False
        in_place = mine.in_place_of == other and theirs.outline.element_bytes >= mine.outline.element_bytes
        if theirs.dies > mine.born or (theirs.dies == mine.born and not in_place):
            return False
    return True
