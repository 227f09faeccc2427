"""Canonical numbers, by hand: what the walk visits first, and what the numbered form says."""

from typing import Any

from tests.property.random_graphs import Builder, same
from tilewright.compiler_core.ir.canonical import canonical_form, number
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.ir.index_map import Access, affine
from tilewright.compiler_core.ir.workload import Level, graph_digest, kernel_of, number_network, stored_values

SHAPE = (4, 5)


def _unary(b: Builder, x: int, kind: str) -> int:
    return b.op(kind, SHAPE, (), (same(x, 2),))


def _binary(b: Builder, kind: str, x: int, y: int) -> int:
    return b.op(kind, SHAPE, (), (same(x, 2), same(y, 2)))


def _branches() -> Graph:
    """x - (exp(w) + relu(y)), built back to front: values 0 to 2 are w, y, x."""
    b = Builder(DType.F32, 0)
    w, y, x = (b.input(SHAPE) for _ in range(3))
    positive, power = _unary(b, y, "relu"), _unary(b, w, "exp")
    _binary(b, "sub", x, _binary(b, "add", positive, power))
    return b.graph((b.ops[-1].result,))


def test_operands_are_numbered_before_what_reads_them_in_operand_order() -> None:
    graph = _branches()
    numbering = number(graph, range(len(graph.ops)), graph.outputs)
    assert numbering.values[0] == 2
    assert numbering.values[-1] == graph.outputs[0]
    assert numbering.ops[-2:] == (2, 3)
    assert set(numbering.inputs) == {0, 1, 2}
    place = {value: index for index, value in enumerate(numbering.values)}
    for index, operands in zip(numbering.ops, numbering.operands, strict=True):
        assert all(place[access.value] < place[graph.ops[index].result] for access in operands)


def test_operands_of_a_sum_stand_in_the_order_of_their_numbers_others_as_they_were() -> None:
    graph = _branches()
    numbering = number_network(graph)
    place = {value: index for index, value in enumerate(numbering.values)}
    by_op = dict(zip(numbering.ops, numbering.operands, strict=True))
    assert [place[a.value] for a in by_op[2]] == sorted(place[a.value] for a in by_op[2])
    assert by_op[3] == graph.ops[3].operands


def test_the_form_of_a_small_network_is_what_it_says() -> None:
    b = Builder(DType.I8, 0)
    x = b.input((6,))
    b.op("max", (3,), (2,), (Access(x, (affine((0, 2), (1, 1), offset=-1),), 7.0),), (("keep", 1),))
    graph = b.graph((1,))
    form: Any = canonical_form(graph, number_network(graph), graph.outputs)
    assert form == {
        "values": ["i8[6]", "i8[3]"],
        "ops": [
            [
                "max",
                ["3", "2"],
                ["parallel", "reduction"],
                [[0, [[[[0, "2"], [1, "1"]], "-1", "1", "0", -1]], "nonzero"]],
                1,
                [["keep", "1"]],
            ]
        ],
        "outputs": [1],
    }


def test_what_no_output_needs_gets_no_number() -> None:
    b = Builder(DType.F32, 0)
    x = b.input(SHAPE)
    used = _unary(b, x, "relu")
    _unary(b, x, "neg")
    numbering = number_network(b.graph((used,)))
    assert (numbering.values, numbering.ops) == ((x, used), (0,))


def test_an_output_may_be_an_input_and_come_twice() -> None:
    b = Builder(DType.F32, 0)
    x = b.input(SHAPE)
    positive = _unary(b, x, "relu")
    once, twice = b.graph((positive, x)), b.graph((positive, x, positive))
    assert number_network(twice).values == (x, positive)
    assert graph_digest(once) != graph_digest(twice)


def test_placement_orders_operands_that_are_alike_without_it() -> None:
    """relu(x) + relu(y), one of them in the LLB: the same workload whichever it is."""
    b = Builder(DType.F32, 0)
    x, y = b.input(SHAPE), b.input(SHAPE)
    _binary(b, "add", _unary(b, x, "relu"), _unary(b, y, "relu"))
    graph = b.graph((b.ops[-1].result,))
    kernels = [kernel_of(graph, range(3), {near: Level.LLB}) for near in (x, y)]
    assert kernels[0].workload.digest == kernels[1].workload.digest
    assert kernels[0].values != kernels[1].values
    neither = kernel_of(graph, range(3), {})
    assert neither.workload.digest != kernels[0].workload.digest
    assert neither.workload.family_digest == kernels[0].workload.family_digest


def test_a_value_that_is_stored_tells_like_operands_apart() -> None:
    """relu(x) + relu(y) where one of the two is also an output of the network."""
    b = Builder(DType.F32, 0)
    x, y = b.input(SHAPE), b.input(SHAPE)
    one, other = _unary(b, x, "relu"), _unary(b, y, "relu")
    total = _binary(b, "add", one, other)
    digests = set()
    for kept in (one, other):
        graph = b.graph((total, kept))
        assert stored_values(graph, range(3)) == [kept, total]
        digests.add(kernel_of(graph, range(3), {}).workload.digest)
    assert len(digests) == 1


def test_a_walk_does_not_recurse() -> None:
    b = Builder(DType.F32, 0)
    x = b.input(SHAPE)
    for _ in range(3000):
        x = _binary(b, "add", x, x)
    assert len(number_network(b.graph((x,))).ops) == 3000
