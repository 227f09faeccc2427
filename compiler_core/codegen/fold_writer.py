"""The fold of a stage over a block of its points: loops over the reduction, one term after the other."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import nan
from typing import Any

import numpy as np

from tilewright.compiler_core.codegen import affine
from tilewright.compiler_core.codegen.affine import Affine, Variable
from tilewright.compiler_core.codegen.lanes.arithmetic import is_signed, kind_of
from tilewright.compiler_core.codegen.lanes.indices import Inside, MemoryView
from tilewright.compiler_core.codegen.nest import NO_AXIS, Blocking
from tilewright.compiler_core.codegen.strides import breaks_of
from tilewright.compiler_core.codegen.tiles import Position
from tilewright.compiler_core.codegen.values import Values
from tilewright.compiler_core.codegen.writer import Lane, Scalar

Extent = tuple[Affine, Scalar, tuple[int, ...]]
"""Where an interval begins, how wide it is, and all widths that there are."""
KEEP_ORDER = 'fence syncscope("singlethread") seq_cst'
"""No instruction: it keeps LLVM from holding what one step of a fold loaded for the next one."""


class FoldWriter(Values):
    """Writes the fold of a stage for a block of points.

    The block begins at `axes`, an index of every axis of the core, and has `counts` points along each.
    `spans` are the intervals of the core's axes in the present tile. `sums` keep the totals of a fold that is
    split, or carried along a scan.
    """

    def __init__(self, kernel: Position, number: int) -> None:
        super().__init__(kernel, kernel.nest.stages[number])
        self.number = number
        self.blocking: Blocking = self.nest.blockings[number]
        self.rows = dict(self.blocking.rows)
        self.unroll = dict(self.blocking.unroll)
        self.axes: dict[int, Affine] = {}
        self.counts: dict[int, int] = {}
        self.spans: list[Extent] = []
        self.breaks = breaks_of(self.nest, self.stage)
        self.scan = NO_AXIS
        self.sums: MemoryView | None = None
        self.across = self.blocking.vector in self.core.reduction_axes

    def _lanes(self, axis: int) -> int:
        return self.nest.lanes if axis == self.blocking.vector else 1

    def _scope(self, work: Callable[[], Any]) -> Any:
        self.memory.scopes.append({})
        try:
            return work()
        finally:
            self.memory.scopes.pop()

    def _at(self, point: dict[int, int]) -> list[Affine]:
        """The index of every axis of the core at a point."""
        index: list[Affine] = []
        for axis in range(len(self.core.domain)):
            if axis not in self.axes:
                index.append(affine.whole(0))
                continue
            at = self.axes[axis].plus(point.get(axis, 0))
            if axis == self.blocking.vector:
                at = at.plus(Affine(lane=1, lanes=self.nest.lanes))
                self.memory.tail_vector = point.get(axis, 0) // self.nest.lanes
            index.append(at)
        return index

    def _folded(self, points: list[dict[int, int]]) -> list[Lane]:
        """The totals of a block's points, in the accumulator type."""
        reducer = self.core.row.reducer
        assert reducer is not None, "a fold has a reducer"
        dtype = self.nest.accumulator(self.core)
        kind, signed = kind_of(dtype), is_signed(dtype)
        start = reducer.start_for(np.dtype(dtype.numpy))
        identity = self.math.constant(kind, float(start) if kind in ("float", "double") else int(start))
        identity = Lane(identity.text, kind, 1, signed)
        lanes = self.nest.lanes if self.blocking.vector != NO_AXIS else 1
        fresh = self.math.spread(identity, lanes)
        if self.across:
            return self._folded_across(points, identity, fresh)
        begun = self._begun(points, [fresh] * len(points))
        return self._fold_over(self.blocking.folded, points, begun)

    def _folded_across(self, points: list[dict[int, int]], identity: Lane, fresh: Lane) -> list[Lane]:
        """Vectors of totals, then their lanes. Behind the totals of extremes lies a mask of NaN."""
        reducer, copies = self.core.row.reducer, self.blocking.vectors
        assert reducer is not None, "a fold has a reducer"
        begun = [fresh] * (len(points) * copies)
        if reducer.name in ("max", "min") and fresh.is_float:
            begun += [self.math.spread(Lane("false", "i1", 1, signed=False), fresh.lanes)] * len(points)
        totals = self._fold_over(self.blocking.folded, points, begun)
        rows = []
        for index in range(len(points)):
            total, *others = totals[index * copies : (index + 1) * copies]
            for other in others:
                total = self.math.folded_numbers(reducer.name, total, other)
            rows.append(total)
        made = self.math.across(reducer.name, rows)
        for index, seen in enumerate(totals[len(points) * copies :]):
            made[index] = self.math.select(
                self.math.any_lane(seen), self.math.like(made[index], nan), made[index]
            )
        if self.sums is None:
            return made
        carried = self._begun(points, [identity] * len(points))
        return [self.math.folded(reducer.name, c, w) for c, w in zip(carried, made, strict=True)]

    def _begun(self, points: list[dict[int, int]], fresh: list[Lane]) -> list[Lane]:
        """The start of totals: the identity, or the totals of the step before."""
        if self.sums is None:
            return fresh
        sums = self.sums
        if self.scan != NO_AXIS:
            test = self.writer.let(f"icmp eq i64 {self.writer.number(self.axes[self.scan])}, 0")
        else:
            test = self.kernel.is_end(first=True)

        def before() -> list[Lane]:
            lanes = fresh[0].lanes
            return self._scope(  # type: ignore[no-any-return]
                lambda: [
                    self.math.spread(self.memory.load(sums, self._at(p)[: self.core.rank], (), 0.0), lanes)
                    for p in points
                ]
            )

        return self.writer.branch(test, lambda: fresh, before)

    def _fold_over(self, axes: Sequence[int], points: list[dict[int, int]], totals: list[Lane]) -> list[Lane]:
        if not axes:
            return self._scope(lambda: self._fold_once(points, totals))  # type: ignore[no-any-return]
        axis, *others = axes
        for span in self._stretches(axis):
            totals = self._fold_stretch(axis, span, others, points, totals)
        return totals

    def _stretches(self, axis: int) -> list[Extent]:
        """The interval of an axis in this tile, cut where a read along it begins or ends to be padding."""
        low, width, widths = self.spans[axis]
        if low.terms or not isinstance(width, int):
            return [(low, width, widths)]
        first, block = low.constant, self._step(axis)
        cuts = [cut - first for cut in self.breaks.get(axis, ()) if first < cut < first + width]
        if axis == self.blocking.vector:
            cuts = [cut for cut in cuts if cut % block == 0]
        ends = [0, *cuts, width]
        return [(low.plus(a), b - a, (b - a,)) for a, b in pairwise(ends)]

    def _step(self, axis: int) -> int:
        """Points of a vector axis in a block; 1 of another."""
        return self.blocking.vectors * self.nest.lanes if axis == self.blocking.vector else 1

    def _fold_stretch(
        self,
        axis: int,
        span: Extent,
        others: Sequence[int],
        points: list[dict[int, int]],
        totals: list[Lane],
    ) -> list[Lane]:
        """The fold along a part of an axis."""
        low, width, widths = span
        vector = axis == self.blocking.vector
        lanes = self._lanes(axis)
        step = self.blocking.vectors * lanes if vector else min(self.unroll.get(axis, 1), max(1, max(widths)))
        full = self.writer.sub(width, self.writer.urem(width, step))
        most = max(widths) // step * step

        def body(start: Affine, count: int, held: list[Lane]) -> list[Lane]:
            """`count` steps of this axis one after the other; of a vector axis, beside each other."""
            if vector:
                self.axes[axis], self.counts[axis] = start, count
                return self._fold_over(others, points, held)
            for index in range(count):
                self.axes[axis] = start.plus(index)
                if index and self._is_full(points):
                    self.writer.do(KEEP_ORDER)
                held = self._where_needed(axis, others, points, held)
            return held

        def round_(at: str, held: list[Lane]) -> list[Lane]:
            start = low.plus(affine.of(Variable(at, step, 0, max(0, most - step))))
            return self._scope(lambda: body(start, step, held))  # type: ignore[no-any-return]

        if isinstance(full, int) and full == step:
            totals = self._scope(lambda: body(low, step, totals))
        elif step <= max(widths):
            totals = self.writer.loop(0, full, step, totals, round_)
        if not {each % step for each in widths} - {0}:
            return totals
        behind = affine.whole(full) if isinstance(full, int) else affine.of(Variable(full, step, 0, most))
        rest = self.writer.sub(width, full)
        if vector:
            return self._vector_rest(axis, low.plus(behind), rest, totals, body)
        if isinstance(rest, int):
            return self._scope(lambda: body(low.plus(behind), rest, totals))  # type: ignore[no-any-return]

        def single(at: str, held: list[Lane]) -> list[Lane]:
            start = low.plus(behind).plus(affine.of(Variable(at, 1, 0, step - 2)))
            return self._scope(lambda: body(start, 1, held))  # type: ignore[no-any-return]

        return self.writer.loop(0, rest, 1, totals, single)

    def _where_needed(
        self, axis: int, others: Sequence[int], points: list[dict[int, int]], held: list[Lane]
    ) -> list[Lane]:
        """The rest of a fold, left out where all it reads of an operand is padding that changes nothing."""
        conditions = self._conditions(axis, others)
        if any(self.memory.never(each) for each in conditions):
            return held
        test = self.memory.test(conditions)
        if not test:
            return self._fold_over(others, points, held)

        def then() -> list[Lane]:
            self.assumed += conditions
            try:
                return self._scope(  # type: ignore[no-any-return]
                    lambda: self._fold_over(others, points, held)
                )
            finally:
                del self.assumed[len(self.assumed) - len(conditions) :]

        return self.writer.branch(test, then, lambda: held)

    def _conditions(self, axis: int, others: Sequence[int]) -> list[Inside]:
        """Conditions for a fold to read more than padding, known once `axis` is set."""
        open_axes = {*self.rows, self.blocking.vector, *others}
        found = []
        for access in self.core.operands:
            if access.pad is None or access.is_data_dependent or not self._changes_nothing(access.pad):
                continue
            shape = self.nest.graph.shape(access.value)
            for expr, extent in zip(access.exprs, shape, strict=True):
                if axis in expr.axes and not expr.axes & open_axes:
                    index = self._index(expr, self._at({}))
                    found += [
                        each for each in self.memory.outside([index], [extent]) if each not in self.assumed
                    ]
        return found

    def _changes_nothing(self, pad: float) -> bool:
        """Whether a term made of padding leaves a fold as it is."""
        row = self.core.row
        assert row.reducer is not None, "asked of a fold"
        if row.contraction:
            return pad == 0.0
        return (row.emit or self.core.kind) == "same" and pad == row.reducer.identity

    def _vector_rest(
        self,
        axis: int,
        start: Affine,
        rest: Scalar,
        totals: list[Lane],
        body: Callable[[Affine, int, list[Lane]], list[Lane]],
    ) -> list[Lane]:
        """The last lanes of a fold across lanes: those that do not count keep their totals."""

        def work() -> list[Lane]:
            self.memory.tail = rest
            made: list[Lane] = self._scope(
                lambda: body(start, self.blocking.vectors * self.nest.lanes, totals)
            )
            self.memory.tail = None
            return made

        if isinstance(rest, int):
            return work()
        test = self.writer.let(f"icmp sgt i64 {rest}, 0")
        return self.writer.branch(test, work, lambda: totals)

    def _fold_once(self, points: list[dict[int, int]], totals: list[Lane]) -> list[Lane]:
        """One more term of every total."""
        if self.across:
            return self._fold_once_across(points, totals)
        made = list(totals)
        for index in self._sequence(points):
            factors = self._factors(self._at(points[index]), totals[index])
            made[index] = self._with_term(totals[index], factors, plain=False)
        self.memory.fetch_ahead()
        return made

    def _fold_once_across(self, points: list[dict[int, int]], totals: list[Lane]) -> list[Lane]:
        """A vector of terms for every total; those behind the tail change nothing."""
        copies = self.blocking.vectors
        made = list(totals)
        for position, point in enumerate(points):
            seen = len(points) * copies + position
            pairs: list[Lane] = []
            for copy in range(copies):
                if self.memory.tail is not None and self._past(copy):
                    continue
                number = position * copies + copy
                index = self._at({**point, self.blocking.vector: copy * self.nest.lanes})
                factors = self._factors(index, totals[number])
                following = self._with_term(totals[number], factors, plain=seen < len(totals))
                made[number] = self._counted(following, totals[number])
                pairs.append(self._counted(factors[0], totals[number]))
            if seen < len(totals):
                # One test on two terms finds whether either is NaN.
                for first in range(0, len(pairs), 2):
                    test = self.math.unordered(*(pairs[first : first + 2] * 2)[:2])
                    made[seen] = self.math.either(made[seen], test)
        return made

    def _counted(self, following: Lane, total: Lane) -> Lane:
        """The new total in lanes that count, else the old one."""
        if self.memory.tail is None:
            return following
        test = Lane(self.memory.choice((), tail=True), "i1", self.nest.lanes)
        return self.math.select(test, following, total)

    def _sequence(self, points: list[dict[int, int]]) -> list[int]:
        """Points of a block in the order that keeps the fewest operands in registers.

        Those that differ in the shorter of vectors and rows follow each other: an operand of the longer one
        is read, used and dropped, while as many operands of the shorter one stay.
        """
        vector = self.blocking.vector
        vectors = len({point.get(vector, 0) for point in points})
        rows = len(points) // max(1, vectors)

        def key(at: int) -> tuple[object, ...]:
            point = points[at]
            others = tuple(value for axis, value in point.items() if axis != vector)
            along = point.get(vector, 0)
            return (others, along) if rows >= vectors else (along, others)

        return sorted(range(len(points)), key=key)

    def _is_full(self, points: list[dict[int, int]]) -> bool:
        """Whether the totals of a block leave no registers for operands of more than one step."""
        vectors = len({point.get(self.blocking.vector, 0) for point in points})
        held = max(vectors, len(points) // max(1, vectors)) + 2
        return self.core.row.contraction and len(points) + held > self.nest.machine.registers

    def _past(self, vector: int) -> bool:
        """Whether a vector lies wholly behind a known tail."""
        return isinstance(self.memory.tail, int) and vector * self.nest.lanes >= self.memory.tail

    def _factors(self, index: list[Affine], total: Lane) -> list[Lane]:
        """A point's contribution to its fold: the two factors of a contraction, else one term."""
        op = self.core
        args = self._operands(op, index, ())
        made = args if op.row.contraction else [self.math.body(op, args)]
        return [
            self.math.spread(self.math.converted(each, total.kind, total.signed), total.lanes)
            for each in made
        ]

    def _with_term(self, total: Lane, factors: list[Lane], *, plain: bool) -> Lane:
        """One more term of a total; `plain`: NaN are seen elsewhere."""
        reducer = self.core.row.reducer
        assert reducer is not None, "a fold has a reducer"
        if self.core.row.contraction:
            left, right = factors
            return self.math.fma(left, right, total)
        fold = self.math.folded_numbers if plain else self.math.folded
        return fold(reducer.name, total, factors[0])
