"""Canonical numbering: the same network gets the same numbers under any names and order in its file.

The DAG is walked depth-first from the ordered outputs through ordered operands, and the *numbered* DAG is
hashed. A Merkle hash would not do: it cannot tell a value that two ops share from one that is computed twice.

Operands of a commutative op have no order of their own. They are visited by colour (colours.py): what they
compute and what is made of them; where that is the same, by where they live. A choice between operands alike
in all of that is free, but it tells them apart from then on, and whatever depends on them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from tilewright.compiler_core.digest import Json
from tilewright.compiler_core.ir.colours import Colours, access_form, access_text
from tilewright.compiler_core.ir.graph import Graph, Op
from tilewright.compiler_core.ir.index_map import Access
from tilewright.compiler_core.ir.ops import AttributeValue


@dataclass(frozen=True)
class Numbering:
    """Values and ops of (part of) a Graph in canonical order.

    `values[i]` is the Graph's value that got number i; `ops` are op positions in canonical order; `inputs`
    are the values read from outside, in order of discovery. `operands` are those of each op, of commutative
    ones in the order of their numbers.
    """

    values: tuple[int, ...]
    ops: tuple[int, ...]
    inputs: tuple[int, ...]
    operands: tuple[tuple[Access, ...], ...]

    @cached_property
    def number_of(self) -> Mapping[int, int]:
        """The number of a value of the Graph."""
        return {value: number for number, value in enumerate(self.values)}

    def renumbered(self, graph: Graph) -> tuple[Op, ...]:
        """The ops of `graph` that are numbered, in canonical order and numbers."""
        at = self.number_of
        return tuple(
            replace(
                graph.ops[position],
                operands=tuple(replace(access, value=at[access.value]) for access in operands),
                result=at[graph.ops[position].result],
            )
            for position, operands in zip(self.ops, self.operands, strict=True)
        )


def number(
    graph: Graph,
    members: Sequence[int],
    outputs: Sequence[int],
    *,
    stored: Sequence[int] = (),
    marks: Mapping[int, str] | None = None,
) -> Numbering:
    """Number the ops `members` (positions in graph.ops, closed under what `outputs` need of them).

    `stored` are values read outside besides the outputs. `marks` are facts about values that the form leaves
    out (where they live): they decide only between operands that are equal without them.
    """
    inside = {graph.ops[index].result: index for index in members}
    colours = Colours(graph, sorted(members), outputs, stored, marks or {})
    values: dict[int, None] = {}
    ops: list[int] = []
    inputs: list[int] = []

    def needs(value: int) -> Iterator[int]:
        """The operands of a value that have no number yet, in the order of the walk."""
        at = inside.get(value)
        if at is None:
            return
        for operand in colours.visited(at, values):
            if operand not in values:
                yield operand

    for output in outputs:
        pending = [] if output in values else [(output, needs(output))]
        while pending:
            value, operands = pending[-1]
            following = next(operands, None)
            if following is not None:
                pending.append((following, needs(following)))
                continue
            pending.pop()
            values[value] = None
            (ops if value in inside else inputs).append(inside.get(value, value))
    at = {value: i for i, value in enumerate(values)}
    ordered = tuple(_ordered_operands(graph, position, at) for position in ops)
    return Numbering(tuple(values), tuple(ops), tuple(inputs), ordered)


def _ordered_operands(graph: Graph, position: int, at: Mapping[int, int]) -> tuple[Access, ...]:
    op = graph.ops[position]
    if not op.row.commutative:
        return op.operands
    return tuple(sorted(op.operands, key=lambda access: (at[access.value], access_text(access))))


def _attribute_form(attributes: tuple[tuple[str, AttributeValue], ...]) -> list[Json]:
    return [[name, str(value)] for name, value in sorted(attributes)]


def _body_form(body: Graph | None) -> list[Json]:
    """The numbered DAG of one step of a loop, and the numbers of its inputs there."""
    if body is None:
        return []
    numbering = number(body, range(len(body.ops)), body.outputs)
    at = {value: i for i, value in enumerate(numbering.values)}
    return [canonical_form(body, numbering, body.outputs), [at.get(value, -1) for value in body.inputs]]


def canonical_form(graph: Graph, numbering: Numbering, outputs: Sequence[int]) -> Json:
    """The numbered DAG as JSON: everything a schedule depends on, no names and no weight values."""
    at = {value: i for i, value in enumerate(numbering.values)}
    return {
        "values": [str(graph.values[value]) for value in numbering.values],
        "ops": [
            [
                graph.ops[position].kind,
                [str(extent) for extent in graph.ops[position].domain],
                [str(kind) for kind in graph.ops[position].axis_kinds],
                [[at[access.value], *access_form(access)] for access in operands],
                at[graph.ops[position].result],
                _attribute_form(graph.ops[position].attributes),
                *_body_form(graph.ops[position].body),
            ]
            for position, operands in zip(numbering.ops, numbering.operands, strict=True)
        ],
        "outputs": [at[value] for value in outputs],
    }
