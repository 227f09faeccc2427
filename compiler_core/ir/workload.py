"""Workload: the canonical, name-free form of a kernel or a whole network. Its digest is a database key."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property

from tilewright.compiler_core.digest import Json, digest_of
from tilewright.compiler_core.ir.canonical import Numbering, canonical_form, number
from tilewright.compiler_core.ir.dims import Shape, known
from tilewright.compiler_core.ir.dtypes import TensorType
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.ir.index_map import Access, constant_index
from tilewright.compiler_core.ir.layouts import Layout
from tilewright.compiler_core.ir.ops import Array, Unit


class Level(StrEnum):
    """The memory of an operand between kernels. CONSTANT: DRAM, packed in the order of use when compiled."""

    LLB = "llb"
    DRAM = "dram"
    CONSTANT = "constant"
    HOST = "host"


@dataclass(frozen=True, eq=False)
class Workload:
    """Ops in canonical order over canonically numbered values, and where each outer operand lives.

    `graph.inputs` are the outer operands read, `graph.outputs` the values stored (the root's first);
    `levels` has one Level for each of them, inputs then outputs, and `layouts` a Layout for those that do not
    lie in the model's order. The last op is the root.
    """

    graph: Graph
    levels: tuple[Level, ...]
    layouts: Mapping[int, Layout] = field(default_factory=dict)

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
        """The form of the computation, without the places of operands."""
        return digest_of(self.form)

    @cached_property
    def placement(self) -> tuple[str, ...]:
        """A word for each outer operand: its level, and its layout if it has one ("dram", "llb:0.2.3.1")."""
        return tuple(
            _place(level, self.layouts.get(value))
            for value, level in zip(self.outer, self.levels, strict=True)
        )

    @property
    def outer(self) -> tuple[int, ...]:
        """Values that live outside the kernel: those read, then those stored."""
        return (*self.graph.inputs, *self.graph.outputs)

    @cached_property
    def digest(self) -> str:
        """The form of the computation, with the places of operands."""
        return digest_of({"family": self.family_digest, "placement": list(self.placement)})

    def level_of(self, value: int) -> Level:
        """The level of an outer operand; KeyError for an inner value."""
        return self._levels[value]

    def layout_of(self, value: int) -> Layout:
        """The layout of an outer operand."""
        return self.layouts.get(value) or Layout(tuple(range(len(self.graph.shape(value)))))

    @cached_property
    def _levels(self) -> Mapping[int, Level]:
        return dict(zip(self.outer, self.levels, strict=True))

    def placed(self, levels: Sequence[Level]) -> "Workload":
        """The same kernel with its operands elsewhere."""
        return Workload(self.graph, tuple(levels), self.layouts)

    def laid(self, layouts: Mapping[int, Layout]) -> "Workload":
        """The same kernel with its operands laid out otherwise."""
        return Workload(self.graph, self.levels, layouts)


def _place(level: Level, layout: Layout | None) -> str:
    return str(level) if layout is None else f"{level}:{layout}"


@dataclass(frozen=True, eq=False)
class Kernel:
    """A group of a Graph as a Workload, and the meaning of its numbers.

    `values[i]` is the Graph's value behind the Workload's value i, `ops[j]` the position in graph.ops of its
    op j. `origins` names the operands of which the kernel reads a part only, one place of each leading dim:
    the Workload's value is that part, and begins there.
    """

    workload: Workload
    values: tuple[int, ...]
    ops: tuple[int, ...]
    origins: Mapping[int, tuple[int, ...]] = field(default_factory=dict)

    def part(self, value: int, whole: Array) -> Array:
        """The part that the kernel reads as its value `value`, of the array of the Graph's value."""
        return whole[tuple(slice(index, index + 1) for index in self.origins.get(value, ()))]


def as_its_own(workload: Workload) -> Kernel:
    """A kernel as a network of its own."""
    graph = workload.graph
    return Kernel(workload, tuple(range(len(graph.values))), tuple(range(len(graph.ops))))


def is_remade(graph: Graph, at: int) -> bool:
    """Whether op `at` is a view that no kernel stores: every group that reads through it makes it for itself.
    Stored views are outputs of the network, operands of host ops, and views of several values with several
    readers.
    """
    op = graph.ops[at]
    readers = graph.readers.get(op.result, ())
    return (
        op.row.unit is Unit.NONE
        and op.result not in graph.outputs
        and (len(op.operands) == 1 or len(readers) == 1)
        and not any(graph.ops[reader].row.unit is Unit.HOST for reader in readers)
    )


def stored_values(graph: Graph, members: Sequence[int]) -> list[int]:
    """The values a group stores: inner ones with readers outside, then its root's."""
    inside, root = set(members), max(members)
    inner = [graph.ops[index].result for index in sorted(inside - {root}) if not is_remade(graph, index)]
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


def kernel_of(
    graph: Graph,
    members: Sequence[int],
    levels: Mapping[int, Level],
    layouts: Mapping[int, Layout] | None = None,
) -> Kernel:
    """Cut the ops `members` out of `graph`; the last of them in graph order is the root.

    `levels` says where each outer operand lives; constants, and values it does not name, live in DRAM. Their
    order in memory is that of `layouts`, else the model's.

        conv -> relu -> add(x)     --members (conv, relu)-->     inputs (x0, w), outputs (relu's result)

    An operand of which every op reads one and the same place of its leading dims is that part of it: steps of
    a loop that do the same to other elements are one Workload.

        add(a[7, i], b[i]), a: [16, 64]     is     add(a[0, i], b[i]), a: [1, 64], from [7] on
    """
    root = graph.ops[max(members)].result
    inner = [value for value in stored_values(graph, members) if value != root]
    graph, origins = _in_parts(graph, members)
    read = {access.value for index in members for access in graph.ops[index].operands}
    default = {value: Level.CONSTANT for value in read if value in graph.constants}
    placement = {value: levels.get(value, default.get(value, Level.DRAM)) for value in (*read, *inner, root)}
    hidden = {graph.ops[index].result for index in members} - {root, *inner}
    laid = {v: layout for v, layout in (layouts or {}).items() if v in placement and v not in hidden}
    marks = {value: _place(level, laid.get(value)) for value, level in placement.items()}
    numbering = number(graph, members, [root], stored=inner, marks=marks)
    at = numbering.number_of
    outputs = (root, *sorted(inner, key=lambda value: at[value]))
    local = Graph(
        values=tuple(graph.values[value] for value in numbering.values),
        ops=numbering.renumbered(graph),
        inputs=tuple(at[value] for value in numbering.inputs),
        outputs=tuple(at[value] for value in outputs),
    )
    placed = tuple(placement[value] for value in (*numbering.inputs, *outputs))
    starts = {at[value]: place for value, place in origins.items()}
    local_layouts = {at[value]: layout for value, layout in laid.items()}
    return Kernel(Workload(local, placed, local_layouts), numbering.values, numbering.ops, starts)


def _in_parts(graph: Graph, members: Sequence[int]) -> tuple[Graph, Mapping[int, tuple[int, ...]]]:
    """The graph with operands of `members` cut to the one place of leading dims that is read; the places."""
    made = {graph.ops[index].result for index in members}
    reads: dict[int, list[Access]] = {}
    for index in members:
        for access in graph.ops[index].operands:
            reads.setdefault(access.value, []).append(access)
    origins: dict[int, tuple[int, ...]] = {}
    for value, accesses in reads.items():
        if value not in made and value not in graph.constants:
            shape = graph.values[value].shape
            place = _leading_place(shape, accesses)
            if any(extent != 1 for extent in shape[: len(place)]):
                origins[value] = place
    if not origins:
        return graph, origins
    values = list(graph.values)
    for value, place in origins.items():
        kind = values[value]
        values[value] = TensorType(((1,) * len(place)) + kind.shape[len(place) :], kind.dtype)
    ops = list(graph.ops)
    for index in members:
        ops[index] = replace(
            ops[index], operands=tuple(_from_origin(a, origins) for a in ops[index].operands)
        )
    return replace(graph, values=tuple(values), ops=tuple(ops)), origins


def _from_origin(access: Access, origins: Mapping[int, tuple[int, ...]]) -> Access:
    cut = len(origins.get(access.value, ()))
    return replace(access, exprs=(constant_index(0),) * cut + access.exprs[cut:]) if cut else access


def _leading_place(shape: Shape, accesses: Sequence[Access]) -> tuple[int, ...]:
    """The index of each leading dim of which all accesses read the same single place, inside the extent."""
    place: list[int] = []
    for dim, extent in enumerate(shape):
        first = accesses[0].exprs[dim]
        if first.terms or not first.is_affine or any(access.exprs[dim] != first for access in accesses):
            break
        at = known(first.offset, "an index")
        if not 0 <= at < known(extent, "an extent"):
            break
        place.append(at)
    return tuple(place)


def number_network(graph: Graph) -> Numbering:
    """Canonical numbers for a whole network, from its ordered outputs."""
    marks = dict.fromkeys(graph.constants, str(Level.CONSTANT))
    return number(graph, range(len(graph.ops)), graph.outputs, marks=marks)


def graph_digest(graph: Graph) -> str:
    """The database key of a whole network: its numbered DAG, and which of its values are constant."""
    numbering = number_network(graph)
    constants = [i for i, value in enumerate(numbering.values) if value in graph.constants]
    return digest_of([canonical_form(graph, numbering, graph.outputs), constants])
