"""Workload: the canonical, name-free form of a kernel or a whole network. Its digest is a database key."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property

from compiler_core.canonical import Numbering, canonical_form, number
from compiler_core.digest import Json, digest_of
from compiler_core.graph import Graph
from compiler_core.ops import Unit


class Level(StrEnum):
    """Where an operand lives between kernels. CONSTANT: DRAM, packed in the order of use when compiled."""

    LLB = "llb"
    DRAM = "dram"
    CONSTANT = "constant"
    HOST = "host"


@dataclass(frozen=True, eq=False)
class Workload:
    """Ops in canonical order over canonically numbered values, and where each outer operand lives.

    `graph.inputs` are the outer operands read, `graph.outputs` the values stored (the root's first);
    `levels` has one Level for each of them, inputs then outputs. The last op is the root.
    """

    graph: Graph
    levels: tuple[Level, ...]

    @cached_property
    def form(self) -> Json:
        """The numbered DAG without placement."""
        members = range(len(self.graph.ops))
        numbering = Numbering(
            tuple(range(len(self.graph.values))),
            tuple(members),
            self.graph.inputs,
            tuple(op.operands for op in self.graph.ops),
        )
        return canonical_form(self.graph, numbering, self.graph.outputs)

    @cached_property
    def family_digest(self) -> str:
        """What is computed, wherever the operands live."""
        return digest_of(self.form)

    @property
    def placement(self) -> str:
        """The levels as text, one word an outer operand: inputs, then outputs."""
        return " ".join(self.levels)

    @cached_property
    def digest(self) -> str:
        """What is computed, and where the operands live."""
        return digest_of({"family": self.family_digest, "placement": list(self.levels)})

    def level_of(self, value: int) -> Level:
        """Where an outer operand lives; KeyError for an inner value."""
        return self._levels[value]

    @cached_property
    def _levels(self) -> Mapping[int, Level]:
        return dict(zip((*self.graph.inputs, *self.graph.outputs), self.levels, strict=True))

    def placed(self, levels: Sequence[Level]) -> "Workload":
        """The same kernel with its operands elsewhere."""
        return Workload(self.graph, tuple(levels))


@dataclass(frozen=True, eq=False)
class Kernel:
    """A group of a Graph as a Workload, and what its numbers stand for.

    `values[i]` is the Graph's value behind the Workload's value i, `ops[j]` the position in graph.ops of its
    op j.
    """

    workload: Workload
    values: tuple[int, ...]
    ops: tuple[int, ...]


def is_remade(graph: Graph, at: int) -> bool:
    """Whether op `at` is a view that every group reading through it makes for itself: nobody stores it.

    The views that are stored are outputs of the network and what a host op wants as a whole.
    """
    op = graph.ops[at]
    readers = graph.readers.get(op.result, ())
    return (
        op.row.unit is Unit.NONE
        and op.result not in graph.outputs
        and not any(graph.ops[reader].row.unit is Unit.HOST for reader in readers)
    )


def stored_values(graph: Graph, members: Sequence[int]) -> list[int]:
    """The values a group stores: inner ones that somebody outside reads, then its root's."""
    inside, root = set(members), max(members)
    inner = [graph.ops[at].result for at in sorted(inside - {root}) if not is_remade(graph, at)]
    return [*(value for value in inner if _is_read_outside(graph, value, inside)), graph.ops[root].result]


def _is_read_outside(graph: Graph, value: int, inside: set[int]) -> bool:
    """Whether an op outside reads a value, perhaps through views that it makes for itself."""
    if value in graph.outputs:
        return True
    pending = list(graph.readers.get(value, ()))
    while pending:
        reader = pending.pop()
        if reader not in inside:
            return True
        if is_remade(graph, reader):
            pending.extend(graph.readers.get(graph.ops[reader].result, ()))
    return False


def kernel_of(graph: Graph, members: Sequence[int], levels: Mapping[int, Level]) -> Kernel:
    """Cut the ops `members` out of `graph`; the last of them in graph order is the root.

    `levels` says where each outer operand lives; constants, and values it does not name, live in DRAM.

        conv -> relu -> add(x)     --members (conv, relu)-->     inputs (x0, w), outputs (relu's result)
    """
    root = graph.ops[max(members)].result
    inner = [value for value in stored_values(graph, members) if value != root]
    read = {access.value for at in members for access in graph.ops[at].operands}
    default = {value: Level.CONSTANT for value in read if value in graph.constants}
    placement = {value: levels.get(value, default.get(value, Level.DRAM)) for value in (*read, *inner, root)}
    numbering = number(graph, members, [root], stored=inner, marks=placement)
    at = {value: i for i, value in enumerate(numbering.values)}
    outputs = (root, *sorted(inner, key=lambda value: at[value]))
    ops = tuple(
        replace(
            graph.ops[position],
            operands=tuple(replace(access, value=at[access.value]) for access in operands),
            result=at[graph.ops[position].result],
        )
        for position, operands in zip(numbering.ops, numbering.operands, strict=True)
    )
    local = Graph(
        values=tuple(graph.values[value] for value in numbering.values),
        ops=ops,
        inputs=tuple(at[value] for value in numbering.inputs),
        outputs=tuple(at[value] for value in outputs),
    )
    placed = tuple(placement[value] for value in (*numbering.inputs, *outputs))
    return Kernel(Workload(local, placed), numbering.values, numbering.ops)


def number_network(graph: Graph) -> Numbering:
    """Canonical numbers for a whole network, from its ordered outputs."""
    marks = dict.fromkeys(graph.constants, str(Level.CONSTANT))
    return number(graph, range(len(graph.ops)), graph.outputs, marks=marks)


def graph_digest(graph: Graph) -> str:
    """The database key of a whole network: its numbered DAG, and which of its values are constant."""
    numbering = number_network(graph)
    constants = [i for i, value in enumerate(numbering.values) if value in graph.constants]
    return digest_of([canonical_form(graph, numbering, graph.outputs), constants])
