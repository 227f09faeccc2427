"""The time of ops on the host: the link there and back. The host's own time is not charged.

cycles of an op      2 * latency of the link + bytes / bandwidth, bytes of its operands and its result
"""

from math import ceil

from tilewright.compiler_core.ir.graph import Graph, Op
from tilewright.compiler_core.ir.ops import Unit
from tilewright.compiler_core.lowering.memory.placement import stored_bytes
from tilewright.compiler_core.target_model.target import Target


def link_bytes(graph: Graph, op: Op, target: Target) -> tuple[int, int]:
    """Bytes of a host op over the link: whole operands there, and its result back."""
    operands = dict.fromkeys(access.value for access in op.operands)
    return sum(stored_bytes(graph, value, target) for value in operands), stored_bytes(
        graph, op.result, target
    )


def host_op_cycles(graph: Graph, op: Op, target: Target) -> int:
    """Cycles of one host op."""
    latency = ceil(target.host.latency_us * target.frequency_mhz)
    return 2 * latency + ceil(sum(link_bytes(graph, op, target)) / target.host_bytes_per_cycle)


def least_host_cycles(graph: Graph, target: Target) -> int:
    """Cycles that no schedule beats: host ops that need each other follow one another."""
    ends: dict[int, int] = {}
    for op in graph.ops:
        begins = max((ends.get(access.value, 0) for access in op.operands), default=0)
        own = host_op_cycles(graph, op, target) if op.row.unit is Unit.HOST else 0
        ends[op.result] = begins + own
    return max(ends.values(), default=0)


def host_stage_us(graph: Graph, op: Op, target: Target) -> float:
    """Microseconds of a stage with nothing but this host op."""
    overheads = target.launch_cycles + target.overheads.barrier_cycles
    return (overheads + host_op_cycles(graph, op, target)) / target.cycles_per_us
