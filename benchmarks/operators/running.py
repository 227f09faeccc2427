"""Networks of a few operators run as they are: extents that data decide are those that come out."""

from collections.abc import Callable, Mapping

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.dims import bind, sizes_in
from tilewright.compiler_core.ir.graph import Graph, SymbolicConstants
from tilewright.compiler_core.ir.ops import Array, Unit
from tilewright.compiler_core.meaning.evaluate import Held, evaluate, on_host


def run_open(
    graph: Graph, inputs: Mapping[int, Array], after: Callable[[Array], Array] = lambda made: made
) -> dict[int, Array]:
    """Values of `graph` from arrays for its inputs; ModelError where extents turn out not to fit.

    `after` is done to what each op makes.
    """
    sizes: dict[str, int] = {}
    for value, array in inputs.items():
        sizes |= sizes_in(graph.values[value].shape, array.shape)
    made = dict(inputs)

    def known(value: int) -> Array:
        if value not in made:
            constants = graph.constants
            bound = constants.bound_to(sizes) if isinstance(constants, SymbolicConstants) else constants
            made[value] = bound[value]
        return made[value]

    for op in graph.ops:
        operands = [known(access.value) for access in op.operands]
        bound = op.bound_to(sizes)
        if op.row.unit is Unit.HOST:
            array = on_host(bound, operands, graph.values[op.result])
            if array.ndim != op.rank:
                raise ModelError(f"a result of rank {op.rank} comes out with shape {list(array.shape)}")
            sizes |= sizes_in(graph.values[op.result].shape, array.shape)
        else:
            held = [Held(array, (0,) * array.ndim, array.shape) for array in operands]
            box = [(0, extent) for extent in bound.extents]
            array = evaluate(bound, box, held, graph.values[op.result])
        made[op.result] = after(array)
    for left, right in graph.constraints:
        one, other = bind(left, sizes), bind(right, sizes)
        if isinstance(one, int) and isinstance(other, int) and one != other:
            raise ModelError(f"the model needs {left} ({one}) to equal {right} ({other})")
    return {value: known(value) for value in {*made, *graph.outputs}}
