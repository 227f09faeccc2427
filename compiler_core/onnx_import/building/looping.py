"""A loop under construction: its body is built like any other ops, then cut out of the Graph into a Graph."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.dims import Dim, bind, product_of, symbols_in, symbols_of
from tilewright.compiler_core.ir.graph import Graph, Op
from tilewright.compiler_core.ir.index_map import Access, IndexExpr, affine, axis_index
from tilewright.compiler_core.ir.ops import AxisKind
from tilewright.compiler_core.meaning.constants import Constants, Recipe
from tilewright.compiler_core.onnx_import.building.builder import Builder, Tensor
from tilewright.compiler_core.onnx_import.building.context import Context, HostOp
from tilewright.compiler_core.onnx_import.building.node import Node
from tilewright.compiler_core.transforms.simplify import simplify

Place: TypeAlias = tuple[int, int]
"""A dim of the state: which one, counted from the last (-1), and which of its dims."""
MOST_TURNS = 1 << 12
"""Turns within which a Loop that data end has to end, where it is not bound to fewer."""


class Outside(NamedTuple):
    """The sizes of each before a body."""

    ops: int
    host_ops: int
    loops: int
    constraints: int
    local: int


@dataclass(frozen=True)
class LoopBody:
    """The operands of a body: `state` before the step, `elements` of the sequences at the step, and all else
    that there is.

    `growing` are the dims of the state whose extents change from step to step. `outside` is how many ops,
    host ops, loops, constraints and local symbols there were before the body.
    """

    context: Context
    node: Node
    before: tuple[Tensor, ...]
    sequences: tuple[Tensor, ...]
    state: tuple[Tensor, ...]
    elements: tuple[Tensor, ...]
    growing: frozenset[Place]
    outside: Outside

    def grown(self, after: Sequence[Tensor]) -> frozenset[Place]:
        """`growing`, and the dims besides that a step changes which makes `after` of the last states."""
        found = set(self.growing)
        own = self._own_symbols()
        for index in range(-len(after), 0):
            for dim, (left, right) in enumerate(
                zip(self.state[index].shape, after[index].shape, strict=False)
            ):
                if (isinstance(right - left, int) and left != right) or symbols_of(right - left) & own:
                    found.add((index, dim))
        return frozenset(found)

    def grows_evenly(self, after: Sequence[Tensor]) -> bool:
        """Whether every dim that grows does so by the same extent at each step."""
        own = self._own_symbols()
        return not any(symbols_of(self._growth(after, place)) & own for place in self.growing)

    def discard(self) -> None:
        """Forget the body."""
        for things, kept in zip(self.context.made(), self.outside, strict=True):
            del things[kept:]
        self.context.open_loops -= 1

    def finish(
        self,
        steps: Dim | None,
        after: Sequence[Tensor],
        collected: Sequence[Tensor],
    ) -> list[Tensor]:
        """The states after the last step, then `collected` stacked along a new first dim of extent `steps`.

        Without `steps` the first state, a truth value, says whether there is another.
        """
        builder = self.context.builder
        own = self._own_symbols()
        self.context.open_loops -= 1
        conditional = steps is None
        if steps is None:
            steps = self.context.fresh(self.node, "turns")
        for index, (old, new) in enumerate(zip(self.state, after, strict=True), -len(after)):
            if old.rank != new.rank or old.dtype is not new.dtype:
                raise ModelError("a carried value changes its rank or type from step to step")
            for dim, (left, right) in enumerate(zip(old.shape, new.shape, strict=True)):
                if (index, dim) not in self.growing:
                    builder.equal(left, right, "extents that a loop carries from step to step")
        ops = builder.ops[self.outside.ops :]
        del builder.ops[self.outside.ops :]
        outputs = [tensor.value for tensor in (*after, *collected)]
        made = {op.result for op in ops} | {tensor.value for tensor in (*self.state, *self.elements)}
        read = [access.value for op in ops for access in op.operands]
        outer = list(dict.fromkeys(value for value in (*read, *outputs) if value not in made))
        stepwise = {
            v: builder.recipes[v] for v in outer if v in builder.recipes and builder.recipes[v].symbols & own
        }
        invariant = [value for value in outer if value not in stepwise]
        body = self._body(ops, invariant, outputs, stepwise)
        operands = [*(t.value for t in (*self.before, *self.sequences)), *invariant]
        accesses = tuple(
            Access(value, (IndexExpr(source=0),) * len(builder.values[value].shape)) for value in operands
        )
        attributes = {
            "carried": len(self.state),
            "scanned": len(self.sequences),
            "conditional": int(conditional),
            "most_steps": MOST_TURNS if conditional else 0,
        }
        told_anew = conditional and self.context.open_loops > 0
        results = []
        for output, inner in enumerate((*after, *collected)):
            final = output < len(self.state)
            if final:
                shape = self._final_shape(output - len(after), steps, after)
            else:
                shape = (steps, *self._told(inner.shape))
            result = builder.new_value(shape, inner.dtype)
            kinds = [AxisKind.PARALLEL] * len(inner.shape)
            op = Op(
                "loop",
                (*shape, *[steps] * (final and not told_anew)),
                (
                    *[AxisKind.SCAN] * (not final),
                    *kinds,
                    *[AxisKind.REDUCTION] * (final and not told_anew),
                ),
                accesses,
                result.value,
                tuple(sorted({**attributes, "output": output}.items())),
                body,
            )
            builder.append(op)
            results.append(result)
        self._report(steps, body, tuple(tensor.value for tensor in results))
        return results

    def _own_symbols(self) -> frozenset[str]:
        return frozenset(self.context.local[self.outside.local :])

    def _growth(self, after: Sequence[Tensor], place: Place) -> Dim:
        """The growth of a dim in one step."""
        at, dim = place
        return after[at].shape[dim] - self.state[at].shape[dim]

    def _final_shape(self, at: int, steps: Dim, after: Sequence[Tensor]) -> tuple[Dim, ...]:
        """The shape of a state after the last step: an extent that grows evenly is known."""
        shape = list(after[at].shape)
        for dim, first in enumerate(self.before[at].shape):
            if (at, dim) in self.growing:
                growth = self._growth(after, (at, dim))
                even = not symbols_of(growth) & self._own_symbols()
                shape[dim] = first + steps * growth if even else self.context.fresh(self.node, f"dim_{dim}")
        return tuple(shape)

    def _told(self, shape: tuple[Dim, ...]) -> tuple[Dim, ...]:
        """`shape` with a new symbol for every extent that each step decides."""
        own = self._own_symbols()
        return tuple(
            self.context.fresh(self.node, f"dim_{dim}") if symbols_of(extent) & own else extent
            for dim, extent in enumerate(shape)
        )

    def _report(self, steps: Dim, body: Graph, results: tuple[int, ...]) -> None:
        """The host ops of a loop: ops of the body that always are; the whole loop unless it is written out. A
        growing extent counts with its length at the first step, an extent that each step decides as 1.
        """
        at_first: dict[str, Dim] = dict.fromkeys(self._own_symbols(), 1)
        for index, dim in self.growing:
            (name,) = symbols_of(self.state[index].shape[dim])
            at_first[name] = self.before[index].shape[dim]
        hosted = self.context.host_ops[self.outside.host_ops :]
        del self.context.host_ops[self.outside.host_ops :]
        for op in hosted:
            all_macs = steps * bind(op.macs, at_first)
            self.context.host_ops.append(replace(op, results=results, macs=all_macs))
        macs: Dim = 0
        for inner in body.ops:
            if inner.row.contraction:
                macs = macs + bind(product_of(inner.domain), at_first)
        self.context.loops.append(HostOp(self.node.name, self.node.op_type, results, steps * macs))

    def _body(
        self,
        ops: Sequence[Op],
        invariant: Sequence[int],
        outputs: Sequence[int],
        stepwise: Mapping[int, Recipe],
    ) -> Graph:
        """The ops over values of their own, inputs first, with the constants that depend on extents of a
        step and the constraints on those.
        """
        constraints, own = self.context.builder.constraints, self._own_symbols()
        local_pairs = tuple(
            pair for pair in constraints[self.outside.constraints :] if symbols_in(pair) & own
        )
        constraints[:] = [pair for pair in constraints if pair not in local_pairs]
        inputs = [*(tensor.value for tensor in (*self.state, *self.elements)), *invariant]
        local = {
            value: index
            for index, value in enumerate(dict.fromkeys((*inputs, *stepwise, *(op.result for op in ops))))
        }
        renumbered = tuple(
            replace(
                op,
                operands=tuple(replace(access, value=local[access.value]) for access in op.operands),
                result=local[op.result],
            )
            for op in ops
        )
        body = Graph(
            values=tuple(self.context.builder.values[value] for value in local),
            ops=renumbered,
            inputs=tuple(local[value] for value in inputs),
            outputs=tuple(local[value] for value in outputs),
            constants=Constants({local[value]: recipe for value, recipe in stepwise.items()}),
            origins={local[op.result]: self.context.builder.origins[op.result] for op in ops},
        )
        return replace(simplify(body)[0], constraints=local_pairs)


def begin_loop(
    context: Context,
    node: Node,
    before: Sequence[Tensor],
    sequences: Sequence[Tensor],
    growing: frozenset[Place] = frozenset(),
) -> LoopBody:
    """A loop that carries `before` and reads `sequences` along dim 0; ops made next are its body."""
    builder = context.builder
    outside = Outside(*(len(things) for things in context.made()))
    context.open_loops += 1
    state = [
        builder.new_value(
            [
                context.fresh_local() if (index, dim) in growing else extent
                for dim, extent in enumerate(tensor.shape)
            ],
            tensor.dtype,
        )
        for index, tensor in enumerate(before, -len(before))
    ]
    elements = [builder.new_value(tensor.shape[1:], tensor.dtype) for tensor in sequences]
    return LoopBody(
        context, node, tuple(before), tuple(sequences), tuple(state), tuple(elements), growing, outside
    )


def reversed_view(builder: Builder, sequence: Tensor) -> Tensor:
    """The elements along the first dim, last one first."""
    exprs = [affine((0, -1), offset=sequence.shape[0] - 1), *(axis_index(d) for d in range(1, sequence.rank))]
    return builder.view(sequence, sequence.shape, exprs)
