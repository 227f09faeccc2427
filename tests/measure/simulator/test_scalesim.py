"""The fold equations of SCALE-Sim, reproduced by lowering each layer and walking its timeline."""

import csv
from dataclasses import replace
from math import inf
from pathlib import Path

import pytest

from tests.targets import small_target
from tilewright.compiler_core.ir.dtypes import DType, TensorType
from tilewright.compiler_core.ir.graph import Graph, Op
from tilewright.compiler_core.ir.index_map import Access, affine, axis_index
from tilewright.compiler_core.ir.ops import AxisKind
from tilewright.compiler_core.ir.workload import kernel_of
from tilewright.compiler_core.lowering.lower import lower_kernel
from tilewright.compiler_core.lowering.program import KernelProgram
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.lowering.schedule import Tiling
from tilewright.compiler_core.target_model.target import (
    Dataflow,
    Dma,
    HostLink,
    Memory,
    Overheads,
    SystolicUnit,
    Target,
)
from tilewright.measure.simulator.kernel import simulate_kernel

REFERENCE = Path(__file__).parents[3].parent / "shared" / "reference" / "scalesim.csv"
P, R = AxisKind.PARALLEL, AxisKind.REDUCTION
F16 = DType.F16


def array(dataflow: str, rows: int, cols: int) -> Target:
    """A systolic array alone: nothing but its folds takes time."""
    return replace(
        small_target(cores=1, l1_kib=1 << 24),
        matrix=SystolicUnit(rows, cols, Dataflow(dataflow), ((F16, 1),), overlap_folds=False),
        vector=replace(small_target().vector, takes_contractions=False),
        llb=Memory(1 << 24, inf, 0, 1),
        dram=Memory(1 << 24, inf, 0, 1),
        dma=Dma(inf, 0, 1),
        host=HostLink(inf, 0.0),
        overheads=Overheads(0.0, 0, 0),
    )


def product(m: int, k: int, n: int) -> Graph:
    values = (TensorType((m, k), F16), TensorType((k, n), F16), TensorType((m, n), F16))
    left = Access(0, (axis_index(0), axis_index(2)))
    right = Access(1, (axis_index(2), axis_index(1)))
    return Graph(values, (Op("contract", (m, n, k), (P, P, R), (left, right), 2),), (0, 1), (2,))


def convolution(row: dict[str, str]) -> Graph:
    height, width, r, s, channels, filters, stride = (
        int(row[name]) for name in ("H", "W", "R", "S", "Cin", "Cout", "stride")
    )
    # The last window may reach past the border: SCALE-Sim rounds the number of windows up.
    y, x = -(-(height - r) // stride) + 1, -(-(width - s) // stride) + 1
    values = (
        TensorType((1, channels, height, width), F16),
        TensorType((filters, channels, r, s), F16),
        TensorType((1, filters, y, x), F16),
    )
    image = Access(
        0, (axis_index(0), axis_index(4), affine((2, stride), (5, 1)), affine((3, stride), (6, 1))), 0.0
    )
    weight = Access(1, (axis_index(1), axis_index(4), axis_index(5), axis_index(6)))
    domain = (1, filters, y, x, channels, r, s)
    return Graph(values, (Op("contract", domain, (P,) * 4 + (R,) * 3, (image, weight), 2),), (0, 1), (2,))


def cycles_of(graph: Graph, target: Target) -> int:
    return simulate_kernel(program_of(graph, target), target).cycles


def program_of(graph: Graph, target: Target) -> KernelProgram:
    """The whole layer as one tile on one core."""
    regions = Regions(kernel_of(graph, [0], {}).workload)
    sizes = tuple(loop.extent for loop in regions.loops)
    rank = graph.ops[0].rank
    tiling = Tiling(sizes[:rank], sizes[rank:], tuple(range(rank)))
    return lower_kernel(regions, tiling, 1, target)


@pytest.mark.skipif(not REFERENCE.exists(), reason=f"{REFERENCE} is missing: folds are not compared")
def test_compute_cycles_are_exact_on_every_row() -> None:
    with REFERENCE.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) > 100
    wrong = []
    for row in rows:
        target = array(row["dataflow"], int(row["rows"]), int(row["cols"]))
        graph = convolution(row) if row["kind"] == "conv" else product(*(int(row[d]) for d in "MKN"))
        got = cycles_of(graph, target)
        if got != int(row["compute_cycles"]):
            wrong.append(
                (row["layer"], row["dataflow"], row["version"], row["mode"], got, row["compute_cycles"])
            )
    assert wrong == []


def test_an_output_stationary_fold_by_hand() -> None:
    """33 x 129 x 17 on 16 x 16: 3 x 2 folds of 129 + 16 + 16 - 2 cycles."""
    assert cycles_of(product(33, 129, 17), array("os", 16, 16)) == 3 * 2 * (129 + 16 + 16 - 2)


def test_a_weight_stationary_fold_by_hand() -> None:
    """9 x 2 folds of 33 + 2 * 16 + 16 - 2 cycles."""
    assert cycles_of(product(33, 129, 17), array("ws", 16, 16)) == 9 * 2 * (33 + 2 * 16 + 16 - 2)


def test_an_input_stationary_fold_by_hand() -> None:
    """9 x 3 folds of 17 + 2 * 16 + 16 - 2 cycles."""
    assert cycles_of(product(33, 129, 17), array("is", 16, 16)) == 9 * 3 * (17 + 2 * 16 + 16 - 2)
