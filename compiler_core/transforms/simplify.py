"""Fewer ops, same numbers: views read through, constants folded, dead ops dropped, values renumbered.

y = view(x)[i, j] = x[j, i];  z = add(y, b)      ->      z = add(x read at [j, i], b)
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from tilewright.compiler_core.ir.dims import Dim, Shape
from tilewright.compiler_core.ir.graph import Graph, Op
from tilewright.compiler_core.ir.index_map import Access, IndexExpr, Interval, unclamped_interval
from tilewright.compiler_core.ir.ops import Unit
from tilewright.compiler_core.meaning.constants import Constants, Recipe, recipe_of, recipe_of_op


def simplify(graph: Graph) -> tuple[Graph, Mapping[int, int]]:
    """The same network without views and copies that cost nothing, and the new number of each remaining
    value.

    Inputs and outputs keep their order. A view stays only where its reader cannot express it.
    """
    ops = _read_through(graph)
    recipes = _recipes(graph)
    ops = _folded(graph, ops, recipes)
    ops = _alive(graph, ops)
    return _renumbered(graph, ops, recipes)


def _read_through(graph: Graph) -> list[Op]:
    views: dict[int, Op] = {}
    ops: list[Op] = []
    constant = set(graph.constants)
    for op in graph.ops:
        operands = op.operands
        if operands and all(access.value in constant for access in operands):
            constant.add(op.result)
        if any(access.value in views for access in operands):
            operands = tuple(_through(access, op, views, graph) for access in operands)
            if operands != op.operands:
                op = replace(op, operands=operands)
        ops.append(op)
        if op.kind == "view" and not (op.result in constant and _rearranges(op, graph)):
            views[op.result] = op
    return ops


def _rearranges(view: Op, graph: Graph) -> bool:
    """Whether a view of a constant is better kept as a constant of its own: it reshapes and repeats nothing.

    A tile of a reshaped weight, read through the map of the reshape, spans all that lies between its rows.
    """
    access = view.operands[0]
    if all(len(expr.terms) <= 1 and expr.divisor == 1 and expr.modulus == 0 for expr in access.exprs):
        return False
    shapes = (graph.values[view.result].shape, graph.values[access.value].shape)
    sizes = [math.prod(n for n in shape if isinstance(n, int)) for shape in shapes]
    return all(isinstance(n, int) for shape in shapes for n in shape) and sizes[0] <= sizes[1]


def _through(access: Access, reader: Op, views: Mapping[int, Op], graph: Graph) -> Access:
    """`access` with the views behind it composed in, as far as index maps can express it."""
    while access.value in views and reader.row.unit is not Unit.HOST:
        composed = compose(
            access, reader.domain, views[access.value], graph.values[access.value].shape, graph
        )
        if composed is None:
            break
        access = composed
    return access


def compose(access: Access, domain: Sequence[Dim], view: Op, shape: Shape, graph: Graph) -> Access | None:
    """The access that reads the view's source directly, or None where no index map expresses it.

    `shape` is the view's own. A dim on which the reader may reach outside (and so read its pad) must be a dim
    of the source, of the same extent.
    """
    source = view.operands[0]
    source_shape = graph.values[source.value].shape
    if source.pad is not None or source.is_data_dependent:
        return None
    if access.pad is not None:
        kept = {
            expr.projected_axis
            for expr, extent in zip(source.exprs, source_shape, strict=True)
            if expr.projected_axis is not None and shape[expr.projected_axis] == extent
        }
        for dim, expr in enumerate(access.exprs):
            if dim not in kept and _may_leave(expr, domain, shape[dim]):
                return None
    exprs = [_substituted(expr, access.exprs) for expr in source.exprs]
    found = [expr for expr in exprs if expr is not None]
    if len(found) < len(exprs):
        return None
    return Access(source.value, tuple(found), access.pad)


def _may_leave(expr: IndexExpr, domain: Sequence[Dim], extent: Dim) -> bool:
    """Whether an index may fall outside [0, extent) somewhere in `domain`; True where that is not known."""
    axis = expr.projected_axis
    if axis is not None and domain[axis] == extent:
        return False
    if expr.source >= 0 or expr.is_symbolic:
        return True
    box: dict[int, Interval] = {}
    for axis in expr.axes:
        axis_extent = domain[axis]
        if not isinstance(axis_extent, int) or axis_extent < 1:
            return True
        box[axis] = (0, axis_extent)
    if not isinstance(extent, int):
        return True
    low, high = unclamped_interval(expr, box, extent)
    return bool(low < 0 or high > extent)


def _substituted(expr: IndexExpr, inner: Sequence[IndexExpr]) -> IndexExpr | None:
    """`expr` over the axes of a view, with each axis replaced by the reader's index of that dim."""
    axis = expr.projected_axis
    if axis is not None:
        return inner[axis]
    if len(expr.terms) == 1 and expr.terms[0][1] == 1 and expr.offset == 0 and expr.divisor != 1:
        # (n // a) // b is n // (a * b)
        only = inner[expr.terms[0][0]]
        if only.source < 0 and only.modulus == 0:
            return replace(only, divisor=only.divisor * expr.divisor, modulus=expr.modulus)
    total: dict[int, Dim] = {}
    offset = expr.offset
    for axis, coefficient in expr.terms:
        if not inner[axis].is_affine:
            return None
        offset = offset + coefficient * inner[axis].offset
        for inner_axis, inner_coefficient in inner[axis].terms:
            total[inner_axis] = total.get(inner_axis, 0) + coefficient * inner_coefficient
    terms = tuple(sorted(((a, c) for a, c in total.items() if c != 0), key=lambda term: term[0]))
    return IndexExpr(terms, offset, expr.divisor, expr.modulus)


def _recipes(graph: Graph) -> dict[int, Recipe]:
    if isinstance(graph.constants, Constants):
        return {value: graph.constants.recipe(value) for value in graph.constants}
    return {value: recipe_of(array) for value, array in graph.constants.items()}


def _folded(graph: Graph, ops: Sequence[Op], recipes: dict[int, Recipe]) -> list[Op]:
    """Ops without those all of whose operands are constants; `recipes` gains their results."""
    kept: list[Op] = []
    for op in ops:
        if op.operands and all(access.value in recipes for access in op.operands):
            sources = [recipes[access.value] for access in op.operands]
            recipes[op.result] = recipe_of_op(op, graph.values[op.result], sources)
        else:
            kept.append(op)
    return kept


def _alive(graph: Graph, ops: Sequence[Op]) -> list[Op]:
    needed = set(graph.outputs)
    kept: list[Op] = []
    for op in reversed(ops):
        if op.result in needed:
            kept.append(op)
            needed.update(access.value for access in op.operands)
    kept.reverse()
    return kept


def _renumbered(
    graph: Graph, ops: Sequence[Op], recipes: Mapping[int, Recipe]
) -> tuple[Graph, Mapping[int, int]]:
    """Values numbered inputs first, then as ops and outputs first mention them; the rest is gone."""
    places: dict[int, int] = {}
    for value in graph.inputs:
        places.setdefault(value, len(places))
    for op in ops:
        for access in op.operands:
            places.setdefault(access.value, len(places))
        places.setdefault(op.result, len(places))
    for value in graph.outputs:
        places.setdefault(value, len(places))
    renumbered = [
        Op(
            op.kind,
            op.domain,
            op.axis_kinds,
            tuple(Access(places[access.value], access.exprs, access.pad) for access in op.operands),
            places[op.result],
            op.attributes,
            op.body,
        )
        for op in ops
    ]
    simple = replace(
        graph,
        values=tuple(graph.values[value] for value in places),
        ops=tuple(renumbered),
        inputs=tuple(places[value] for value in graph.inputs),
        outputs=tuple(places[value] for value in graph.outputs),
        constants=Constants({places[value]: recipe for value, recipe in recipes.items() if value in places}),
        names={places[value]: name for value, name in graph.names.items() if value in places},
        origins={places[value]: nodes for value, nodes in graph.origins.items() if value in places},
    )
    return simple, places
