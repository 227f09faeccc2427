"""The share of a network's work on the host: multiply-accumulates, bytes of operands and results."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tilewright.compiler_core.ir.dims import known
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.onnx_import.building.context import HostOp


@dataclass(frozen=True)
class HostWork:
    """One op of the model on the host; shares are of the whole network, bytes in the model's own dtypes."""

    node: str
    op_type: str
    macs: int
    macs_share: float
    bytes: int
    bytes_share: float


def host_work(graph: Graph, host_ops: Sequence[HostOp]) -> tuple[HostWork, ...]:
    """The work of every host op of a network whose dims are bound; ModelError while one is not."""
    macs = [known(op.macs, op.node) for op in host_ops]
    moved = [_bytes(graph, {graph.producer[v] for v in op.results if v in graph.producer}) for op in host_ops]
    all_macs = max(1, graph.macs + sum(macs))
    all_bytes = max(1, sum(_bytes(graph, [index]) for index in range(len(graph.ops)))) if host_ops else 1
    return tuple(
        HostWork(op.node, op.op_type, count, count / all_macs, size, size / all_bytes)
        for op, count, size in zip(host_ops, macs, moved, strict=True)
    )


def _bytes(graph: Graph, members: Iterable[int]) -> int:
    """Bytes of everything that these ops read and make, each value once."""
    values: set[int] = set()
    for index in members:
        values |= {graph.ops[index].result, *(access.value for access in graph.ops[index].operands)}
    return sum(graph.elements(value) * graph.values[value].dtype.bytes for value in values)
