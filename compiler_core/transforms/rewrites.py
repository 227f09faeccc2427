"""Rewrites: another form of an op that means the same, chosen op by op before anything is grouped.

A form is a few ops, the last with the old op's result: values keep their numbers, new ones come behind them.
All follow from domain and index maps, not from the name of the op. Which form is faster is a matter of the
target: a network's Config says which ops have which.
"""

from dataclasses import dataclass, replace
from itertools import accumulate

from tilewright.compiler_core.errors import ConfigError, RecordError
from tilewright.compiler_core.ir.dtypes import DType, TensorType
from tilewright.compiler_core.ir.graph import Form, Graph, Op, Rewrite, Rewrites
from tilewright.compiler_core.ir.index_map import Access, IndexExpr, affine, axis_index
from tilewright.compiler_core.ir.ops import PROD, SUM, AxisKind


@dataclass(frozen=True)
class Split:
    """A reduction in `parts`, and what they come to: parts are a parallel axis that cores can share.

        y[m] = sum over k of x[m, k]     ->     p[s, m] = sum over j of x[m, K/S s + j]
                                                y[m]    = sum over s of p[s, m]

    The partial sums are stored in the accumulator type. A contraction reads its operands through views
    [.., K] -> [.., S, K/S]: an index with two terms would be a window's to the matrix unit.
    """

    axis: int
    parts: int

    def __str__(self) -> str:
        return f"split.{self.axis}.{self.parts}"

    def objection(self, graph: Graph, op: Op) -> str:
        """Why the op has no such form; empty where it has."""
        if op.row.reducer is None or self.axis not in op.reduction_axes:
            return f"axis {self.axis} of {op.kind} is no reduction"
        if AxisKind.SCAN in op.axis_kinds or any(access.is_data_dependent for access in op.operands):
            return f"a {op.kind} with a scan or data-dependent operands is not split"
        extent = op.extents[self.axis]
        if self.parts < 1 or extent % self.parts:
            return f"{extent} is not cut into {self.parts} equal parts"
        if op.row.contraction:
            for access in op.operands:
                for expr, size in zip(access.exprs, graph.shape(access.value), strict=True):
                    if self.axis in expr.axes and (expr.projected_axis != self.axis or size != extent):
                        return f"axis {self.axis} is not a dim of {graph.name_of(access.value)}"
        return ""

    def carried(self, op: Op) -> "Split":
        """The same for an op of other extents: as many equal parts as there can be, no more than here."""
        extent = op.extents[self.axis]
        return replace(self, parts=max((n for n in range(1, self.parts + 1) if extent % n == 0), default=1))

    def form(self, graph: Graph, op: Op, first: int) -> Form:
        """Views where they are needed, the parts, and the op over them; new values from `first` on."""
        reducer, kind = op.row.reducer, graph.values[op.result]
        assert reducer is not None, "only a reduction is split"
        extents = list(op.extents)
        extents[self.axis] //= self.parts
        types: list[TensorType] = []
        views: list[Op] = []
        reads: list[Access] = []
        for access in op.operands:
            if op.row.contraction and self.axis in access.axes:
                views.append(self._view(graph, access, first + len(views)))
                types.append(TensorType(views[-1].domain, graph.values[access.value].dtype))
                reads.append(self._through(access, views[-1].result))
            else:
                exprs = tuple(_in_part(expr, self.axis, extents[self.axis]) for expr in access.exprs)
                reads.append(replace(access, exprs=exprs))
        parts = replace(
            op,
            domain=(self.parts, *extents),
            axis_kinds=(AxisKind.PARALLEL, *op.axis_kinds),
            operands=tuple(reads),
            result=first + len(views),
        )
        kept = _kept_in(kind.dtype) if reducer in (SUM, PROD) else kind.dtype
        types.append(TensorType(parts.domain[: parts.rank], kept))
        whole = Op(
            reducer.name,
            (*op.domain[: op.rank], self.parts),
            (*op.axis_kinds[: op.rank], AxisKind.REDUCTION),
            (Access(parts.result, tuple(axis_index(axis) for axis in (op.rank, *op.result_axes))),),
            op.result,
        )
        return tuple(types), (*views, parts, whole)

    def _view(self, graph: Graph, access: Access, result: int) -> Op:
        """The operand with the dim of the axis as two."""
        dim = [expr.projected_axis for expr in access.exprs].index(self.axis)
        shape = list(graph.shape(access.value))
        length = shape[dim] // self.parts
        exprs = [axis_index(index + (index > dim)) for index in range(len(shape))]
        exprs[dim] = affine((dim, length), (dim + 1, 1))
        shape[dim : dim + 1] = [self.parts, length]
        kinds = (AxisKind.PARALLEL,) * len(shape)
        return Op("view", tuple(shape), kinds, (Access(access.value, tuple(exprs)),), result)

    def _through(self, access: Access, view: int) -> Access:
        exprs: list[IndexExpr] = []
        for expr in access.exprs:
            mine = expr.projected_axis == self.axis
            exprs += [axis_index(0), axis_index(self.axis + 1)] if mine else [_in_part(expr, self.axis, 0)]
        return Access(view, tuple(exprs), access.pad)


def _in_part(expr: IndexExpr, axis: int, length: int) -> IndexExpr:
    """An index over an op's axes, over those of its parts: axis 0 counts parts, of `length` along `axis`."""
    first = tuple((0, coefficient * length) for each, coefficient in expr.terms if each == axis)
    return replace(expr, terms=(*first, *((each + 1, coefficient) for each, coefficient in expr.terms)))


def _kept_in(dtype: DType) -> DType:
    """The type of partial sums as a value."""
    kept = dtype.accumulator
    return DType.F32_SUM if kept is DType.F32 else kept


@dataclass(frozen=True)
class Unfold:
    """An operand of a contraction with every window written out, so that the matrix unit sees plain depth.

        y[m, i, j] += in[c, 2 i + r, 2 j + q] w[m, c, r, q]
            ->  u[i, j, c, r, q] = in[c, 2 i + r, 2 j + q];  y[m, i, j] += u[i, j, c, r, q] w[m, c, r, q]

    The vector unit moves each element once for every window it is in (im2col); channels and taps fill
    the depth of the matrix unit together, where it would pad the channels of each tap.
    """

    operand: int

    def __str__(self) -> str:
        return f"unfold.{self.operand}"

    def objection(self, graph: Graph, op: Op) -> str:
        """Why the op has no such form; empty where it has."""
        if not op.row.contraction or not 0 <= self.operand < len(op.operands):
            return f"{op.kind} is no contraction with an operand {self.operand}"
        access = op.operands[self.operand]
        if access.is_data_dependent or all(len(expr.terms) < 2 for expr in access.exprs):
            return f"operand {self.operand} of the {op.kind} slides no window"
        return ""

    def carried(self, op: Op) -> "Unfold":
        """The same for an op of other extents."""
        return self

    def form(self, graph: Graph, op: Op, first: int) -> Form:
        """The windows, and the op that reads them; the value it adds is `first`."""
        access = op.operands[self.operand]
        axes = sorted(access.axes)
        place = {axis: index for index, axis in enumerate(axes)}
        exprs = tuple(
            replace(expr, terms=tuple((place[axis], c) for axis, c in expr.terms)) for expr in access.exprs
        )
        shape = tuple(op.domain[axis] for axis in axes)
        kinds = (AxisKind.PARALLEL,) * len(axes)
        moved = Op("move", shape, kinds, (replace(access, exprs=exprs),), first)
        operands = list(op.operands)
        operands[self.operand] = Access(first, tuple(axis_index(axis) for axis in axes))
        kind = TensorType(shape, graph.values[access.value].dtype)
        return (kind,), (moved, replace(op, operands=tuple(operands)))


def rewrite_from(text: str) -> Rewrite:
    """Inverse of `str(rewrite)`; RecordError when it is none."""
    name, *numbers = text.split(".")
    made = {"split": Split, "unfold": Unfold}.get(name)
    try:
        if made is Split:
            axis, parts = map(int, numbers)
            return Split(axis, parts)
        if made is Unfold:
            (operand,) = map(int, numbers)
            return Unfold(operand)
    except ValueError:
        pass
    raise RecordError(f"{text[:40]!r} is not a rewrite; one looks like split.2.16 or unfold.0")


def rewritten(graph: Graph, rewrites: Rewrites) -> Graph:
    """`graph` with the ops of `rewrites` in their other form; ConfigError where one has no such form.

    Values keep their numbers, so facts about them hold for both.
    """
    if not rewrites:
        return graph
    if graph.rewrites or not all(0 <= index < len(graph.ops) for index in rewrites):
        raise ConfigError(f"rewrites name ops {sorted(rewrites)} of a network of {len(graph.ops)}")
    values, ops, origins = list(graph.values), [], dict(graph.origins)
    for index, op in enumerate(graph.ops):
        if index not in rewrites:
            ops.append(op)
            continue
        if objection := rewrites[index].objection(graph, op):
            raise ConfigError(
                f"{graph.name_of(op.result)} cannot be rewritten by {rewrites[index]}: {objection}"
            )
        added, form = rewrites[index].form(graph, op, len(values))
        values += added
        ops += form
        if op.result in graph.origins:
            origins |= dict.fromkeys((made.result for made in form), graph.origins[op.result])
    return replace(
        graph,
        values=tuple(values),
        ops=tuple(ops),
        origins=origins,
        rewrites=dict(sorted(rewrites.items())),
    )


def places(graph: Graph, rewrites: Rewrites) -> tuple[range, ...]:
    """The new places of each op of `graph`: the positions of its form in `rewritten(graph, rewrites)`."""
    counts = [
        len(rewrites[index].form(graph, op, len(graph.values))[1]) if index in rewrites else 1
        for index, op in enumerate(graph.ops)
    ]
    return tuple(range(end - count, end) for count, end in zip(counts, accumulate(counts), strict=True))
