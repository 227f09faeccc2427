"""The outline of a lowered kernel: its steps and buffers before any size is known.

Which steps there are, when they fire and which buffers can take turns depends only on *which* loops are cut,
not on how finely. So a search lowers thousands of Configs over a handful of outlines, and the static capacity
rule of a space reads bytes off the same outline that the lowering uses.

Of a cut, the buffers know only its `Pattern`: whether each step moves at all, and whether with every loop of
the cut. Most cuts of a kernel share a pattern, and with it all but the loops their steps move with.
"""

from dataclasses import dataclass, replace

from tilewright.compiler_core.ir.ops import Unit
from tilewright.compiler_core.ir.workload import Level
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.lowering.steps import (
    FROM_MEMORY,
    Action,
    BufferOutline,
    Outline,
    OutlineKey,
    Pattern,
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
    """An outline whose buffers and storages are those of `cut`, with the steps of another cut like it."""
    key = OutlineKey(_Reaches(regions, target).pattern(cut), target.digest, tiles_in_flight)
    known = regions.outlines.get(key)
    if known is None:
        draft = _Draft(regions, cut, target, tiles_in_flight)
        draft.emit()
        tenants = _share(draft.buffers, draft.lives)
        storage_of = {buffer: storage for storage, held in enumerate(tenants) for buffer in held}
        known = regions.outlines[key] = Outline(
            tuple(draft.steps),
            tuple(replace(buffer, storage=storage_of[index]) for index, buffer in enumerate(draft.buffers)),
            tuple(tuple(held) for held in tenants),
        )
    return known


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

    def pattern(self, cut: frozenset[int]) -> Pattern:
        """The key of the buffers of `cut`."""
        tile_cut = cut & self.regions.tile_loops
        ops = []
        for index in range(len(self.regions.graph.ops)):
            moves = self.of_op(index, cut)
            ops.append((bool(moves), moves >= (cut if index in self.regions.early else tile_cut)))
        loads = tuple(
            bool(self.of_load(value, late, cut))
            for value in self.regions.graph.inputs
            for late in (False, True)
            if self.regions.is_read(value, not late)
        )
        return Pattern(bool(tile_cut), tile_cut != cut, tuple(ops), loads)


@dataclass(frozen=True)
class _Life:
    """The facts that decide whether a buffer may share its room with others.

    `shareable`: one slot, filled anew in every tile, not stored, not read a tile behind. Steps `born` to
    `dies` use it. Only buffers of one `turn` take turns: others belong to the other tile in flight.
    """

    shareable: bool
    late: bool
    turn: int
    born: int = -1
    dies: int = -1
    in_place_of: int = -1


class _Draft:
    """Collects steps and buffers: early ops, then late ops, then stores. Execution order is by rank."""

    def __init__(self, regions: Regions, cut: frozenset[int], target: Target, tiles_in_flight: int) -> None:
        self.regions = regions
        self.cut = cut
        self.target = target
        self.reaches = _Reaches(regions, target)
        self.tile_cut = cut & regions.tile_loops
        self.steps: list[Step] = []
        self.ranks: list[int] = []
        self.buffers: list[BufferOutline] = []
        self.lives: list[_Life] = []
        self.loaded: dict[tuple[int, bool], int] = {}
        self.computed: dict[int, int] = {}
        graph = regions.graph
        self.places = in_flight(turns_of(graph, target)) if tiles_in_flight > 1 else one_by_one(graph)

    def emit(self) -> None:
        graph = self.regions.graph
        for late in (False, True):
            for index in range(len(graph.ops)):
                if (index not in self.regions.early) == late:
                    self._emit_op(index, late)
        for value in graph.outputs:
            moves = tuple(sorted(self.tile_cut))
            lag = self.places[graph.producer[value]].lag
            self._step(Step(Action.STORE, self.computed[value], moves, late=True, lag=lag), LAST)
        self.steps = [
            self.steps[index] for index in sorted(range(len(self.steps)), key=self.ranks.__getitem__)
        ]
        filled = {
            step.buffer: index for index, step in enumerate(self.steps) if step.action is not Action.STORE
        }
        for index, step in enumerate(self.steps):
            for buffer in {*step.reads, step.buffer} - {FROM_MEMORY}:
                self._use(buffer, filled[buffer], index)

    def _step(self, step: Step, rank: int) -> None:
        self.steps.append(step)
        self.ranks.append(rank)

    def _use(self, buffer: int, born: int, at: int) -> None:
        """Step `at` uses a buffer that step `born` fills."""
        filler, step, life = self.steps[born], self.steps[at], self.lives[buffer]
        behind = step.lag > filler.lag
        self.lives[buffer] = replace(life, born=born, dies=at, shareable=life.shareable and not behind)
        if behind and at > born and filler.moves:
            self.buffers[buffer] = replace(self.buffers[buffer], outlived=True)

    def _emit_op(self, at: int, late: bool) -> None:
        graph = self.regions.graph
        op = graph.ops[at]
        reads = tuple(self._source(access.value, access.is_data_dependent, late) for access in op.operands)
        anchor = at == self.regions.anchor
        moves = self.reaches.of_op(at, self.cut)
        stored = op.result in graph.outputs
        slots = SlotKnob.ONE
        if self.tile_cut and stored:
            slots = SlotKnob.STORE
        elif self.tile_cut and anchor:
            slots = SlotKnob.ACCUMULATOR
        stored_as = self.target.storage_dtype(graph.values[op.result].dtype)
        sums = anchor or op.row.unit is Unit.MATRIX
        self.computed[op.result] = self._add(
            BufferOutline(
                op.result,
                None,
                (self.target.accumulator_dtype(stored_as) if sums else stored_as).bytes,
                slots,
                op.row.unit is Unit.MATRIX and self.target.accumulator_kib > 0,
            ),
            _Life(
                shareable=not stored and not anchor and moves >= (self.tile_cut if late else self.cut),
                late=late,
                turn=self.places[at].turn,
                in_place_of=self._in_place(at, reads),
            ),
        )
        lag, rank = self.places[at].lag, self.places[at].rank
        self._step(
            Step(Action.COMPUTE, self.computed[op.result], tuple(sorted(moves)), late, at, reads, lag), rank
        )

    def _source(self, value: int, data_dependent: bool, late: bool) -> int:
        """The buffer an op reads a value from; outer operands load on first use, early and late apart."""
        if value in self.computed:
            return self.computed[value]
        if data_dependent:
            return FROM_MEMORY
        if (value, late) not in self.loaded:
            streams = self.reaches.streams(value, late)
            passes = streams and self.regions.workload.level_of(value) is Level.CONSTANT
            moves = self.reaches.of_load(value, late, self.cut)
            stored_as = self.target.storage_dtype(self.regions.graph.values[value].dtype)
            slots = SlotKnob.LOAD if moves else SlotKnob.ONE
            first = min(
                [
                    self.places[index]
                    for index in self.regions.graph.readers[value]
                    if (index in self.regions.early) != late
                ],
                key=lambda place: (place.lag, place.rank),
            )
            self.loaded[value, late] = self._add(
                BufferOutline(value, not late, 0 if passes else stored_as.bytes, slots, False),
                _Life(shareable=False, late=late, turn=first.turn),
            )
            load = Step(Action.LOAD, self.loaded[value, late], tuple(sorted(moves)), late, lag=first.lag)
            self._step(load, first.rank)
        return self.loaded[value, late]

    def _add(self, buffer: BufferOutline, life: _Life) -> int:
        self.buffers.append(buffer)
        self.lives.append(life)
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


def _share(buffers: list[BufferOutline], lives: list[_Life]) -> list[list[int]]:
    """Buffers by storage: short-lived ones take turns, elementwise ops work in place."""
    tenants: list[list[int]] = []
    for index, life in enumerate(lives):
        home = next((held for held in tenants if _may_join(index, held, buffers, lives)), None)
        if home is None or not life.shareable:
            tenants.append([index])
        else:
            home.append(index)
    return tenants


def _may_join(at: int, held: list[int], buffers: list[BufferOutline], lives: list[_Life]) -> bool:
    """Whether all tenants have died before `at` is born, or `at` overwrites the one that is dying."""
    mine, buffer = lives[at], buffers[at]
    for other in held:
        theirs, their_buffer = lives[other], buffers[other]
        if not theirs.shareable or theirs.late != mine.late or theirs.turn != mine.turn:
            return False
        if their_buffer.accumulator is not buffer.accumulator:
            return False
        in_place = mine.in_place_of == other and their_buffer.element_bytes >= buffer.element_bytes
        if theirs.dies > mine.born or (theirs.dies == mine.born and not in_place):
            return False
    return True
