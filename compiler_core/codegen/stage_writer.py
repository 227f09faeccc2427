"""One stage of a kernel: loops over blocks of its result, the fold inside, what follows it, the store."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from tilewright.compiler_core.codegen import affine
from tilewright.compiler_core.codegen.affine import Affine, Variable
from tilewright.compiler_core.codegen.fold_writer import Extent, FoldWriter
from tilewright.compiler_core.codegen.nest import NO_AXIS
from tilewright.compiler_core.codegen.stages import folds
from tilewright.compiler_core.codegen.tiles import Position
from tilewright.compiler_core.codegen.writer import Lane, Scalar
from tilewright.compiler_core.errors import ConfigError
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.ir.index_map import unclamped_interval
from tilewright.compiler_core.ir.ops import AxisKind


class StageWriter(FoldWriter):
    """Writes one stage: loops over blocks of its result, the fold inside, the ops after it, the store."""

    def __init__(self, kernel: Position, number: int) -> None:
        super().__init__(kernel, number)
        self.bordered = self._bordered() & self.rows.keys() if self.blocking.apart else frozenset()

    def _bordered(self) -> frozenset[int]:
        """Axes along which the core reads padding at the ends."""
        found: set[int] = set()
        extents = [(0, extent) for extent in self.core.extents]
        for access in self.core.operands:
            if access.pad is not None and not access.is_data_dependent:
                shape = self.nest.graph.shape(access.value)
                for expr, extent in zip(access.exprs, shape, strict=True):
                    low, high = unclamped_interval(expr, extents, extent)
                    found |= expr.axes if low < 0 or high > extent else set()
        return frozenset(found)

    # loops

    def write(self) -> None:
        """Write the whole stage at the current position."""
        self.spans = [self.kernel.span(span) for span in self.nest.program.domains[self.stage.core]]
        scans = [a for a in self.core.result_axes if self.core.axis_kinds[a] is AxisKind.SCAN]
        if scans and self.nest.splits(self.stage):
            raise ConfigError("a scan whose reduction is split has no native form")
        self.scan = scans[0] if scans else NO_AXIS
        self.sums = self.kernel.sums(self.number) if self.number in self.nest.sums else None
        order = self.blocking.order
        if scans:
            order = (*scans, *(axis for axis in order if axis not in scans))
        self._over(order)

    def _block(self, axis: int) -> int:
        """Points of an axis in a block."""
        if axis == self.scan:
            return 1
        if axis == self.blocking.vector:
            return self.blocking.vectors * self.nest.lanes
        return self.rows.get(axis, 1)

    def _over(self, order: Sequence[int]) -> None:
        if not order:
            self._scope(self._block_of_points)
            return
        axis, *others = order
        if axis == self.blocking.vector and self.nest.shows:
            self._masked(axis, others)
            return
        for span in self._stretches(axis):
            self._over_stretch(axis, span, others)

    def _over_stretch(self, axis: int, span: Extent, others: Sequence[int]) -> None:
        """The blocks along a part of an axis."""
        low, width, widths = span
        block = self._block(axis)
        most = max(widths)
        full = self.writer.sub(width, self.writer.urem(width, block))

        def step(at: str, _carried: list[Lane]) -> list[Lane]:
            self.axes[axis] = low.plus(
                affine.of(Variable(at, block, 0, max(0, most // block * block - block)))
            )
            self.counts[axis] = block
            self._scope(lambda: self._over(others))
            return []

        def known(at: int) -> None:
            self.axes[axis], self.counts[axis] = low.plus(at), block
            self._scope(lambda: self._over(others))

        if block <= most:
            if isinstance(full, int) and full == block:
                known(0)
            elif isinstance(full, int) and axis in self.bordered and not low.terms:
                # The first and the last block are written apart: only they reach into padding.
                known(0)
                if full > 3 * block:
                    inner = Variable("", block, block, full - 2 * block)
                    self.writer.loop(
                        block, full - block, block, [], partial(self._inner, axis, low, inner, others)
                    )
                elif full == 3 * block:
                    known(block)
                known(full - block)
            else:
                self.writer.loop(0, full, block, [], step)
        left = sorted({each % block for each in widths} - {0})
        if not left:
            return
        rest = self.writer.sub(width, full)
        start: Affine = (
            affine.whole(full)
            if isinstance(full, int)
            else affine.of(Variable(full, block, 0, most // block * block))
        )
        if axis == self.blocking.vector:
            self._tail_of_vectors(axis, low.plus(start), rest, left, others)
            return
        for count in left:
            self._if(rest, count, partial(self._remainder, axis, low.plus(start), count, others))

    def _masked(self, axis: int, others: Sequence[int]) -> None:
        """Every vector as if it were the last: less code, slower."""
        low, width, widths = self.spans[axis]
        block = self._block(axis)

        def step(at: str, _carried: list[Lane]) -> list[Lane]:
            self.axes[axis] = low.plus(
                affine.of(Variable(at, block, 0, max(0, (max(widths) - 1) // block * block)))
            )
            self.counts[axis] = block
            if {each % block for each in widths} - {0}:
                self.memory.tail = self.writer.sub(width, at)
            self._scope(lambda: self._over(others))
            self.memory.tail = None
            return []

        self.writer.loop(0, width, block, [], step)

    def _inner(
        self,
        axis: int,
        low: Affine,
        kind: Variable,
        others: Sequence[int],
        at: str,
        _carried: list[Lane],
    ) -> list[Lane]:
        """A block that is neither the first nor the last."""
        self.axes[axis] = low.plus(affine.of(replace(kind, name=at)))
        self.counts[axis] = kind.multiple_of
        self._scope(lambda: self._over(others))
        return []

    def _if(self, number: Scalar, equals: int, work: Callable[[], None]) -> None:
        """Do the work where a number is so much."""
        if isinstance(number, int):
            if number == equals:
                self._scope(work)
            return

        def then() -> list[Lane]:
            self._scope(work)
            return []

        self.writer.branch(self.writer.let(f"icmp eq i64 {number}, {equals}"), then, list)

    def _remainder(self, axis: int, start: Affine, count: int, others: Sequence[int]) -> None:
        self.axes[axis], self.counts[axis] = start, count
        self._over(others)

    def _tail_of_vectors(
        self, axis: int, start: Affine, rest: Scalar, left: list[int], others: Sequence[int]
    ) -> None:
        lanes = self.nest.lanes

        def work() -> None:
            self.axes[axis], self.counts[axis] = start, -(-max(left) // lanes) * lanes
            self.memory.tail = rest
            self._over(others)
            self.memory.tail = None

        if isinstance(rest, int):
            self._scope(work)
            return

        def then() -> list[Lane]:
            self._scope(work)
            return []

        self.writer.branch(self.writer.let(f"icmp sgt i64 {rest}, 0"), then, list)

    # a block

    def _points(self) -> list[dict[int, int]]:
        """The points of a block: by axis, how far from the block's first."""
        points: list[dict[int, int]] = [{}]
        for axis in self.core.result_axes:
            offsets = range(0, self.counts[axis], self._lanes(axis))
            points = [{**point, axis: offset} for point in points for offset in offsets]
        return points

    def _block_of_points(self) -> None:
        points = self._points()
        if not folds(self.core):
            self._fill(points, [None] * len(points))
            return
        totals = self._folded(points)
        if not self.nest.splits(self.stage):
            self._finish(points, totals)
            return
        last = self.kernel.is_end(first=False)

        def end() -> list[Lane]:
            self._scope(lambda: self._finish(points, totals))
            return []

        def keep() -> list[Lane]:
            self._scope(lambda: self._keep(points, totals))
            return []

        self.writer.branch(last, end, keep)

    def _keep(self, points: list[dict[int, int]], totals: list[Lane]) -> None:
        assert self.sums is not None, "a split fold has memory for its sums"
        for point, total in zip(points, totals, strict=True):
            self.memory.store(self.sums, self._at(point)[: self.core.rank], total)

    def _finish(self, points: list[dict[int, int]], totals: list[Lane]) -> None:
        """Round the folds, do the ops after them, store."""
        if self.scan != NO_AXIS:
            self._keep(points, totals)
        self._fill(points, list(totals))

    def _fill(self, points: list[dict[int, int]], totals: Sequence[Lane | None]) -> None:
        """Compute the root at all points and store it, transposed where rows lie together."""
        turned = self._turned(points)
        for group in turned or [[position] for position in range(len(points))]:
            made: list[Lane] = []
            for position in group:
                index = self._at(points[position])
                total = totals[position]
                self.held = total and self.math.rounded(total, self._core_dtype)
                if self.held is not None:
                    self._show(self.core.result, [index[axis] for axis in self.core.result_axes], self.held)
                if not turned:
                    self._scope(partial(self._finish_point, index))
                    self.held = None
                    continue
                made.append(self._scope(partial(self._root, index)))
                self.held = None
            if turned:
                indices = [
                    [self._at(points[position])[axis] for axis in self.stage.axes] for position in group
                ]
                self.memory.store_turned(self.kernel.memories[self._result], indices, made)

    @property
    def _core_dtype(self) -> DType:
        return self.nest.graph.values[self.core.result].dtype

    @property
    def _result(self) -> int:
        return self.nest.graph.ops[self.stage.root].result

    def _turned(self, points: list[dict[int, int]]) -> list[list[int]]:
        """Points by rows that lie together in memory where lanes do not; [] where no rows do."""
        vector, rows = self.blocking.vector, list(self.rows)
        if vector not in self.core.result_axes or len(rows) != 1 or rows[0] == vector:
            return []
        groups: dict[tuple[tuple[int, int], ...], list[int]] = {}
        for index, point in enumerate(points):
            others = tuple((axis, offset) for axis, offset in point.items() if axis != rows[0])
            groups.setdefault(others, []).append(index)
        found = []
        for group in groups.values():
            indices = [[self._at(points[index])[axis] for axis in self.stage.axes] for index in group]
            if not self.memory.can_turn(self.kernel.memories[self._result], indices):
                return []
            found += [
                group[index : index + self.nest.lanes] for index in range(0, len(group), self.nest.lanes)
            ]
        return found

    def _finish_point(self, index: list[Affine]) -> None:
        self._store(index, self._root(index))

    def _root(self, index: list[Affine]) -> Lane:
        """The root's value at a point of the core."""
        if self.stage.root == self.stage.core:
            return self.held or self._worked_out(self.stage.root, index, ())
        return self._worked_out(self.stage.root, [index[axis] for axis in self.stage.axes], ())

    def _store(self, index: list[Affine], value: Lane) -> None:
        at = [index[axis] for axis in self.stage.axes]
        self.memory.store(self.kernel.memories[self._result], at, value)
