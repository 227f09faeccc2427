"""Run a Graph in numpy: the meaning that every schedule of it must reproduce."""

from collections.abc import Mapping

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.ir.ops import Array
from tilewright.compiler_core.meaning.evaluate import Held, evaluate


def interpret(graph: Graph, inputs: Mapping[int, Array]) -> dict[int, Array]:
    """Every value of `graph` that an op makes, its inputs, and the constants that it gives.

    `inputs` are arrays of the declared shapes, by value.

    Raises ModelError when an input is missing or has another shape.
    """
    known: dict[int, Array] = {}
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
        read = [access.value for access in op.operands]
        operands = [_whole(known[v] if v in known else graph.constants[v]) for v in read]
        box = [(0, extent) for extent in op.extents]
        known[op.result] = evaluate(op, box, operands, graph.values[op.result])
    given = [value for value in graph.outputs if value not in known and value in graph.constants]
    return {**{value: graph.constants[value] for value in given}, **known}


def _whole(array: Array) -> Held:
    return Held(array, (0,) * array.ndim, array.shape)
