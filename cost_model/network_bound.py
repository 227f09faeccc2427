"""The bound of a network over all forms of its ops (compiler_core/transforms/rewrites.py). A contraction
counts as the cheapest of its forms. The extra work of a form, such as windows to write out or parts to add
up, counts as nothing.
"""

from collections.abc import Iterator
from dataclasses import replace
from math import isqrt

import numpy as np

from tilewright.compiler_core.ir.graph import Graph, Rewrite
from tilewright.compiler_core.ir.ops import Unit
from tilewright.compiler_core.lowering.host_time import least_host_cycles
from tilewright.compiler_core.target_model.target import Target
from tilewright.compiler_core.target_model.units import BATCH, matrix_table
from tilewright.compiler_core.transforms.rewrites import Split, Unfold
from tilewright.cost_model.analytic import graph_work, op_work
from tilewright.cost_model.needed import needed_shares

Work = tuple[float, float]
"""Cycles on the matrix and on the vector unit."""


def network_bound_cycles(graph: Graph, target: Target) -> float:
    """A time no schedule of this network in any of its forms beats, in cycles, that of ops on the host
    included; no launch without a kernel.
    """
    shares = needed_shares(graph)
    units = tuple(
        unit for index, op in enumerate(graph.ops) for unit in _least(graph, index, target, shares[op.result])
    )
    work = replace(graph_work(graph, target), units=units)
    launched = any(op.row.unit is not Unit.HOST for op in graph.ops)
    device = work.bound_cycles(target) if launched else work.cycles(target.cores)
    return max(device, float(least_host_cycles(graph, target)))


def contraction_work(graph: Graph, at: int, rewrite: Rewrite, target: Target) -> Work:
    """The least work of the contraction in another form of op `at`, which is one."""
    op = graph.ops[at]
    types, form = rewrite.form(graph, op, len(graph.values))
    grown = replace(graph, values=(*graph.values, *types))
    ((matrix, vector),) = (op_work(grown, each, target).units[0] for each in form if each.row.contraction)
    return matrix, vector


def _least(graph: Graph, at: int, target: Target, share: float) -> Iterator[Work]:
    """The work of an op in the form that is best for each unit; nothing for an op without any."""
    for matrix, vector in op_work(graph, graph.ops[at], target, share).units:
        forms = [contraction_work(graph, at, rewrite, target) for rewrite in _forms(graph, at, target)]
        yield min([matrix, *(form[0] for form in forms)]), min([vector, *(form[1] for form in forms)])


def _forms(graph: Graph, at: int, target: Target) -> Iterator[Rewrite]:
    """The forms of a contraction that may take a matrix unit less than its own."""
    op = graph.ops[at]
    if not op.row.contraction:
        return
    stored = target.storage_dtype(graph.values[op.operands[0].value].dtype)
    batches = (matrix_table(target, stored)[:, BATCH] > 1).any()  # parts may fill what a batch fills
    tried: list[Rewrite] = [Unfold(operand) for operand in range(len(op.operands))]
    tried += [Split(axis, n) for axis in op.reduction_axes if batches for n in _divisors(op.extents[axis])]
    yield from (rewrite for rewrite in tried if not rewrite.objection(graph, op))


def _divisors(extent: int) -> list[int]:
    """The divisors of an extent from 2 on, ascending: it may be 2**40, so only up to its root is tried."""
    up_to_root = np.arange(1, isqrt(extent) + 1)
    small = up_to_root[extent % up_to_root == 0].tolist()
    return sorted({*small, *(extent // n for n in small)} - {1})
