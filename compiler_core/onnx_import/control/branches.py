"""If: a branch that is known is entered; where data decide, both are computed and one result is chosen."""

from dataclasses import dataclass

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.onnx_import.building.builder import Tensor
from tilewright.compiler_core.onnx_import.building.context import Context
from tilewright.compiler_core.onnx_import.building.frames import Frame
from tilewright.compiler_core.onnx_import.building.node import Node
from tilewright.compiler_core.onnx_import.building.values import (
    Value,
    leaves,
    same_structure,
    tensor_of,
    with_leaves,
)
from tilewright.compiler_core.onnx_import.operators.sequences import Values
from tilewright.compiler_core.onnx_import.walk import ImportWalk


def enter_if(walk: ImportWalk, frame: Frame, node: Node, inputs: Values) -> None:
    """If with a known condition is the branch taken; otherwise both branches, and a select of each result."""
    condition = tensor_of(inputs[0], "the condition") if inputs and inputs[0] is not None else None
    if condition is None:
        raise ModelError("input 0 is missing")
    branches = [node.graph("then_branch"), node.graph("else_branch")]
    for branch in branches:
        if len(branch.output) != len(node.outputs):
            raise ModelError("a branch has another number of outputs than the node")
    content = walk.context.builder.content(condition)
    if content is not None:
        if content.size != 1:
            raise ModelError("the condition must have one element")
        branch = branches[0] if content.ravel()[0] else branches[1]
        taken = walk.enter_graph(frame, branch)
        names = [output.name for output in branch.output]
        taken.finish = lambda: walk.results(frame, node, [taken.lookup(name) for name in names])
        return
    chosen = walk.enter_graph(frame, branches[0])

    def then_done() -> None:
        other = walk.enter_graph(frame, branches[1])

        def else_done() -> None:
            triples = zip(node.outputs, branches[0].output, branches[1].output, strict=True)
            results = [
                _chosen(
                    _Choice(walk.context, node, condition, name),
                    chosen.lookup(left.name),
                    other.lookup(right.name),
                )
                for name, left, right in triples
            ]
            walk.results(frame, node, results)

        other.finish = else_done

    chosen.finish = then_done


@dataclass(frozen=True, eq=False)
class _Choice:
    """One output of an If whose condition data decide."""

    context: Context
    node: Node
    condition: Tensor
    output: str

    @property
    def undecided(self) -> str:
        """The message that the condition is not known, and what to bind."""
        return self.context.undecided(self.condition, "the condition")


def _chosen(choice: _Choice, one: Value, two: Value) -> Value:
    """The result of one branch or the other, by the condition at run time."""
    if not same_structure(one, two):
        raise ModelError(
            "the branches of an If give a tensor and something else, or sequences of different lengths,"
            f" and {choice.undecided}"
        )
    pairs = zip(leaves([one]), leaves([two]), strict=True)
    (made,) = with_leaves([one], [_selected(choice, left, right) for left, right in pairs])
    return made


def _selected(choice: _Choice, one: Tensor, two: Tensor) -> Tensor:
    context, builder = choice.context, choice.context.builder
    if one.rank != two.rank or one.dtype is not two.dtype:
        raise ModelError(
            f"the branches of an If give {one.type} and {two.type}, which differ in rank or type, and"
            f" {choice.undecided}"
        )
    if one.shape == two.shape:
        scalar = builder.reshape(choice.condition, ())
        return builder.elementwise("where", scalar, one, two, dtype=one.dtype)
    shape = tuple(
        a if a == b else context.fresh(choice.node, f"dim_{dim}", choice.output)
        for dim, (a, b) in enumerate(zip(one.shape, two.shape, strict=True))
    )
    return context.host(choice.node, "choose", [choice.condition, one, two], [(shape, one.dtype)])[0]
