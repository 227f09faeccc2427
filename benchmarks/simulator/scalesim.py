"""Layers of SCALE-Sim's reference runs as Programs of one tile on a systolic array alone.

Nothing but the array takes time: bandwidths are infinite, latencies and overheads zero. What SCALE-Sim calls
DRAM is, seen from its array, the other side of the operand buffers.
"""

import csv
from collections.abc import Mapping
from dataclasses import replace
from math import inf
from pathlib import Path

from tilewright.compiler_core.errors import UsageError
from tilewright.compiler_core.ir.dtypes import DType, TensorType
from tilewright.compiler_core.ir.graph import Graph, Op
from tilewright.compiler_core.ir.index_map import Access, affine, axis_index
from tilewright.compiler_core.ir.ops import AxisKind
from tilewright.compiler_core.lowering.pipeline import compile_graph, plan_groups, schedule_of
from tilewright.compiler_core.lowering.schedule import Tiling
from tilewright.compiler_core.target_model.file import load_target
from tilewright.compiler_core.target_model.target import (
    Dataflow,
    Dma,
    HostLink,
    Memory,
    Overheads,
    SystolicUnit,
    Target,
)
from tilewright.measure.simulator.program import simulate_program

Row = Mapping[str, str]
P, R = AxisKind.PARALLEL, AxisKind.REDUCTION
I8 = DType.I8
_KIB = 1 << 24


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a scalesim.csv."""
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def compute_cycles(row: Row) -> int:
    """Cycles of a row's layer where operands are there when they are due."""
    return _cycles(row, array(row["dataflow"], int(row["rows"]), int(row["cols"])))


def total_cycles(row: Row) -> int:
    """Cycles of a row's layer behind the operand buffers and the ports of its run, counted from 0."""
    target = array(row["dataflow"], int(row["rows"]), int(row["cols"]))
    assert isinstance(target.matrix, SystolicUnit)
    kib, *others = {int(size) for size in row["sram_kb_if_fi_of"].split("/")}
    if others:
        raise UsageError(
            f"scalesim.csv: buffers of {row['sram_kb_if_fi_of']} KiB differ; give runs of equal ones"
        )
    buffered = replace(
        target.matrix,
        operand_buffer_kib=kib,
        operand_bytes_per_cycle=float(row["bw_words_per_cycle"]),
        operand_latency_cycles=1,
    )
    return _cycles(row, replace(target, matrix=buffered)) - 1


def _cycles(row: Row, target: Target) -> int:
    """A row's layer, compiled as one tile and timed as a whole Program."""
    graph = convolution(row) if row["kind"] == "conv" else product(*(int(row[d]) for d in "MKN"))
    plan = plan_groups(graph, [(0,)], target)
    rank = graph.ops[0].rank
    chosen = {}
    for digest, regions in plan.regions.items():
        sizes = tuple(loop.extent for loop in regions.loops)
        chosen[digest] = (Tiling(sizes[:rank], sizes[rank:], tuple(range(rank))), 1)
    program = compile_graph(graph, schedule_of(plan, chosen), target, plan)
    return simulate_program(program, graph, target).cycles


def array(dataflow: str, rows: int, cols: int) -> Target:
    """A systolic array alone, folds not overlapped."""
    base = load_target("gemmini16")
    return replace(
        base,
        cores=1,
        l1_kib=_KIB,
        accumulator_kib=0,
        matrix=SystolicUnit(rows, cols, Dataflow(dataflow), ((I8, 1),), overlap_folds=False),
        vector=replace(base.vector, takes_contractions=False),
        llb=Memory(_KIB, inf, 0, 1),
        dram=Memory(_KIB, inf, 0, 1),
        dma=Dma(inf, 0, 1),
        host=HostLink(inf, 0.0),
        overheads=Overheads(0.0, 0, 0),
    )


def product(m: int, k: int, n: int) -> Graph:
    """[m, k] times [k, n]."""
    left = Access(0, (axis_index(0), axis_index(2)))
    right = Access(1, (axis_index(2), axis_index(1)))
    values = (TensorType((m, k), I8), TensorType((k, n), I8), TensorType((m, n), I8))
    return Graph(values, (Op("contract", (m, n, k), (P, P, R), (left, right), 2),), (0, 1), (2,))


def convolution(row: Row) -> Graph:
    """A row's convolution, channels last.

    The last window may reach past the border: SCALE-Sim rounds their number up.
    """
    names = ("H", "W", "R", "S", "Cin", "Cout", "stride")
    height, width, r, s, channels, filters, stride = (int(row[name]) for name in names)
    y, x = -(-(height - r) // stride) + 1, -(-(width - s) // stride) + 1
    rows, columns = affine((1, stride), (4, 1)), affine((2, stride), (5, 1))
    image = Access(0, (axis_index(0), rows, columns, axis_index(6)), 0.0)
    weight = Access(1, (axis_index(3), axis_index(4), axis_index(5), axis_index(6)))
    values = (
        TensorType((1, height, width, channels), I8),
        TensorType((filters, r, s, channels), I8),
        TensorType((1, y, x, filters), I8),
    )
    domain = (1, y, x, filters, r, s, channels)
    return Graph(values, (Op("contract", domain, (P,) * 4 + (R,) * 3, (image, weight), 2),), (0, 1), (2,))
