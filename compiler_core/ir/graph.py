"""Graph: a network as structured ops over typed values, in static single assignment form.

Values are integers; `Graph.values[v]` is the type of value v. An op's result has one dim per leading domain
axis, in order; the domain axes behind them are its reduction axes. So an op needs no output map, and a box of
its result is a box of its parallel axes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy.typing as npt

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.dims import Dim, bind, known, symbols_in
from tilewright.compiler_core.ir.dtypes import TensorType
from tilewright.compiler_core.ir.index_map import Access
from tilewright.compiler_core.ir.names import Origin, Scopes, name_of_group, scopes_of
from tilewright.compiler_core.ir.ops import OPS, AttributeValue, AxisKind, OpRow, Unit


@dataclass(frozen=True)
class Op:
    """One structured op: `kind` is its row in the table, `domain` the extent of each axis.

    A loop has a `body`, the Graph of one step (see loops.py).
    """

    kind: str
    domain: tuple[Dim, ...]
    axis_kinds: tuple[AxisKind, ...]
    operands: tuple[Access, ...]
    result: int
    attributes: tuple[tuple[str, AttributeValue], ...] = ()
    body: "Graph | None" = None

    @property
    def row(self) -> OpRow:
        """The op's row in the structured-op table."""
        return OPS[self.kind]

    @cached_property
    def rank(self) -> int:
        """Number of result dims: every axis that is not a reduction."""
        return sum(kind is not AxisKind.REDUCTION for kind in self.axis_kinds)

    @property
    def result_axes(self) -> range:
        """The axes that index the result."""
        return range(self.rank)

    @property
    def reduction_axes(self) -> range:
        """The axes folded away."""
        return range(self.rank, len(self.domain))

    @cached_property
    def extents(self) -> tuple[int, ...]:
        """The domain as integers; ModelError while a symbol is unbound."""
        return tuple(known(extent, f"an axis of {self.kind}") for extent in self.domain)

    @property
    def turns(self) -> Dim:
        """The number of runs of a loop's body, at most if a condition ends it: its axis that is not parallel.

        A loop inside another one that a condition ends has none: every step of the outer loop decides it
        anew.
        """
        extents = zip(self.domain, self.axis_kinds, strict=True)
        most = int(dict(self.attributes).get("most_steps", 0))
        return next((extent for extent, kind in extents if kind is not AxisKind.PARALLEL), most)

    @property
    def steps(self) -> int:
        """`turns` as an integer; ModelError while a symbol is unbound."""
        return known(self.turns, "how often a loop runs")

    @cached_property
    def symbols(self) -> frozenset[str]:
        """Names of the extents that are unbound in the domain and the index maps."""
        exprs = [expr.symbols for access in self.operands for expr in access.exprs if expr.is_symbolic]
        return symbols_in(self.domain).union(*exprs)

    def bound_to(self, values: Mapping[str, int]) -> "Op":
        """The same op with symbolic extents and coefficients replaced."""
        return replace(
            self,
            domain=tuple(bind(extent, values) for extent in self.domain),
            operands=tuple(
                replace(access, exprs=tuple(expr.bound_to(values) for expr in access.exprs))
                for access in self.operands
            ),
            body=None if self.body is None else self.body.bound_to(values),
        )

    @cached_property
    def points(self) -> int:
        """Size of the iteration domain: MACs of a contraction."""
        total = 1
        for extent in self.extents:
            total *= extent
        return total


Form: TypeAlias = tuple[tuple[TensorType, ...], tuple[Op, ...]]
"""The replacement of an op: types of the values it adds, and ops in data order."""


class Rewrite(Protocol):
    """Another form of an op that means the same; each is in rewrites.py."""

    def objection(self, graph: "Graph", op: Op, /) -> str:
        """Why the op has no such form; empty where it has."""
        ...

    def form(self, graph: "Graph", op: Op, first: int, /) -> Form:
        """The form, its new values from number `first` on."""
        ...

    def carried(self, op: Op, /) -> "Rewrite":
        """The same for an op of other extents."""
        ...


Rewrites: TypeAlias = Mapping[int, Rewrite]
"""By position of the op in the network as imported."""


@runtime_checkable
class SymbolicConstants(Protocol):
    """Constants some of which depend on symbols: binding gives the constants of the bound network."""

    def bound_to(self, values: Mapping[str, int], /) -> Mapping[int, npt.NDArray[Any]]:
        """The same constants with symbols replaced."""
        ...


@dataclass(frozen=True, eq=False)
class Graph:
    """A network. `ops` are in an order that respects data; inputs and constants have no producer.

    `constraints` are pairs of symbolic extents that must be equal, because ops of the model demand it; that
    an extent is 1 or more is min(extent, 1) = 1.

    `constants` maps a value to its array (weights, folded constants). `names` keeps a model's own names for
    messages and reports, `origins` the nodes of the model that made a value, the one it is named after first;
    nothing depends on them. `rewrites` are those that made this network of the imported one.
    """

    values: tuple[TensorType, ...]
    ops: tuple[Op, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    constants: Mapping[int, npt.NDArray[Any]] = field(default_factory=dict)
    names: Mapping[int, str] = field(default_factory=dict)
    origins: Mapping[int, tuple[Origin, ...]] = field(default_factory=dict)
    constraints: tuple[tuple[Dim, Dim], ...] = ()
    rewrites: Rewrites = field(default_factory=dict)

    @cached_property
    def producer(self) -> Mapping[int, int]:
        """From a value to the position of the op that makes it."""
        return {op.result: index for index, op in enumerate(self.ops)}

    @cached_property
    def readers(self) -> Mapping[int, tuple[int, ...]]:
        """From a value to the positions of the ops that read it, ascending, each once."""
        readers: dict[int, list[int]] = {}
        for index, op in enumerate(self.ops):
            for value in dict.fromkeys(access.value for access in op.operands):
                readers.setdefault(value, []).append(index)
        return {value: tuple(positions) for value, positions in readers.items()}

    @cached_property
    def symbols(self) -> frozenset[str]:
        """Names of the extents that are still unbound, and of how often loops turn."""
        turns = [op.turns for op in self.ops if op.body is not None]
        return symbols_in([*(dim for value in self.values for dim in value.shape), *turns])

    def shape(self, value: int) -> tuple[int, ...]:
        """The shape of a value as integers; ModelError while a symbol is unbound."""
        dims = self.values[value].shape
        return tuple([dim if isinstance(dim, int) else known(dim, self.name_of(value)) for dim in dims])

    def elements(self, value: int) -> int:
        """The number of elements of a value."""
        return prod(self.shape(value))

    def name_of(self, value: int) -> str:
        """The model's name of a value, or %n where it has none."""
        return self.names.get(value, f"%{value}")

    @cached_property
    def scopes(self) -> Scopes:
        """The scopes of the model that the ops came from; views, which cost nothing, are left out."""
        costly = [op for op in self.ops if op.row.unit is not Unit.NONE]
        return scopes_of(nodes[0] for op in costly if (nodes := self.origins.get(op.result)))

    def nodes_of(self, members: Sequence[int]) -> tuple[Origin, ...]:
        """The nodes of the model that a group of ops came from, in order."""
        found = (
            origin for index in sorted(members) for origin in self.origins.get(self.ops[index].result, ())
        )
        return tuple(dict.fromkeys(found))

    def kernel_name(self, members: Sequence[int]) -> str:
        """The name of a group's kernel for people: one short, printable line ("conv2 + relu")."""
        ops = [self.ops[index] for index in sorted(members)]
        costly = [op for op in ops if op.row.unit is not Unit.NONE]
        kinds = [
            ((self.origins.get(op.result) or (Origin("", op.kind),))[0], op.kind) for op in costly or ops
        ]
        return name_of_group(self.scopes, kinds)

    @cached_property
    def macs(self) -> int:
        """Multiply-accumulates of all contractions."""
        return sum(op.points for op in self.ops if op.row.contraction)

    def bound_to(self, values: Mapping[str, int]) -> "Graph":
        """The same network with symbolic extents replaced; ModelError where the values contradict an op.

        x: f32[batch, 3]   --bind batch=2-->   x: f32[2, 3]
        """
        if not self.symbols:
            return self
        types = tuple(
            TensorType(tuple(bind(dim, values) for dim in value.shape), value.dtype) for value in self.values
        )
        self._check_binding(values, types)
        return replace(
            self,
            values=types,
            ops=tuple(op.bound_to(values) for op in self.ops),
            constants=(
                self.constants.bound_to(values)
                if isinstance(self.constants, SymbolicConstants)
                else self.constants
            ),
            constraints=tuple((bind(left, values), bind(right, values)) for left, right in self.constraints),
        )

    def _check_binding(self, values: Mapping[str, int], types: tuple[TensorType, ...]) -> None:
        given = ", ".join(f"{name}={values[name]}" for name in sorted(values))
        for left, right in self.constraints:
            one, other = bind(left, values), bind(right, values)
            if isinstance(one, int) and isinstance(other, int) and one != other:
                raise ModelError(
                    f"with {given} the model would need {left} ({one}) to equal {right} ({other});"
                    " give dimensions that agree"
                )
        for value, type_ in enumerate(types):
            for dim, extent in zip(self.values[value].shape, type_.shape, strict=True):
                if isinstance(extent, int) and extent < 0:
                    raise ModelError(
                        f"with {given} {self.name_of(value)!r} would have extent {dim} = {extent}"
                    )
