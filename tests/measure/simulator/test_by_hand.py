"""Timelines by hand. A tile is 12800 bytes at 64 a cycle (200 cycles), 6400 points at 128 a cycle (50)."""

from dataclasses import replace
from math import inf

import pytest

from tests.targets import small_target
from tilewright.compiler_core.ir.dtypes import DType, TensorType
from tilewright.compiler_core.ir.graph import Graph, Op
from tilewright.compiler_core.ir.index_map import Access, axis_index
from tilewright.compiler_core.ir.ops import AxisKind
from tilewright.compiler_core.ir.workload import Level, kernel_of
from tilewright.compiler_core.lowering.lower import lower_kernel
from tilewright.compiler_core.lowering.pipeline import compile_graph, plan_groups, schedule_of
from tilewright.compiler_core.lowering.program import KernelProgram
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.lowering.schedule import CoreRange, Placed, Schedule, Tiling
from tilewright.compiler_core.target_model.target import Dma, Memory, Overheads, Target
from tilewright.measure.simulator.kernel import simulate_kernel
from tilewright.measure.simulator.program import free_llb_bytes, simulate_program
from tilewright.measure.simulator.tables.layout import LOAD, STORE, VECTOR

F16 = DType.F16
POINTS = 6400
LOADING, COMPUTING, STORING = 200, 50, 200


def plain_chip(
    cores: int = 1, port: float = inf, *, launch_us: float = 0.0, barrier: int = 0, dispatch: int = 0
) -> Target:
    """Nothing takes time but bytes and points: 64 bytes a cycle and core, 128 points a cycle."""
    return replace(
        small_target(cores=cores, l1_kib=1024),
        llb=Memory(1 << 20, port, 0, 1),
        dram=Memory(1 << 20, inf, 0, 1),
        dma=Dma(64.0, 0, 1 << 20),
        overheads=Overheads(launch_us, barrier, dispatch),
    )


def relu(rows: int) -> Graph:
    values = (TensorType((rows, POINTS), F16), TensorType((rows, POINTS), F16))
    access = Access(0, (axis_index(0), axis_index(1)))
    return Graph(values, (Op("relu", (rows, POINTS), (AxisKind.PARALLEL,) * 2, (access,), 1),), (0,), (1,))


def row_sums(rows: int) -> Graph:
    values = (TensorType((rows, POINTS), F16), TensorType((rows,), F16))
    kinds = (AxisKind.PARALLEL, AxisKind.REDUCTION)
    access = Access(0, (axis_index(0), axis_index(1)))
    return Graph(values, (Op("sum", (rows, POINTS), kinds, (access,), 1),), (0,), (1,))


def lowered(graph: Graph, target: Target, *, slots: int, cores: int = 1) -> KernelProgram:
    """One row a tile, everything in the LLB."""
    kernel = kernel_of(graph, [0], dict.fromkeys(range(len(graph.values)), Level.LLB))
    regions = Regions(kernel.workload)
    rank = graph.ops[0].rank
    sizes = [1, POINTS]
    tiling = Tiling(
        tuple(sizes[:rank]), tuple(sizes[rank:]), tuple(range(rank)), load_slots=slots, store_slots=slots
    )
    return lower_kernel(regions, tiling, cores, target)


def test_one_tile() -> None:
    target = plain_chip()
    timing = simulate_kernel(lowered(relu(1), target, slots=1), target)
    assert timing.cycles == LOADING + COMPUTING + STORING
    assert timing.span.busy_cycles[LOAD] == LOADING
    assert timing.span.busy_cycles[VECTOR] == COMPUTING
    assert timing.span.busy_cycles[STORE] == STORING
    assert timing.span.work.llb_read_bytes == timing.span.work.llb_write_bytes == 2 * POINTS
    assert timing.latency_us == pytest.approx(timing.cycles / 1000)


def test_four_tiles_single_buffered() -> None:
    """Load n + 1 waits for compute n, and compute n + 1 for load n + 1 and store n: 250 a tile."""
    target = plain_chip()
    timing = simulate_kernel(lowered(relu(4), target, slots=1), target)
    assert timing.cycles == 4 * (LOADING + COMPUTING) + STORING


def test_four_tiles_double_buffered() -> None:
    """Loads follow each other without a gap; the last tile is computed and stored behind them."""
    target = plain_chip()
    timing = simulate_kernel(lowered(relu(4), target, slots=2), target)
    assert timing.cycles == 4 * LOADING + COMPUTING + STORING


def test_a_million_tiles_cost_what_four_do() -> None:
    target = plain_chip()
    timing = simulate_kernel(lowered(relu(1_000_000), target, slots=2), target)
    assert timing.cycles == 1_000_000 * LOADING + COMPUTING + STORING


def test_two_cores_on_one_port() -> None:
    """Each core gets half the port: loads take 400; a sum is stored in one cycle."""
    target = plain_chip(cores=2, port=64.0)
    timing = simulate_kernel(lowered(row_sums(4), target, slots=2, cores=2), target)
    assert timing.cycles == 2 * (2 * LOADING) + COMPUTING + 1


def test_a_full_port_both_ways() -> None:
    """Loads and stores of one core, 64 bytes a cycle each, cannot pass a port of 64 side by side."""
    target = plain_chip(port=64.0)
    timing = simulate_kernel(lowered(relu(4), target, slots=2), target)
    assert timing.cycles == 4 * (LOADING + STORING)
    assert timing.span.port_stall_cycles == 4 * (LOADING + STORING) - (4 * LOADING + COMPUTING + STORING)


def test_dispatch_holds_tiles_back() -> None:
    """A tile every 300 cycles is slower than a load every 200."""
    target = plain_chip(dispatch=300)
    timing = simulate_kernel(lowered(relu(4), target, slots=2), target)
    assert timing.cycles == 4 * 300 + LOADING + COMPUTING + STORING


def test_setup_latency_and_bursts() -> None:
    """12800 bytes in bursts of 3000 are 15000; 40 cycles of set-up keep the engine, 70 of latency do not."""
    target = replace(plain_chip(), dma=Dma(64.0, 40, 1 << 20), llb=Memory(1 << 20, inf, 70, 3000))
    moving = 40 + -(-15000 // 64)
    timing = simulate_kernel(lowered(relu(2), target, slots=2), target)
    assert timing.cycles == 2 * moving + 70 + COMPUTING + moving + 70


def two_layers() -> Graph:
    """y = relu(relu(x)) over one row."""
    shape = (1, POINTS)
    ops = tuple(
        Op(
            "relu",
            shape,
            (AxisKind.PARALLEL,) * 2,
            (Access(index, (axis_index(0), axis_index(1))),),
            index + 1,
        )
        for index in range(2)
    )
    return Graph((TensorType(shape, F16),) * 3, ops, (0,), (2,))


def test_a_barrier_between_two_stages() -> None:
    target = plain_chip(launch_us=0.1, barrier=30)
    graph = two_layers()
    plan = plan_groups(graph, [(0,), (1,)], target)
    tiling = Tiling((1, POINTS), (), (0, 1))
    schedule = schedule_of(plan, dict.fromkeys(plan.regions, (tiling, 1)))
    timing = simulate_program(compile_graph(graph, schedule, target, plan), graph, target)
    stage = 100 + LOADING + COMPUTING + STORING + 30
    assert timing.cycles == 2 * stage
    assert [s.start_cycle for s in timing.stages] == [0, stage]


def test_a_stage_has_the_room_that_no_value_takes_which_is_alive() -> None:
    """Three kernels in a row: what the first made is gone when the third runs."""
    target = plain_chip()
    shape = (2, POINTS)
    ops = tuple(
        Op(
            "relu",
            shape,
            (AxisKind.PARALLEL,) * 2,
            (Access(index, (axis_index(0), axis_index(1))),),
            index + 1,
        )
        for index in range(3)
    )
    graph = Graph((TensorType(shape, F16),) * 4, ops, (0,), (3,))
    plan = plan_groups(graph, [(0,), (1,), (2,)], target)
    schedule = schedule_of(plan, dict.fromkeys(plan.regions, (Tiling((1, POINTS), (), (0, 1)), 1)))
    program = compile_graph(graph, schedule, target, plan)
    value = 2 * POINTS * 2
    assert program.llb_bytes == 2 * value
    assert free_llb_bytes(program, graph, target) == [target.llb_bytes - n * value for n in (1, 2, 1)]


def test_kernels_side_by_side_share_the_port() -> None:
    """Two independent rows on a core each: both load at half speed, both store at half speed."""
    target = plain_chip(cores=2, port=64.0)
    shape = (1, POINTS)
    access = Access(0, (axis_index(0), axis_index(1)))
    ops = tuple(Op("relu", shape, (AxisKind.PARALLEL,) * 2, (access,), index) for index in (1, 2))
    graph = Graph((TensorType(shape, F16),) * 3, ops, (0,), (1, 2))
    plan = plan_groups(graph, [(0,), (1,)], target)
    stage = (Placed(0, CoreRange(0, 1)), Placed(1, CoreRange(1, 1)))
    tiling = Tiling(shape, (), (0, 1))
    schedule = Schedule(plan.groups, (stage,), (tiling, tiling), plan.levels)
    timing = simulate_program(compile_graph(graph, schedule, target, plan), graph, target)
    assert timing.cycles == 2 * LOADING + COMPUTING + 2 * STORING


def test_two_tiles_in_flight_hide_what_stands_between_two_products() -> None:
    """relu(x @ w) @ v on one core in four tiles: with two in flight the matrix unit waits for one relu,
    because the second tile's first product needs the room of the first's.
    """
    parallel, folded = (AxisKind.PARALLEL,) * 2, AxisKind.REDUCTION

    def product(left: int, right: int, result: int, columns: int, depth: int) -> Op:
        operands = (
            Access(left, (axis_index(0), axis_index(2))),
            Access(right, (axis_index(2), axis_index(1))),
        )
        return Op("contract", (24, columns, depth), (*parallel, folded), operands, result)

    shapes = ((24, 512), (512, 64), (64, 512), (24, 64), (24, 64), (24, 512))
    relu = Op("relu", (24, 64), parallel, (Access(3, (axis_index(0), axis_index(1))),), 4)
    graph = Graph(
        tuple(TensorType(shape, F16) for shape in shapes),
        (product(0, 1, 3, 64, 512), relu, product(4, 2, 5, 512, 64)),
        (0, 1, 2),
        (5,),
    )
    regions = Regions(kernel_of(graph, [0, 1, 2], {}).workload)
    target = replace(plain_chip(), dma=Dma(float(1 << 20), 0, 1 << 20))
    one, two = (
        simulate_kernel(
            lower_kernel(regions, Tiling((6, 512), (64,), (0, 1), 2, 2, 2, tiles), 1, target), target
        )
        for tiles in (1, 2)
    )
    relus, products = two.busy_by_engine["vector"], two.busy_by_engine["matrix"]
    assert 0 < relus < products / 2
    assert one.stalls_by_cause["vector"] == relus
    assert two.stalls_by_cause["vector"] == 0
    assert two.stalls_by_cause["slot"] == relus // 4
    assert one.cycles - two.cycles == 3 * relus // 4
