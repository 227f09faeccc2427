"""A loop under construction: its body is built like any other ops, then cut out of the Graph into a Graph."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from compiler_core.dims import Dim, product_of
from compiler_core.errors import ModelError
from compiler_core.graph import Graph, Op
from compiler_core.index_map import Access, IndexExpr, affine, axis_index
from compiler_core.onnx_import.builder import Builder, Tensor
from compiler_core.onnx_import.context import Context, HostOp
from compiler_core.onnx_import.node import Node
from compiler_core.ops import AxisKind
from compiler_core.simplify import simplify


@dataclass(frozen=True)
class Loop:
    """What a body may read: `state` before the step, `elements` of the sequences at the step, and all else
    that there is. `first_op` is where the body's ops begin.
    """

    context: Context
    node: Node
    before: tuple[Tensor, ...]
    sequences: tuple[Tensor, ...]
    state: tuple[Tensor, ...]
    elements: tuple[Tensor, ...]
    first_op: int
    first_host: int

    def finish(
        self,
        steps: Dim,
        after: Sequence[Tensor],
        collected: Sequence[Tensor],
        *,
        conditional: bool = False,
        most_steps: int = 0,
    ) -> list[Tensor]:
        """The states after the last step, then `collected` stacked along a new first dim of extent `steps`.

        With `conditional` the first state, a truth value, says whether there is another step.
        """
        builder = self.context.builder
        for old, new in zip(self.state, after, strict=True):
            if old.rank != new.rank or old.dtype is not new.dtype:
                raise ModelError("what a loop carries changes its rank or type from step to step")
            for left, right in zip(old.shape, new.shape, strict=True):
                builder.equal(left, right, "extents that a loop carries from step to step")
        ops = builder.ops[self.first_op :]
        del builder.ops[self.first_op :]
        outputs = [tensor.value for tensor in (*after, *collected)]
        own = {op.result for op in ops} | {tensor.value for tensor in (*self.state, *self.elements)}
        read = [access.value for op in ops for access in op.operands]
        invariant = list(dict.fromkeys(value for value in (*read, *outputs) if value not in own))
        body = self._body(ops, invariant, outputs)
        operands = [*(t.value for t in (*self.before, *self.sequences)), *invariant]
        accesses = tuple(
            Access(value, (IndexExpr(source=0),) * len(builder.values[value].shape)) for value in operands
        )
        attributes = {
            "carried": len(self.state),
            "scanned": len(self.sequences),
            "conditional": int(conditional),
            "most_steps": most_steps,
        }
        made = []
        for output, inner in enumerate((*after, *collected)):
            final = output < len(self.state)
            shape = inner.shape if final else (steps, *inner.shape)
            result = builder.new_value(shape, inner.dtype)
            kinds = [AxisKind.PARALLEL] * len(inner.shape)
            op = Op(
                "loop",
                (*shape, *[steps] * (final and not conditional)),
                (
                    *[AxisKind.SCAN] * (not final),
                    *kinds,
                    *[AxisKind.REDUCTION] * (final and not conditional),
                ),
                accesses,
                result.value,
                tuple(sorted({**attributes, "output": output}.items())),
                body,
            )
            builder.ops.append(op)
            made.append(result)
        self._report(steps, body, tuple(tensor.value for tensor in made))
        return made

    def _report(self, steps: Dim, body: Graph, results: tuple[int, ...]) -> None:
        """What runs on the host: ops of the body that always do; the whole loop unless it is written out."""
        hosted = self.context.host_ops[self.first_host :]
        del self.context.host_ops[self.first_host :]
        for op in hosted:
            self.context.host_ops.append(replace(op, results=results, macs=steps * op.macs))
        macs: Dim = 0
        for inner in body.ops:
            if inner.row.contraction:
                macs = macs + product_of(inner.domain)
        self.context.loops.append(HostOp(self.node.name, self.node.op_type, results, steps * macs))

    def _body(self, ops: Sequence[Op], invariant: Sequence[int], outputs: Sequence[int]) -> Graph:
        """The ops over values of their own, inputs first."""
        inputs = [*(tensor.value for tensor in (*self.state, *self.elements)), *invariant]
        local = {value: at for at, value in enumerate(dict.fromkeys((*inputs, *(op.result for op in ops))))}
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
        )
        return simplify(body)[0]


def begin_loop(context: Context, node: Node, before: Sequence[Tensor], sequences: Sequence[Tensor]) -> Loop:
    """A loop that carries `before` and reads `sequences` along dim 0; ops made next are its body."""
    builder = context.builder
    return Loop(
        context,
        node,
        tuple(before),
        tuple(sequences),
        tuple(builder.new_value(tensor.shape, tensor.dtype) for tensor in before),
        tuple(builder.new_value(tensor.shape[1:], tensor.dtype) for tensor in sequences),
        len(builder.ops),
        len(context.host_ops),
    )


def reversed_view(builder: Builder, sequence: Tensor) -> Tensor:
    """The elements along the first dim, last one first."""
    exprs = [affine((0, -1), offset=sequence.shape[0] - 1), *(axis_index(d) for d in range(1, sequence.rank))]
    return builder.view(sequence, sequence.shape, exprs)
