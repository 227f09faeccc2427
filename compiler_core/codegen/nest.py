"""The nest of a kernel: its tile loops, its stages, how each is blocked for registers, where values lie."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod

from tilewright.compiler_core.codegen.lanes.arithmetic import BITS, kind_of
from tilewright.compiler_core.codegen.machine.cpu import Machine
from tilewright.compiler_core.codegen.places import Place, laid_out, row_major
from tilewright.compiler_core.codegen.stages import Stage
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.ir.graph import Graph, Op
from tilewright.compiler_core.ir.ops import AxisKind
from tilewright.compiler_core.lowering.program import KernelProgram
from tilewright.compiler_core.lowering.regions import Regions

NO_AXIS = -1
MOST_ELEMENTS = 1 << 31
STREAMED_BYTES = 1 << 19


@dataclass(frozen=True)
class Blocking:
    """The cut of a stage for registers. Axes are those of the stage's core.

    `apart`: first and last blocks of rows along an axis with padding are written apart from the others.
    `vector` is the axis that lies across lanes (NO_AXIS: none), `vectors` how many vectors of it are worked
    on at once; `rows` how many points of other result axes; `unroll` how many of reduction axes. `order`
    lists result axes, outermost loop first, `folded` reduction axes.
    """

    vector: int
    vectors: int
    rows: tuple[tuple[int, int], ...]
    order: tuple[int, ...]
    folded: tuple[int, ...]
    unroll: tuple[tuple[int, int], ...] = ()
    apart: bool = True


@dataclass(frozen=True, eq=False)
class KernelNest:
    """A lowered kernel with the choices a CPU needs.

    `blockings` has one for every stage. `arranged` has the places of constants that are rearranged
    beforehand. A nest that `shows` is for checks of numbers: inner values are also stored whole, and are
    arguments too; little code is made of it; floats add up in double, since the order of a long sum is no
    fault.
    """

    regions: Regions
    program: KernelProgram
    machine: Machine
    stages: tuple[Stage, ...]
    blockings: tuple[Blocking, ...]
    arranged: Mapping[int, Place] = field(default_factory=dict)
    shows: bool = False

    @property
    def graph(self) -> Graph:
        """The kernel's ops."""
        return self.regions.graph

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Tile size of every loop, by dim of the interval tables."""
        by_dim = {loop.dim: loop.tile for loop in self.program.loops}
        return tuple(by_dim[dim] for dim in range(len(by_dim)))

    @cached_property
    def lanes(self) -> int:
        """Lanes of a vector in this kernel: 32-bit elements, or wider ones where there are only those."""
        kinds = {BITS[kind_of(kind.dtype)] for kind in self.graph.values}
        return self.machine.lanes(32 if kinds & {32} or not kinds & {64} else 64)

    @cached_property
    def outer(self) -> Mapping[int, Place]:
        """Places of values outside the kernel, in the order of the machine code's arguments."""
        workload = self.regions.workload
        found = {
            value: self.arranged.get(value)
            or laid_out(self.graph.values[value].dtype, self.graph.shape(value), workload.layout_of(value))
            for value in dict.fromkeys(workload.outer)
        }
        for value in self.shown:
            found[value] = row_major(self.graph.values[value].dtype, self.graph.shape(value))
        return found

    def is_streamed(self, value: int) -> bool:
        """Whether a value is read in the order in which it lies, and is too large for a near cache."""
        return value in self.arranged and self.arranged[value].bytes >= STREAMED_BYTES

    @property
    def shown(self) -> tuple[int, ...]:
        """Inner values that are stored whole."""
        made = [op.result for op in self.graph.ops] if self.shows else []
        return tuple(value for value in made if value not in self.graph.outputs)

    @cached_property
    def inner(self) -> Mapping[int, Place]:
        """Places of inner values in the scratch memory, one tile of each."""
        return {
            self.graph.ops[index].result: self._tile_of(index)
            for stage in self.stages
            for index in stage.filled
            if self.graph.ops[index].result not in self.graph.outputs
        }

    def _tile_of(self, at: int) -> Place:
        value = self.graph.ops[at].result
        widths = [
            max(1, self.regions.widest(value, dim, self.sizes, None))
            for dim in range(self.regions.rank_of(value))
        ]
        return row_major(self.graph.values[value].dtype, widths)

    @cached_property
    def sums(self) -> Mapping[int, Place]:
        """Places of carried values: partial sums between reduction steps, the state of a scan."""
        found: dict[int, Place] = {}
        for number, stage in enumerate(self.stages):
            op = self.graph.ops[stage.core]
            scans = AxisKind.SCAN in op.axis_kinds
            if not scans and not self.splits(stage):
                continue
            place = self._tile_of(stage.core)
            dtype = self.accumulator(op)
            pieces = tuple(
                replace(piece, stride=0) if op.axis_kinds[piece.dim] is AxisKind.SCAN else piece
                for piece in place.pieces
            )
            found[number] = replace(place, dtype=dtype, pieces=pieces)
        return found

    def accumulator(self, op: Op) -> DType:
        """The dtype of an op's fold."""
        dtype = self.graph.values[op.result].dtype.accumulator
        assert op.row.reducer is not None, "asked of a fold"
        adds = op.row.reducer.name in ("sum", "prod")
        return DType.F64 if self.shows and adds and dtype.is_float else dtype

    def splits(self, stage: Stage) -> bool:
        """Whether the fold of a stage is done in several steps."""
        return stage.core == self.program.anchor and prod(loop.count for loop in self.program.reductions) > 1

    @cached_property
    def scratch(self) -> tuple[Mapping[int, int], Mapping[int, int], int]:
        """Byte offsets of `inner` and of `sums` in the scratch memory of a thread, and its size."""
        at = 0
        inner: dict[int, int] = {}
        sums: dict[int, int] = {}
        for places, offsets in ((self.inner, inner), (self.sums, sums)):
            for key, place in places.items():
                offsets[key] = at
                at += -(-place.bytes // 64) * 64
        return inner, sums, at
