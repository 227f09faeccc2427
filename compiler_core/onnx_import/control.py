"""Control flow: a branch that is known is entered, one that depends on data is computed both ways."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from compiler_core.dtypes import DType
from compiler_core.errors import ModelError
from compiler_core.onnx_import.builder import Tensor
from compiler_core.onnx_import.context import optional, required
from compiler_core.onnx_import.frames import Frame
from compiler_core.onnx_import.movement import concat
from compiler_core.onnx_import.node import Node

if TYPE_CHECKING:
    from compiler_core.onnx_import.walk import Walk

Enter: TypeAlias = Callable[["Walk", Frame, Node, Sequence[Tensor | None]], None]


def _enter_if(walk: "Walk", frame: Frame, node: Node, inputs: Sequence[Tensor | None]) -> None:
    """If with a known condition is the branch taken; otherwise both branches, and a select of each result."""
    condition = required(inputs, 0)
    branches = [node.graph("then_branch"), node.graph("else_branch")]
    for branch in branches:
        if len(branch.output) != len(node.outputs):
            raise ModelError("a branch has another number of outputs than the node")
    content = walk.context.builder.content(condition)
    if content is not None:
        if content.size != 1:
            raise ModelError("the condition must have one element")
        taken = walk.enter_graph(frame, branches[0] if content.ravel()[0] else branches[1])
        names = [output.name for output in (branches[0] if content.ravel()[0] else branches[1]).output]
        taken.finish = lambda: walk.results(frame, node, [taken.lookup(name) for name in names])
        return
    chosen = walk.enter_graph(frame, branches[0])

    def then_done() -> None:
        other = walk.enter_graph(frame, branches[1])

        def else_done() -> None:
            builder = walk.context.builder
            results = []
            for left, right in zip(branches[0].output, branches[1].output, strict=True):
                one, two = chosen.lookup(left.name), other.lookup(right.name)
                if one.rank != two.rank or one.dtype is not two.dtype:
                    raise ModelError("the branches of a data-dependent If give different ranks or types")
                for a, b in zip(one.shape, two.shape, strict=True):
                    builder.equal(a, b, "extents of the two branches of a data-dependent If")
                scalar = builder.reshape(condition, ())
                results.append(builder.elementwise("where", scalar, one, two, dtype=one.dtype))
            walk.results(frame, node, results)

        other.finish = else_done

    chosen.finish = then_done


def _enter_loop(walk: "Walk", frame: Frame, node: Node, inputs: Sequence[Tensor | None]) -> None:
    """A Loop of known trip count whose condition stays true is its body, written out turn by turn."""
    builder = walk.context.builder
    body = node.graph("body")
    trips, going = (builder.content(optional(inputs, at)) for at in range(2))
    if trips is None or trips.dtype == object:
        raise ModelError("a Loop whose trip count is computed from data is not supported")
    if optional(inputs, 1) is not None and going is None:
        raise ModelError("a Loop whose condition is computed from data is not supported")
    count = 0 if going is not None and not going.ravel()[0] else int(trips.ravel()[0])
    if count > MAX_TURNS:
        raise ModelError(f"a Loop of {count} turns is above the limit of {MAX_TURNS}")
    carried = [required(inputs, at) for at in range(2, len(inputs))]
    names = [info.name for info in body.input]
    results = [info.name for info in body.output]
    if len(names) != 2 + len(carried) or len(results) < 1 + len(carried):
        raise ModelError("the body's inputs or outputs do not fit what the Loop carries")
    scanned: list[list[Tensor]] = [[] for _ in results[1 + len(carried) :]]

    def turn(at: int, state: Sequence[Tensor]) -> None:
        if at == count:
            if count == 0 and scanned:
                raise ModelError("a Loop without turns whose results are collected is not supported")
            walk.results(frame, node, [*state, *[concat(builder, parts, 0) for parts in scanned]])
            return
        inner = walk.enter_graph(frame, body)
        index = builder.constant(np.array(at, dtype=np.int64))
        for name, tensor in zip(names, [index, builder.scalar(True, DType.BOOL), *state], strict=True):
            inner.define(name, tensor)

        def finish() -> None:
            again = builder.content(inner.lookup(results[0]))
            if again is None:
                raise ModelError("a Loop whose condition is computed from data is not supported")
            if not again.ravel()[0] and at + 1 < count:
                raise ModelError("a Loop that ends before its trip count is not supported")
            after = [inner.lookup(name) for name in results[1:]]
            for parts, tensor in zip(scanned, after[len(state) :], strict=True):
                parts.append(builder.reshape(tensor, (1, *tensor.shape)))
            turn(at + 1, after[: len(state)])

        inner.finish = finish

    turn(0, carried)


MAX_TURNS = 1024
"""Most turns of a Loop that are written out."""

ENTER: Mapping[str, Enter] = {"If": _enter_if, "Loop": _enter_loop}
