"""Run a Graph in numpy: the meaning that every schedule of it must reproduce."""

from collections.abc import Mapping

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.ir.ops import Array
from tilewright.compiler_core.meaning.evaluate import Held, evaluate


def interpret(graph: Graph, inputs: Mapping[int, Array]) -> dict[int, Array]:
    """Every value of `graph`, from arrays for its inputs (value -> array of the declared shape).

    Raises ModelError when an input is missing or has another shape.
    """
    known: dict[int, Array] = dict(graph.constants)
    for value in graph.inputs:
        if value not in inputs:
            raise ModelError(
                f"input {graph.name_of(value)!r} got no array; give one of {graph.values[value]}"
            )
        if inputs[value].shape != graph.shape(value):
            raise ModelError(
                f"input {graph.name_of(value)!r} got shape {list(inputs[value].shape)},"
                f" the model takes {list(graph.shape(value))}"
            )
        known[value] = inputs[value].astype(graph.values[value].dtype.numpy, copy=False)
    for op in graph.ops:
        operands = [_whole(known[access.value]) for access in op.operands]
        box = [(0, extent) for extent in op.extents]
        known[op.result] = evaluate(op, box, operands, graph.values[op.result])
    return known


def _whole(array: Array) -> Held:
    return Held(array, (0,) * array.ndim, array.shape)
