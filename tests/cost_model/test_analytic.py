"""Bound and draft as numbers: finite, ordered, the same for all rows at once as one by one; bytes by hand."""

from collections.abc import Sequence
from itertools import product as choices

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.property.random_graphs import graphs
from tests.targets import simd_target
from tilewright.compiler_core.ir.dtypes import DType, TensorType
from tilewright.compiler_core.ir.graph import Graph, Op
from tilewright.compiler_core.ir.index_map import Access, IndexExpr, affine, axis_index
from tilewright.compiler_core.ir.ops import AxisKind
from tilewright.compiler_core.ir.workload import Level, Workload, kernel_of
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.target_model.file import list_targets, load_target
from tilewright.compiler_core.transforms.fuse import FusionPolicy, group_greedily
from tilewright.cost_model.analytic import (
    KernelModel,
    LeastWork,
    kernel_bound_cycles,
    least_draft_cycles,
    touched_bytes,
)
from tilewright.cost_model.kernel_features import kernel_features
from tilewright.cost_model.needed import needed_shares, reached
from tilewright.cost_model.two_units import least_busier
from tilewright.measure.simulator.device import SimulatedDevice
from tilewright.search_space.knobs import Rows
from tilewright.search_space.moves import sample
from tilewright.search_space.rules import KnobLayout
from tilewright.search_space.validity import kernel_space
from tilewright.tuner.kernel.task import KernelTask

P, R = AxisKind.PARALLEL, AxisKind.REDUCTION


def workload(op: Op, *shapes: tuple[int, ...], dtype: DType = DType.F32) -> Workload:
    """A kernel of one op over values of those shapes, all but the last read, all in DRAM."""
    read = tuple(range(len(shapes) - 1))
    values = tuple(TensorType(shape, dtype) for shape in shapes)
    return Workload(Graph(values, (op,), read, (len(read),)), (Level.DRAM,) * len(shapes))


def reader(shape: tuple[int, ...], domain: tuple[int, ...], *exprs: IndexExpr) -> Workload:
    """An elementwise kernel over `domain` that reads a value of `shape` at `exprs`."""
    return workload(Op("relu", domain, (P,) * len(domain), (Access(0, exprs, 0.0),), 1), shape, domain)


def product(m: int, n: int, k: int) -> Workload:
    left = Access(0, (axis_index(0), axis_index(2)))
    right = Access(1, (axis_index(2), axis_index(1)))
    return workload(Op("contract", (m, n, k), (P, P, R), (left, right), 2), (m, k), (k, n), (m, n))


def window(rows: int, columns: int) -> Workload:
    exprs = (affine((0, 2), (2, 1), offset=-1), affine((1, 2), (3, 1), offset=-1))
    op = Op("max", (rows, columns, 3, 3), (P, P, R, R), (Access(0, exprs, 0.0),), 1)
    return workload(op, (2 * rows, 2 * columns), (rows, columns))


KERNELS = {
    "product": product(96, 200, 300),
    "window": window(60, 44),
    "elementwise": reader((300, 70), (300, 70), axis_index(0), axis_index(1)),
}


def rows_of(name: str, preset: str) -> tuple[KernelModel, Rows]:
    layout = KnobLayout(Regions(KERNELS[name]), load_target(preset))
    rows = sample(kernel_space(layout), 64, np.random.default_rng(5), attempts=16)
    assert len(rows) > 1
    return KernelModel(layout), rows


@settings(max_examples=40)
@given(st.data())
def test_no_draft_is_below_the_least_draft(data: st.DataObject) -> None:
    """Merging leaves unions unpriced whose least draft promises too little."""
    graph, _ = data.draw(graphs())
    target = load_target(data.draw(st.sampled_from(list_targets())))
    groups = group_greedily(graph, FusionPolicy(epilogues=data.draw(st.booleans())))
    kernel = kernel_of(graph, data.draw(st.sampled_from(groups)), {}).workload
    layout = KnobLayout(Regions(kernel), target)
    rows = sample(kernel_space(layout), 32, np.random.default_rng(5), attempts=4)
    if len(rows):
        least_us = least_draft_cycles(kernel, target) / target.cycles_per_us
        assert least_us <= np.exp(KernelModel(layout).draft_log(rows)).min() * (1 + 1e-9)


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("preset", list_targets())
def test_the_bound_is_positive_finite_and_not_above_the_draft(name: str, preset: str) -> None:
    model, rows = rows_of(name, preset)
    bound, draft = np.exp(model.bound_log(rows)), np.exp(model.draft_log(rows))
    assert np.isfinite(bound).all()
    assert np.isfinite(draft).all()
    assert (bound > 0).all()
    assert (bound <= draft * (1 + 1e-9)).all()
    whole = kernel_bound_cycles(KERNELS[name], model.layout.target) / model.layout.target.cycles_per_us
    assert (bound >= whole * (1 - 1e-9)).all()


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("preset", ["ascend910", "ethos_u55_128", "eyeriss"])
def test_all_rows_at_once_equal_one_by_one(name: str, preset: str) -> None:
    model, rows = rows_of(name, preset)
    for method in (model.bound_log, model.draft_log):
        single = np.concatenate([method(row[None, :]) for row in rows])
        assert np.array_equal(method(rows), single)
    assert len(np.unique(model.draft_log(rows))) > 1


@pytest.mark.parametrize("level", [Level.CONSTANT, Level.DRAM])
@pytest.mark.parametrize("preset", list_targets())
def test_no_measurement_of_a_stream_beats_its_bound(preset: str, level: Level) -> None:
    """Constants lie packed: a bound that charged them the short runs of activations would be too high."""
    target = load_target(preset)
    rows = Access(0, (axis_index(0), axis_index(1)))
    shape = (512, 2048)
    kernel = workload(Op("max", shape, (P, R), (rows,), 1), shape, (512,), dtype=target.dtypes[0][0])
    kernel = kernel.placed((level, Level.DRAM))
    layout = KnobLayout(Regions(kernel), target)
    space = kernel_space(layout)
    drawn = sample(space, 1024, np.random.default_rng(5), attempts=16)
    model = KernelModel(layout)
    drawn = drawn[np.argsort(model.draft_log(drawn), kind="stable")[:64]]
    answers = SimulatedDevice(target).measure(kernel, [space.decode(row) for row in drawn])
    measured = np.log([answer.latency_us or np.nan for answer in answers])
    bound = model.bound_log(drawn)
    assert (bound <= measured + 1e-9).all()
    assert np.exp(measured - bound).min() < 2.5


def test_ports_round_up_once_and_not_per_operand() -> None:
    """2000 + 2000 + 2 bytes at 2.4 a cycle are 1667.5 cycles; each rounded up they would be 1669."""
    left, right = Access(0, (axis_index(0), axis_index(1))), Access(1, (axis_index(0), affine()))
    op = Op("div", (1, 1000), (P, P), (left, right), 2)
    kernel = workload(op, (1, 1000), (1, 1), (1, 1000))
    target = load_target("eyeriss")
    assert kernel_bound_cycles(kernel, target) == pytest.approx(target.launch_cycles + 4002 / 2.4)


def test_fewer_cores_have_a_higher_bound() -> None:
    model, rows = rows_of("product", "ascend910")
    bound = model.bound_log(rows)
    cores = rows[:, model.layout.column("cores")]
    assert bound[cores == cores.min()].min() > bound[cores == cores.max()].max()


def test_an_op_is_done_by_one_unit() -> None:
    """10 cycles on one unit, 30 on the other: two such take 20, four take 30, one on the slower unit."""
    either = LeastWork(((10.0, 30.0),))
    assert either.arithmetic == 10.0
    assert (either + either).arithmetic == pytest.approx(20.0, rel=1e-5)
    assert (either + either + LeastWork(((np.inf, 15.0),))).arithmetic == pytest.approx(20.0, rel=1e-5)
    assert 30.0 >= (either + either + either + either).arithmetic >= 29.9


@given(
    st.lists(
        st.tuples(*[st.sampled_from([0.5, 1.0, 2.0, 3.0, 7.0, 20.0, np.inf])] * 2), min_size=1, max_size=7
    )
)
def test_no_choice_of_units_is_faster(works: list[tuple[float, float]]) -> None:
    works = [each for each in works if min(each) < np.inf]
    best = min(
        max(
            sum(work[0] for work, unit in zip(works, units, strict=True) if unit == 0),
            sum(work[1] for work, unit in zip(works, units, strict=True) if unit == 1),
        )
        for units in choices((0, 1), repeat=len(works))
    )
    found = least_busier(works)
    assert found <= best * (1 + 1e-9)
    assert found >= best / 2


def touched(shape: tuple[int, ...], domain: tuple[int, ...], exprs: Sequence[IndexExpr]) -> int:
    """f32 elements that a read touches on a chip that stores f32 as f16."""
    target = load_target("ascend910")
    assert target.storage_dtype(DType.F32).bytes == 2
    graph = reader(shape, domain, *exprs).graph
    return touched_bytes(graph, 0, target, needed_shares(graph)) // 2


@pytest.mark.parametrize(
    ("shape", "domain", "exprs", "elements"),
    [
        ((8, 6), (8, 6), (axis_index(0), axis_index(1)), 48),
        # every second row: 0, 2, 4, 6
        ((8, 6), (4, 6), (affine((0, 2)), axis_index(1)), 24),
        # rows 3, 6, 9, of which the last lies outside
        ((8, 6), (3, 6), (affine((0, 3), offset=3), axis_index(1)), 12),
        # windows of 2 at a distance of 3: 0, 1, 3, 4, 6, 7
        ((8,), (3, 2), (affine((0, 3), (1, 1)),), 6),
        # windows of 3 at a distance of 2, padded by one: -1 .. 7, the first outside
        ((8,), (4, 3), (affine((0, 2), (1, 1), offset=-1),), 8),
        # each element twice
        ((4,), (8,), (affine((0, 1), divisor=2),), 4),
        # a period of 3
        ((8,), (8,), (affine((0, 1), modulus=3),), 3),
        # a diagonal of 5, and a diagonal of every second row
        ((5, 5), (5,), (axis_index(0), axis_index(0)), 5),
        ((9, 5), (5,), (affine((0, 2)), axis_index(0)), 5),
        # one column
        ((8, 6), (8,), (axis_index(0), affine(offset=2)), 8),
    ],
)
def test_touched_bytes_by_hand(
    shape: tuple[int, ...], domain: tuple[int, ...], exprs: tuple[IndexExpr, ...], elements: int
) -> None:
    assert touched(shape, domain, exprs) == elements


def test_touched_bytes_of_a_data_dependent_read_is_one_row() -> None:
    """table[ids[i], d]: which rows are read is not known, so one is counted."""
    table = Access(0, (IndexExpr(source=1), axis_index(1)))
    op = Op("gather", (7, 16), (P, P), (table, Access(1, (axis_index(0),))), 2)
    values = (TensorType((100, 16), DType.F32), TensorType((7,), DType.I64), TensorType((7, 16), DType.F32))
    kernel = Workload(Graph(values, (op,), (0, 1), (2,)), (Level.DRAM,) * 3)
    target = load_target("ascend910")
    shares = needed_shares(kernel.graph)
    found = [touched_bytes(kernel.graph, value, target, shares) for value in range(3)]
    assert found == [16 * 2, 7 * target.storage_dtype(DType.I64).bytes, 7 * 16 * 2]


def test_what_nobody_needs_is_no_work() -> None:
    """relu(x), of which a quarter is kept: no schedule has to compute or load the rest."""
    domain, kinds = (8, 6), (P, P)
    whole = (axis_index(0), axis_index(1))
    relu = Op("relu", domain, kinds, (Access(0, whole),), 1)
    crop = Op("move", (4, 3), kinds, (Access(1, (affine((0, 1), offset=2), axis_index(1))),), 2)
    types = tuple(TensorType(shape, DType.F32) for shape in (domain, domain, (4, 3)))
    graph = Graph(types, (relu, crop), (0,), (2,))
    assert needed_shares(graph) == {0: 0.25, 1: 0.25, 2: 1.0}
    target = load_target("ascend910")
    assert touched_bytes(graph, 0, target, needed_shares(graph)) == 12 * 2
    alone = Graph(types[:2], (relu,), (0,), (1,))
    assert needed_shares(alone) == {0: 1.0, 1: 1.0}


@given(
    st.lists(st.tuples(st.integers(0, 7), st.sampled_from([1, 2, 3, 7, 12, -1, -4])), min_size=1, max_size=3),
    st.integers(-6, 6),
    st.sampled_from([1, 2, 3]),
    st.sampled_from([0, 3, 5]),
    st.integers(0, 30),
)
def test_what_an_index_reaches_is_counted_without_a_list(
    axes: list[tuple[int, int]], offset: int, divisor: int, modulus: int, limit: int
) -> None:
    """Never more than there are, and exactly as many where nothing is left out between them."""
    extents = [extent for extent, _ in axes]
    terms = [(axis, coefficient) for axis, (_, coefficient) in enumerate(axes)]
    expr = affine(*terms, offset=offset, divisor=divisor, modulus=modulus)
    found = {offset}
    for axis, coefficient in terms:
        found = {index + coefficient * step for index in found for step in range(extents[axis])}
    solid = not found or len(found) == max(found) - min(found) + 1
    found = {index // divisor for index in found}
    found = {index % modulus for index in found} if modulus else found
    inside = sum(0 <= index < limit for index in found)
    reached_without = reached(expr, extents, limit)
    assert 0 <= reached_without <= inside
    assert reached_without == inside or not solid or modulus


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_features_for_a_cpu_take_kernels_of_few_axes(shape: tuple[int, ...]) -> None:
    axes = [axis_index(axis) for axis in range(len(shape))]
    task = KernelTask(Regions(reader(shape, shape, *axes)), simd_target())
    rows = sample(task.space, 4, np.random.default_rng(0), attempts=4)
    assert np.isfinite(kernel_features(task.model)(rows)).all()
