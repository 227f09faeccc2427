"""Ops of the host in a library: which of them its runtime knows, and what the manifest says of each."""

from math import isfinite
from typing import Any

from tilewright.compiler_core.codegen.lanes.arithmetic import STORED
from tilewright.compiler_core.errors import ConfigError
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.ir.graph import Graph, Op
from tilewright.compiler_core.library.calls import NetworkCalls
from tilewright.compiler_core.library.manifest import dtype_name
from tilewright.compiler_core.library.room import Room
from tilewright.compiler_core.lowering.pipeline import Plan
from tilewright.runtime.host.meanings import MEANINGS

SHOWN = 4


def require_host_ops(name: str, plan: Plan) -> None:
    """ConfigError where an op of the host is one that numpy alone does not run."""
    graph = plan.graph
    pairs = zip(plan.groups, plan.kernels, strict=True)
    host = [max(group) for group, kernel in pairs if kernel is None]
    unknown = [_name(graph, graph.ops[at]) for at in host if not _is_known(graph, graph.ops[at])]
    if unknown:
        more = ", ..." if len(unknown) > SHOWN else ""
        raise ConfigError(
            f"{len(unknown)} ops of {name} have neither machine code nor a meaning in numpy alone, so that a"
            f" library cannot hold it: {', '.join(unknown[:SHOWN])}{more}"
        )


def _is_known(graph: Graph, op: Op) -> bool:
    """Whether the runtime has the op, its types, and its attributes as JSON."""
    kinds = [graph.values[value].dtype for value in (*(each.value for each in op.operands), op.result)]
    told = dict(op.attributes)
    return (
        op.body is None
        and told.get("function") in MEANINGS
        and all(kind in STORED and kind not in (DType.BF16, DType.F32_SUM) for kind in kinds)
        and all(isfinite(each) for each in told.values() if isinstance(each, float))
    )


def _name(graph: Graph, op: Op) -> str:
    """The model's type of an op: TopK."""
    origins = graph.origins.get(op.result)
    return origins[0].op_type if origins else str(dict(op.attributes).get("function", op.kind))


def host_facts(graph: Graph, made: NetworkCalls, room: Room) -> list[dict[str, Any]]:
    """The manifest's list of what numpy runs, in order; `after` counts the parts of the code before it."""
    parts = {part.stop: number for number, part in reversed([*enumerate(made.parts)])}
    facts = []
    for run in made.hosted:
        op = graph.ops[run.op]
        attributes = dict(op.attributes)
        facts.append(
            {
                "name": _name(graph, op),
                "op": attributes.pop("function"),
                "output": attributes.pop("output"),
                "attributes": attributes,
                "after": parts[run.after] + 1,
                "operands": [_slot(graph, made, room, name) for name in run.operands],
                "result": _slot(graph, made, room, run.result),
            }
        )
    return facts


def _slot(graph: Graph, made: NetworkCalls, room: Room, name: str) -> dict[str, Any]:
    value, where = made.buffers[name].value, room.locations[name]
    return {
        "region": str(where.region),
        "at": where.at,
        "dtype": dtype_name(graph.values[value].dtype),
        "shape": list(graph.shape(value)),
    }
