"""A position of a kernel's nest while its stages are written: tile numbers, memories, intervals."""

from collections.abc import Mapping
from math import gcd
from typing import Any

import numpy as np

from tilewright.compiler_core.codegen import affine
from tilewright.compiler_core.codegen.affine import Affine, Variable
from tilewright.compiler_core.codegen.lanes.indices import MemoryView
from tilewright.compiler_core.codegen.nest import KernelNest
from tilewright.compiler_core.codegen.places import Place
from tilewright.compiler_core.codegen.writer import Scalar, Writer
from tilewright.compiler_core.lowering.regions import Span


class Position:
    """`tiles` has the tile number in every dim of the interval tables, `memories` every value's memory.

    `shown` are places where inner values are stored a second time, for checks.
    """

    def __init__(self, nest: KernelNest, writer: Writer) -> None:
        self.nest = nest
        self.writer = writer
        self.tiles: dict[int, Affine] = {}
        self.memories: dict[int, MemoryView] = {}
        self.shown: dict[int, MemoryView] = {}

    def enter(self, pointers: Mapping[int, str]) -> None:
        """Set up the memories at the tiles that are current."""
        nest = self.nest
        given = {
            value: MemoryView(pointer, nest.outer[value], {}, nest.is_streamed(value))
            for value, pointer in pointers.items()
        }
        self.shown = {value: given.pop(value) for value in nest.shown}
        self.memories = given
        inner, _, _ = nest.scratch
        for stage in nest.stages:
            for index in stage.filled:
                value = nest.graph.ops[index].result
                if value in nest.inner:
                    self.memories[value] = self._scratch(inner[value], index, nest.inner[value])

    def _scratch(self, offset: int, at: int, place: Place) -> MemoryView:
        pointer = self.writer.let(f"getelementptr i8, ptr %scratch, i64 {offset}")
        lows = {
            dim: self.span(self.nest.program.domains[at][dim])[0]
            for dim in self.nest.graph.ops[at].result_axes
        }
        return MemoryView(pointer, place, lows)

    def sums(self, number: int) -> MemoryView:
        """The values that a stage carries from step to step."""
        _, offsets, _ = self.nest.scratch
        return self._scratch(offsets[number], self.nest.stages[number].core, self.nest.sums[number])

    def is_end(self, *, first: bool) -> str:
        """An i1: whether this is the first (or last) step of the anchor's reduction; "": it has one."""
        total = ""
        for loop in self.nest.program.reductions:
            if loop.count > 1:
                at = 0 if first else loop.count - 1
                number = self.writer.number(self.tiles[loop.dim])
                test = self.writer.let(f"icmp eq i64 {number}, {at}")
                total = test if not total else self.writer.let(f"and i1 {total}, {test}")
        return total

    def span(self, span: Span) -> tuple[Affine, Scalar, tuple[int, ...]]:
        """The begin and width of an interval at this position, and all widths that occur."""
        lows, highs = np.broadcast_arrays(*span)
        widths = np.maximum(highs - lows, 0)
        dims = [dim for dim, n in enumerate(lows.shape) if n > 1]
        every = tuple(np.unique(widths).tolist())
        if not dims:
            return affine.whole(int(lows.flat[0])), int(widths.flat[0]), every
        low = self._table(lows, dims)
        if len(every) == 1:
            return low, every[0], every
        return low, self.writer.number(self._table(widths, dims)), every

    def _table(self, numbers: Any, dims: list[int]) -> Affine:
        flat = numbers.reshape(-1)
        if len(dims) == 1 and len(flat) > 1:
            step = int(flat[1] - flat[0])
            if (np.diff(flat) == step).all():
                return self.tiles[dims[0]].times(step).plus(int(flat[0]))
        if (flat == flat[0]).all():
            return affine.whole(int(flat[0]))
        index: Affine = affine.whole(0)
        for dim in dims:
            index = index.times(numbers.shape[dim]).plus(self.tiles[dim])
        body = ", ".join(f"i64 {number}" for number in flat.tolist())
        table = self.writer.constant(f"[{len(flat)} x i64] [{body}]")
        place = self.writer.let(f"getelementptr i64, ptr {table}, i64 {self.writer.number(index)}")
        number = self.writer.let(f"load i64, ptr {place}, align 8")
        multiple = gcd(*flat.tolist()) or 1
        return affine.of(Variable(number, multiple, int(flat.min()), int(flat.max())))
