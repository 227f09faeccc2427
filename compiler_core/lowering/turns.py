"""Turns: stretches of a fused chain with at most one hand-over between matrix and vector unit.

    conv -> relu -> conv -> relu            turns 0 0 1 1
    scores -> softmax -> values             turns 0 0 1

The ops of one tile run one after the other, so inside a tile the two units wait for each other. With two
tiles in flight the later half of the turns works one tile behind, and the halves alternate: while one unit
has a turn of one tile, the other has a turn of the other tile.

    one tile     conv(t) relu(t) conv'(t) relu'(t)
    two tiles    conv(t) relu(t) conv'(t-1) relu'(t-1)
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tilewright.compiler_core.ir.graph import Graph, Op
from tilewright.compiler_core.ir.ops import Unit
from tilewright.compiler_core.target_model.product import product_axes
from tilewright.compiler_core.target_model.target import Target
from tilewright.compiler_core.target_model.unit_bounds import matrix_least_cycles, vector_least_cycles
from tilewright.compiler_core.target_model.units import matrix_table


@dataclass(frozen=True)
class TurnPlace:
    """The place of an op in the work: its turn, the number of tiles that it is behind, and the rank of the
    turn.
    """

    turn: int
    lag: int
    rank: int


def handovers_of(graph: Graph, target: Target) -> tuple[int, ...]:
    """Per op of a kernel, how often work is handed from unit to unit before it: even on the unit that begins.

    As late as its readers allow, so that little is held for long.
    """
    units: list[Unit | None] = []
    passed: list[int] = []
    for op in graph.ops:
        makers = [graph.producer[a.value] for a in op.operands if a.value in graph.producer]
        unit = _unit(graph, op, target)
        passed.append(max([passed[m] + _differ(units[m], unit) for m in makers], default=0))
        latest = max(makers, key=lambda m: passed[m], default=None)
        units.append(unit if unit is not None or latest is None else units[latest])
    for index in range(len(graph.ops) - 1, -1, -1):
        readers = graph.readers.get(graph.ops[index].result, ())
        passed[index] = min(
            [passed[r] - _differ(units[index], units[r]) for r in readers], default=passed[index]
        )
    return tuple(passed)


def turns_of(graph: Graph, target: Target) -> tuple[int, ...]:
    """The turn of every op of a kernel."""
    return tuple([passed // 2 for passed in handovers_of(graph, target)])


def in_flight(turns: Sequence[int]) -> tuple[TurnPlace, ...]:
    """The place of every op with two tiles in flight: turns 0, h, 1, h + 1, ..., from h on a tile behind."""
    half = max(turns) // 2 + 1
    return tuple([TurnPlace(turn, turn // half, 2 * (turn % half) + turn // half) for turn in turns])


def one_by_one(graph: Graph) -> tuple[TurnPlace, ...]:
    """The place of every op when a tile is finished before the next begins."""
    return (TurnPlace(0, 0, 0),) * len(graph.ops)


def _unit(graph: Graph, op: Op, target: Target) -> Unit | None:
    """The unit an op runs on; of a contraction that may run on either, the one with less work of it."""
    if not op.row.contraction:
        return Unit.VECTOR if op.row.unit is Unit.VECTOR else None
    stored = target.storage_dtype(graph.values[op.operands[0].value].dtype)
    table = matrix_table(target, stored)
    if not len(table):
        return Unit.VECTOR
    matrix = matrix_least_cycles(*product_axes(op, target.matrix).extents(op.extents), table)
    vector = vector_least_cycles(op.points, 1, target.vector.lanes(stored))
    return Unit.VECTOR if target.vector.takes_contractions and vector < matrix else Unit.MATRIX


def _differ(one: Unit | None, other: Unit | None) -> bool:
    return one is not None and other is not None and one is not other
