"""Control flow: a branch that is known is entered, one that depends on data is computed both ways."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from compiler_core.errors import ModelError
from compiler_core.onnx_import.builder import Tensor
from compiler_core.onnx_import.context import required
from compiler_core.onnx_import.frames import Frame
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


ENTER: Mapping[str, Enter] = {"If": _enter_if}
