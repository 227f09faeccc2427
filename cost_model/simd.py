"""Draft of kernels on a simd unit: the limit of a register block, its number of runs, the traffic of caches.

a step of the fold    the busiest of multiply-adds, loads, and the latency of a multiply-add
a sweep of the fold   its steps, and the bytes that no nearer cache still holds
the kernel            its sweeps, tails counted whole, and what all other ops do
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tilewright.compiler_core.codegen.blocking import main_stage, nest_of
from tilewright.compiler_core.codegen.memory import NEAR
from tilewright.compiler_core.codegen.nest import KernelNest
from tilewright.compiler_core.codegen.stages import Stage, stages_of
from tilewright.compiler_core.codegen.strides import breaks_of, shares_of, strides_of, values_read
from tilewright.compiler_core.ir.graph import Op
from tilewright.compiler_core.ir.ops import Unit
from tilewright.compiler_core.ir.workload import Level
from tilewright.compiler_core.lowering.lower import lower_kernel
from tilewright.compiler_core.lowering.schedule import Tiling
from tilewright.compiler_core.target_model.target import SimdUnit
from tilewright.search_space.blocking import INNER, ROW, ROWS, UNROLL, VECTOR, VECTORS, core_of, machine_of
from tilewright.search_space.knobs import Rows
from tilewright.search_space.rules import KnobLayout

Numbers = npt.NDArray[np.float64]
ROOM = 0.75
"""Share of a cache that a working set may take before it begins to lose lines."""
ROUND_CYCLES = 0.5
"""What is left of counting and jumping beside the multiply-adds of a round of the innermost loop."""
TESTED_LOADS = 3.0
"""A load whose place in a concatenation is tested, since a tile of the fold may lie across its parts."""
BLOCK_CYCLES = 12.0
"""Addresses, first totals and stores, a register block."""
KEPT_CYCLES = 3.0
"""Storing a vector of sums and loading it again."""
ACROSS_CYCLES = 18.0
"""Adding up the lanes of a vector."""
SPREAD_CYCLES = 1.6
"""An element that is loaded or stored by itself, because neighbours in a vector lie apart."""
PICKED_CYCLES = 0.5
"""Picking the lanes out of vectors of neighbours a few elements apart, beside loading them."""
LONG_STRETCH, SPILL_SHARE = 96.0, 0.4
"""Multiply-adds in a row from which on registers spill, and what each doubling costs."""
FAR_BYTES, FAR_CYCLES = 4096, 0.5
"""Rows this far apart lie in other pages and in the same sets of a cache: the extra time of a load."""
LATE_SHARE = 0.2
"""The share of the caches' traffic that arithmetic waits for."""
TILE_CYCLES = 25.0
"""Dividing a tile's number into tiles of loops, and the heads of its stages."""
TURNED_ROWS, TURNED_CYCLES = 4, 0.4
"""The number of rows from which on lanes are transposed before a store, and the cycles per element then."""
TURNED_SPARE = 4
"""Registers that turning lanes round takes beside those of a whole block of lanes."""
FLOAT_BYTES = 4.0


class SimdCosts(NamedTuple):
    """Cycles of a kernel's parts, [n] each: the fold in registers, the caches' traffic meanwhile, the stores,
    values passed between stages, all ops but the core.
    """

    arithmetic: Numbers
    moved: Numbers
    stores: Numbers
    inner: Numbers
    others: Numbers

    @property
    def total(self) -> Numbers:
        """The total: most of the caches' traffic overlaps with the arithmetic."""
        busiest = np.maximum(self.arithmetic, self.moved)
        return np.asarray(busiest + LATE_SHARE * self.moved + self.stores + self.inner + self.others)


@dataclass(frozen=True, eq=False)
class SimdDraft:
    """The draft of one kernel, for all rows at once."""

    layout: KnobLayout

    @property
    def _unit(self) -> SimdUnit:
        unit = self.layout.target.matrix
        assert isinstance(unit, SimdUnit), "made for simd targets only"
        return unit

    @cached_property
    def _core(self) -> Op:
        return core_of(self.layout.regions)

    @cached_property
    def _moves(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_], Numbers]:
        """Strides of the core's reads and of its store [reads, axes], -1: uneven; constants or not; at what
        share of the points each is more than padding.
        """
        regions, (nest, stage) = self.layout.regions, self._stage
        reads, shares = strides_of(nest, stage), shares_of(nest, stage)
        axes = range(len(self._core.domain))
        table = [[-1 if (s := read.get(axis, 0)) is None else s for axis in axes] for read in reads]
        own = {
            access.value
            for access in self._core.operands
            if access.value in regions.graph.inputs
            and regions.workload.level_of(access.value) is Level.CONSTANT
            and self._core.row.contraction
        }
        constants = np.array([*(value in own for value in values_read(nest, stage)), False])
        return np.array(table, dtype=np.int64).reshape(len(reads), len(axes)), constants, np.array(shares)

    @cached_property
    def _stage(self) -> tuple[KernelNest, Stage]:
        """The nest of the kernel in one tile, and its main stage."""
        regions, target = self.layout.regions, self.layout.target
        root = regions.graph.ops[regions.root]
        sizes = [loop.extent for loop in regions.loops]
        whole = Tiling(tuple(sizes[: root.rank]), tuple(sizes[root.rank :]), tuple(range(root.rank)))
        nest = nest_of(regions, lower_kernel(regions, whole, 1, target), machine_of(target))
        return nest, nest.stages[main_stage(nest.stages, regions)]

    @cached_property
    def _breaks(self) -> frozenset[int]:
        """Axes along which what is read changes from one part of a concatenation to the next."""
        return frozenset(breaks_of(*self._stage))

    def cycles(self, rows: Rows) -> Numbers:
        """The best guess in cycles, [n]."""
        return self.costs(rows).total

    def costs(self, rows: Rows) -> "SimdCosts":
        """The parts of the draft."""
        blocking = self.layout.blocking(rows)
        others = np.full(len(rows), self._other_cycles)
        nothing = np.zeros(len(rows))
        if VECTOR not in blocking:
            return SimdCosts(nothing + self._core.points + BLOCK_CYCLES, nothing, nothing, nothing, others)
        vector, vectors = blocking[VECTOR], blocking[VECTORS].astype(np.float64)
        row = blocking.get(ROW, vector)
        count = np.where(row == vector, 1, blocking.get(ROWS, np.ones_like(vector))).astype(np.float64)
        steps, blocks, sweeps = self._steps(rows, vector, vectors, row, count)
        a_step = self._step_cycles(vector, vectors, row, count) * self._tested(rows)
        unroll = blocking.get(UNROLL, np.ones_like(vector)).astype(np.float64)
        # Long stretches without a jump tempt the compiler to load ahead until registers run out.
        stretch = np.maximum(1.0, count * vectors * unroll / LONG_STRETCH)
        a_step = a_step * (1.0 + SPILL_SHARE * np.log2(stretch))
        arithmetic = steps * (a_step + ROUND_CYCLES / unroll) + sweeps * BLOCK_CYCLES
        # Sums that wait for the next tile of the reduction are stored and loaded again.
        arithmetic = arithmetic + np.maximum(sweeps - blocks, 0.0) * count * vectors * KEPT_CYCLES
        if self._core.row.reducer is not None:
            across = np.isin(vector, list(self._core.reduction_axes))
            arithmetic = arithmetic + np.where(across, sweeps * count * (vectors + ACROSS_CYCLES), 0.0)
        moved = self._moved_cycles(rows, blocking, vector, vectors, row, count)
        stores = self._store_cycles(vector, vectors, row, count)
        return SimdCosts(arithmetic, moved, stores, self._inner_cycles(rows), others)

    def _tested(self, rows: Rows) -> Numbers:
        """Times that a step takes where tiles are not cut between the parts of what is read."""
        cut = [axis in self._breaks for axis in range(len(self._core.extents))]
        whole = [
            width >= extent for width, extent in zip(self._widths(rows), self._core.extents, strict=True)
        ]
        tested = np.any([~each for each, is_cut in zip(whole, cut, strict=True) if is_cut], axis=0)
        return np.asarray(np.where(tested, TESTED_LOADS, np.ones(len(rows))))

    def _inner_cycles(self, rows: Rows) -> Numbers:
        """Cycles for values passed between stages: written and read where a tile's values fit."""
        regions, layout = self.layout.regions, self.layout
        graph = regions.graph
        inner = [
            graph.ops[stage.root].result
            for stage in stages_of(regions)
            if graph.ops[stage.root].result not in graph.outputs
        ]
        positions = layout.loop_positions(rows)
        tiles = (layout.parallel_tiles(positions) * layout.serial_steps(positions)).astype(np.float64)
        sizes = [FLOAT_BYTES * layout.elements(value, None, positions) for value in inner]
        footprint = np.sum(sizes, axis=0, initial=0.0) if sizes else np.zeros(len(rows))
        for value in graph.inputs:
            read = np.zeros(len(rows))
            for early in (True, False):
                if regions.is_read(value, early):
                    read = np.maximum(read, FLOAT_BYTES * layout.elements(value, early, positions))
            footprint = footprint + read
        passed = tiles * (np.sum(sizes, axis=0) if sizes else 0.0)
        return np.asarray(tiles * TILE_CYCLES + 2.0 * passed * self._byte_cycles(footprint))

    def _widths(self, rows: Rows) -> list[Numbers]:
        """The extent of every axis of the core in a tile, [n] each."""
        positions = self.layout.loop_positions(rows)
        regions, op = self.layout.regions, self._core
        at = regions.graph.ops.index(op)
        widths = []
        for axis, extent in enumerate(op.extents):
            loops = regions.axis_moves(at, axis)
            width = np.full(len(rows), float(extent))
            for loop in loops:
                sizes = np.array(self.layout.sizes[loop], dtype=np.float64)[positions[:, loop]]
                share = sizes / max(1, regions.loops[loop].extent)
                width = np.minimum(width, np.maximum(1.0, np.ceil(extent * share)))
            widths.append(width)
        return widths

    def _steps(
        self,
        rows: Rows,
        vector: npt.NDArray[np.int64],
        vectors: Numbers,
        row: npt.NDArray[np.int64],
        count: Numbers,
    ) -> tuple[Numbers, Numbers, Numbers]:
        """Steps of folds over all register blocks, register blocks, and these times the tiles of the fold."""
        op, lanes = self._core, self._lanes
        steps, blocks, sweeps = np.ones(len(rows)), np.ones(len(rows)), np.ones(len(rows))
        for axis, (width, extent) in enumerate(zip(self._widths(rows), op.extents, strict=True)):
            block = np.where(vector == axis, vectors * lanes, np.where(row == axis, count, 1.0))
            tiles = np.ceil(extent / width)
            done = tiles * np.ceil(width / block)
            steps = steps * done
            sweeps = sweeps * (done if axis in op.result_axes else tiles)
            if axis in op.result_axes:
                blocks = blocks * done
        return steps, blocks, sweeps

    def strides(self, axes: npt.NDArray[np.int64]) -> tuple[Numbers, Numbers]:
        """Elements between neighbours along an axis, [n] each: of the farthest read, and of the store; 0 for
        a core of a single point, which has no axis.
        """
        table, _, _ = self._moves
        if not table.shape[1]:
            return np.zeros(len(axes)), np.zeros(len(axes))
        reads = np.abs(table[:-1]).max(axis=0, initial=0)
        return reads[axes].astype(np.float64), np.abs(table[-1])[axes].astype(np.float64)

    @property
    def _lanes(self) -> int:
        return self._unit.lanes(self.layout.target.dtypes[0][0])

    def _step_cycles(
        self, vector: npt.NDArray[np.int64], vectors: Numbers, row: npt.NDArray[np.int64], count: Numbers
    ) -> Numbers:
        """Cycles of one step of a block's fold."""
        unit, op = self._unit, self._core
        strides, constants, shares = self._moves
        work = count * vectors * max(1, op.row.lane_ops)
        loads = np.zeros(len(vector))
        # Constants lie in the order of their use where lanes are results; not for folds across them.
        over_results = np.isin(vector, list(op.result_axes))
        for read, packed, share in zip(strides[:-1], constants[:-1], shares[:-1], strict=True):
            along = read[vector]
            together = (along == 0) | (along == 1) | (packed & over_results)
            near = np.where((along > 1) & (along <= NEAR), along + PICKED_CYCLES, SPREAD_CYCLES * self._lanes)
            one = np.where(together, 1.0, near)
            far = (np.abs(read[row]) * FLOAT_BYTES >= FAR_BYTES) & (row != vector) & (count > 4)
            one = one + np.where(far, FAR_CYCLES, 0.0)
            times = np.where(along != 0, vectors, 1.0) * np.where(
                (read[row] != 0) & (row != vector), count, 1.0
            )
            loads = loads + share * one * times
        chains = count * vectors
        latency = np.where(op.row.reducer is None, 0.0, unit.fma_latency_cycles * np.ones(len(vector)))
        latency = latency * np.maximum(1.0, work / np.maximum(chains, 1.0))
        return np.maximum(np.maximum(work / unit.fma_ports, loads / unit.load_ports), latency)

    def _store_cycles(
        self, vector: npt.NDArray[np.int64], vectors: Numbers, row: npt.NDArray[np.int64], count: Numbers
    ) -> Numbers:
        """Whole vectors where the result lies along them; turned round where rows do; by element."""
        strides, _, _ = self._moves
        elements = float(np.prod([self._core.extents[axis] for axis in self._core.result_axes]))
        together = np.abs(strides[-1][vector]) <= 1
        turned = (strides[-1][row] == 1) & (row != vector) & (count >= TURNED_ROWS)
        # Totals that wait while others are turned round spill, and wait for the stores in between.
        waits = (vectors - 1.0) * count + self._lanes + TURNED_SPARE > self._unit.registers
        turning = np.where(waits, SPREAD_CYCLES, TURNED_CYCLES)
        each = np.where(together, 1.0 / self._lanes, np.where(turned, turning, SPREAD_CYCLES))
        return np.asarray(elements * each)

    def _moved_cycles(
        self,
        rows: Rows,
        blocking: dict[str, npt.NDArray[np.int64]],
        vector: npt.NDArray[np.int64],
        vectors: Numbers,
        row: npt.NDArray[np.int64],
        count: Numbers,
    ) -> Numbers:
        """Cycles in which the caches bring what the blocks read, from the nearest that can hold it."""
        op = self._core
        strides, _, _ = self._moves
        widths = self._widths(rows)
        tiles = np.prod([np.ceil(e / w) for e, w in zip(op.extents, widths, strict=True)], axis=0)
        outer_is_vector = blocking.get(INNER, np.zeros_like(vector)) == 0
        total = np.zeros(len(rows))
        for read in strides[:-1]:
            slab = np.full(len(rows), FLOAT_BYTES)
            whole = np.full(len(rows), FLOAT_BYTES)
            again = np.ones(len(rows))
            for axis in range(len(op.domain)):
                width = widths[axis]
                block = np.where(vector == axis, vectors * self._lanes, np.where(row == axis, count, 1.0))
                if read[axis] != 0:
                    whole = whole * width
                    in_slab = (axis in op.reduction_axes) | (vector == axis) | (row == axis)
                    slab = slab * np.where(
                        in_slab, np.minimum(width, block) if axis < op.rank else width, 1.0
                    )
                elif axis < op.rank:
                    again = again * np.ceil(width / block)
            # A slab stays where the loop just outside it does not move it; else the whole tile comes again.
            moves_inside = np.where(outer_is_vector, read[row] != 0, read[vector] != 0)
            held = np.where(moves_inside, whole, slab)
            total = total + tiles * again * whole * self._byte_cycles(held)
        return total

    def _byte_cycles(self, held: Numbers) -> Numbers:
        """Cycles a byte that is read again while so many are: from the nearest cache that has room."""
        target = self.layout.target
        cost = np.full(len(held), 1.0 / target.llb_bytes_per_cycle)
        for inner, outer in reversed(list(zip(target.caches, target.caches[1:], strict=False))):
            cost = np.where(held <= ROOM * outer.kib * 1024, 1.0 / outer.bytes_per_cycle, cost)
            cost = np.where(held <= ROOM * inner.kib * 1024, 0.0, cost)
        return cost

    @cached_property
    def _other_cycles(self) -> float:
        """Cycles of all ops but the core, with full lanes."""
        graph = self.layout.regions.graph
        others: Sequence[Op] = [
            op for op in graph.ops if op is not self._core and op.row.unit is not Unit.NONE
        ]
        return sum(op.points * (max(1, op.row.lane_ops) + 1.0) / self._lanes for op in others)
