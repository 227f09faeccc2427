"""SequenceMap: a body for every element of a sequence."""

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.onnx_import.building.builder import Tensor
from tilewright.compiler_core.onnx_import.building.frames import Frame
from tilewright.compiler_core.onnx_import.building.node import Node
from tilewright.compiler_core.onnx_import.building.values import (
    StackedSequence,
    TensorSequence,
    Value,
    tensor_of,
)
from tilewright.compiler_core.onnx_import.operators.sequences import Values, unstacked
from tilewright.compiler_core.onnx_import.walk import ImportWalk


def enter_sequence_map(walk: ImportWalk, frame: Frame, node: Node, inputs: Values) -> None:
    """The body at every element of input 0; further sequences give their elements, tensors themselves."""
    body = node.graph("body")
    given = [
        unstacked(walk.context.builder, value)
        if isinstance(value, StackedSequence | TensorSequence)
        else value
        for value in inputs
    ]
    if not given or not isinstance(given[0], TensorSequence):
        raise ModelError("input 0 is not a sequence")
    count = given[0].length
    if len(body.input) != len(given) or len(body.output) != len(node.outputs):
        raise ModelError("the body's inputs or outputs do not fit those of the SequenceMap")
    if any(isinstance(value, TensorSequence) and value.length != count for value in given):
        raise ModelError("the sequences of a SequenceMap differ in length")
    if not count:
        raise ModelError("a SequenceMap over an empty sequence is not supported")
    made: list[list[Tensor]] = [[] for _ in body.output]

    def at(turn: int) -> None:
        if turn == count:
            results: list[Value] = [TensorSequence(tuple(parts), parts[0].dtype) for parts in made]
            walk.results(frame, node, results)
            return
        inner = walk.enter_graph(frame, body)
        for info, value in zip(body.input, given, strict=True):
            if value is None:
                raise ModelError("an input of a SequenceMap is missing")
            inner.define(info.name, value.known()[turn] if isinstance(value, TensorSequence) else value)

        def finish() -> None:
            for parts, info in zip(made, body.output, strict=True):
                parts.append(tensor_of(inner.lookup(info.name), "a result of the body"))
            at(turn + 1)

        inner.finish = finish

    at(0)
