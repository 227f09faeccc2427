"""A Graph (or a Workload) as plain JSON and back, for workers and the database.

Names and weights stay behind; which values are constant travels. Only networks with bound extents do.
"""

from typing import Any

import numpy as np

from tilewright.compiler_core.digest import Json
from tilewright.compiler_core.errors import RecordError
from tilewright.compiler_core.ir.dims import least
from tilewright.compiler_core.ir.dims_json import dim_from_json, dim_to_json
from tilewright.compiler_core.ir.dtypes import DType, TensorType
from tilewright.compiler_core.ir.graph import Graph, Op
from tilewright.compiler_core.ir.index_map import Access, IndexExpr
from tilewright.compiler_core.ir.layouts import layout_from
from tilewright.compiler_core.ir.ops import OPS, AxisKind
from tilewright.compiler_core.ir.workload import Level, Workload

_KINDS = {"p": AxisKind.PARALLEL, "r": AxisKind.REDUCTION, "s": AxisKind.SCAN}
_LETTERS = {kind: letter for letter, kind in _KINDS.items()}


def graph_to_json(graph: Graph) -> Json:
    """`graph` without names and weights; ModelError while an extent is unbound."""
    return {
        "values": [
            [str(value.dtype), *(dim_to_json(dim, graph.name_of(number)) for dim in value.shape)]
            for number, value in enumerate(graph.values)
        ],
        "ops": [_op_to_json(op) for op in graph.ops],
        "inputs": list(graph.inputs),
        "outputs": list(graph.outputs),
        "constants": sorted(graph.constants),
    }


def _op_to_json(op: Op) -> Json:
    operands: list[Json] = [
        [access.value, _pad_to_json(access.pad), [_expr_to_json(expr) for expr in access.exprs]]
        for access in op.operands
    ]
    form: dict[str, Json] = {
        "kind": op.kind,
        "domain": [dim_to_json(extent, f"an axis of {op.kind}") for extent in op.domain],
        "axes": "".join(_LETTERS[kind] for kind in op.axis_kinds),
        "operands": operands,
        "result": op.result,
        "attributes": [[name, value] for name, value in op.attributes],
    }
    return form if op.body is None else {**form, "body": graph_to_json(op.body)}


def _expr_to_json(expr: IndexExpr) -> Json:
    terms: Json = [[axis, dim_to_json(c, "an index coefficient")] for axis, c in expr.terms]
    numbers = [dim_to_json(dim, "an index") for dim in (expr.offset, expr.divisor, expr.modulus)]
    return [terms, *numbers, expr.source]


def _pad_to_json(pad: float | None) -> Json:
    """JSON has no infinities."""
    return str(pad) if pad is not None and abs(pad) == float("inf") else pad


def graph_from_json(form: Any) -> Graph:
    """Inverse of `graph_to_json`; constants come back as empty arrays. RecordError when it is not a graph."""
    graph = _graph_from_json(form)
    if graph.symbols:
        raise RecordError(f"a recorded graph leaves {sorted(graph.symbols)[0]} without an extent")
    return graph


def _graph_from_json(form: Any) -> Graph:
    """A network, or the body of a loop, where extents of a step may be symbols."""
    try:
        graph = Graph(
            values=tuple(
                TensorType(tuple(map(dim_from_json, dims)), DType(dtype)) for dtype, *dims in form["values"]
            ),
            ops=tuple(_op_from_json(op) for op in form["ops"]),
            inputs=tuple(map(int, form["inputs"])),
            outputs=tuple(map(int, form["outputs"])),
            constants={int(value): np.zeros(0) for value in form["constants"]},
        )
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise RecordError(f"a recorded graph is malformed: {type(error).__name__} {error}") from None
    _check(graph)
    return graph


def _op_from_json(form: Any) -> Op:
    return Op(
        kind=str(form["kind"]),
        domain=tuple(map(dim_from_json, form["domain"])),
        axis_kinds=tuple(_KINDS[letter] for letter in form["axes"]),
        operands=tuple(
            Access(int(value), tuple(map(_expr_from_json, exprs)), None if pad is None else float(pad))
            for value, pad, exprs in form["operands"]
        ),
        result=int(form["result"]),
        attributes=tuple((str(name), value) for name, value in form["attributes"]),
        body=_graph_from_json(form["body"]) if "body" in form else None,
    )


def _expr_from_json(form: Any) -> IndexExpr:
    terms, offset, divisor, modulus, source = form
    return IndexExpr(
        tuple((int(axis), dim_from_json(coefficient)) for axis, coefficient in terms),
        dim_from_json(offset),
        dim_from_json(divisor),
        dim_from_json(modulus),
        int(source),
    )


def _check(graph: Graph) -> None:
    """Mistakes in a foreign text that no later code would find."""
    made = {*graph.inputs, *graph.constants}
    for number, op in enumerate(graph.ops):
        where = f"op {number} of a recorded graph"
        if op.kind not in OPS:
            raise RecordError(f"{where} is a {op.kind!r}, which is not in the table of ops")
        if len(op.domain) != len(op.axis_kinds) or any((least(extent) or 0) < 0 for extent in op.domain):
            raise RecordError(f"{where} has a malformed domain")
        for access in op.operands:
            if access.value not in made or len(access.exprs) != len(graph.values[access.value].shape):
                raise RecordError(f"{where} reads value {access.value} before it is made, or by a wrong map")
            for expr in access.exprs:
                if any(not 0 <= axis < len(op.domain) for axis in expr.axes) or expr.divisor == 0:
                    raise RecordError(f"{where} has an index map outside its domain")
        if not 0 <= op.result < len(graph.values) or op.result in made:
            raise RecordError(f"{where} makes value {op.result} again")
        made.add(op.result)
    if not set(graph.outputs) <= made:
        raise RecordError("a recorded graph never makes one of its outputs")


def workload_to_json(workload: Workload) -> Json:
    """A Workload: its graph, the level of each outer operand, and the layouts of those that have one."""
    form: dict[str, Json] = {
        "graph": graph_to_json(workload.graph),
        "levels": [str(level) for level in workload.levels],
    }
    if workload.layouts:
        form["layouts"] = {str(value): str(layout) for value, layout in sorted(workload.layouts.items())}
    return form


def workload_from_json(form: Any) -> Workload:
    """Inverse of `workload_to_json`; RecordError when it is not a Workload."""
    try:
        layouts = {int(value): layout_from(text) for value, text in form.get("layouts", {}).items()}
        levels = tuple(Level(level) for level in form["levels"])
        workload = Workload(graph_from_json(form["graph"]), levels, layouts)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RecordError(f"a recorded workload is malformed: {type(error).__name__} {error}") from None
    if len(workload.levels) != len(workload.graph.inputs) + len(workload.graph.outputs):
        raise RecordError("a recorded workload does not place each of its outer operands once")
    for value, layout in layouts.items():
        if value not in workload.outer or len(layout.order) != len(workload.graph.shape(value)):
            raise RecordError(
                f"a recorded workload has layout {layout} for value {value}, which does not fit its shape"
            )
    return workload
