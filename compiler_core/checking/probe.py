"""Data on which a kernel or a network is tried out, and the verdict on what comes out of it.

Integers where every order of evaluation is exact on them: then outputs must agree bit for bit.
Elsewhere floats that keep chains of ops in range, and outputs are judged as every value is (judge.py), by the
running bound of all that lies between them and the inputs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod

import numpy as np

from tilewright.compiler_core.checking.judge_meaning import Meaning, meaning_of
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.ir.graph import Graph, Op
from tilewright.compiler_core.ir.ops import Array
from tilewright.compiler_core.meaning.interpret import interpret
from tilewright.compiler_core.meaning.tolerance import epsilon

SMALL, WIDE = 3, 100
"""Integers up to these are drawn: where sums go into sums, and elsewhere."""
STEPS = 32.0
"""How large sums are that become integers: an error that vanishes in the rounding is none that is seen."""


@dataclass(frozen=True, eq=False)
class Probe:
    """`given`: arrays for inputs and constants, by value; `outputs`: what ops make of them, in their dtypes.

    `meaning` gives the allowed outputs; without it they are exact. `calm`, where it is not empty, is like
    `given` of about unit gain, to be timed on: behind large sums an exponential is so small that a CPU takes
    a hundred cycles over it.
    """

    given: Mapping[int, Array]
    outputs: Mapping[int, Array]
    meaning: Mapping[int, Meaning]
    calm: Mapping[int, Array] = field(default_factory=dict)

    def objection(self, value: int, got: Array) -> str:
        """Which element of a computed output is wrong, and by how much; empty where it is right."""
        if value not in self.meaning:
            wrong = difference(got, self.outputs[value])
        else:
            judgement = self.meaning[value].judge(got)
            wrong = "" if judgement.ok else str(judgement)
        return f"output {value}: {wrong}" if wrong else ""


def probe_of(graph: Graph, seed: int, *, integers: bool = True) -> Probe:
    """Data for a graph in canonical numbering, drawn from `seed`; constants without data get some too."""
    exact = exact_probe(graph, seed) if integers else None
    if exact is not None:
        return exact
    gain = _gain_of(graph)
    given = _drawn(graph, seed, 0, gain)
    bare, inputs = _with(graph, given)
    with np.errstate(all="ignore"):
        meaning = meaning_of(bare, inputs, [value for value in graph.outputs if value in graph.producer])
    calm = _drawn(graph, seed, 0, 1.0) if gain != 1.0 else {}
    return Probe(given, {value: each.plain for value, each in meaning.items()}, meaning, calm)


def exact_probe(graph: Graph, seed: int) -> Probe | None:
    """Integers on which all orders of evaluation agree, as large as may be; None where there are none.

    None is zero: what multiplies or reads nothing but zeros shows no error.
    """
    if not all(op.row.exact for op in graph.ops):
        return None
    for most in dict.fromkeys((_largest_exact(graph), SMALL)):
        given = _drawn(graph, seed, most, 1.0)
        bare, inputs = _with(graph, given)
        if stays_exact(bare, inputs):
            return Probe(given, _outputs_of(bare, inputs), {})
    return None


def _largest_exact(graph: Graph) -> int:
    """Integers up to this stay exact where no sum goes into another; more than WIDE tell no more."""
    room = float(WIDE)
    for op in graph.ops:
        kind = graph.values[op.result].dtype
        terms = prod(op.extents[op.rank :])
        if kind.is_float and (op.row.contraction or terms > 1):
            sums = 0.5 / (epsilon(kind) * max(1, terms))
            room = min(room, sums**0.5 if op.row.contraction else sums)
    return max(SMALL, int(room))


def stays_exact(graph: Graph, inputs: Mapping[int, Array]) -> bool:
    """Whether every sum, in any order, is an integer its float holds: chains of contractions outgrow that."""
    floats = {value for value in range(len(graph.values)) if graph.values[value].dtype.is_float}
    if not floats:
        return True
    if graph.constants:
        sizes = {value: np.abs(array) for value, array in graph.constants.items()}
        graph = Graph(graph.values, graph.ops, graph.inputs, graph.outputs, sizes)
    with np.errstate(all="ignore"):
        sums = interpret(graph, {value: np.abs(array) for value, array in inputs.items()})
    return all(
        float(np.max(np.abs(sums[value]), initial=0.0)) * epsilon(graph.values[value].dtype) < 1.0
        for value in floats & set(sums)
    )


def difference(got: Array, exact: Array) -> str:
    """The first element that is not bit for bit what it should be; empty where none is."""
    if got.shape != exact.shape or got.dtype != exact.dtype:
        return f"it is {got.dtype}{list(got.shape)}, not {exact.dtype}{list(exact.shape)}"
    differ = (got != exact) & ~((got != got) & (exact != exact))  # NaN equals NaN
    if not differ.any():
        return ""
    at = np.unravel_index(int(np.argmax(differ)), exact.shape)
    place = f" at [{', '.join(map(str, at))}]" if at else ""
    return f"{got[at]} instead of {exact[at]}{place}, on data that are exact"


def _outputs_of(graph: Graph, inputs: Mapping[int, Array]) -> dict[int, Array]:
    with np.errstate(all="ignore"):
        made = interpret(graph, inputs)
    return {value: made[value] for value in graph.outputs if value in graph.producer}


def _with(graph: Graph, given: Mapping[int, Array]) -> tuple[Graph, Mapping[int, Array]]:
    """The graph with constants that hold data, and the arrays of its inputs."""
    constants = {value: given[value] for value in graph.constants}
    bare = Graph(graph.values, graph.ops, graph.inputs, graph.outputs, constants)
    return bare, {value: given[value] for value in graph.inputs}


def _gain_of(graph: Graph) -> float:
    """The factor by which sums are drawn larger than usual."""
    return STEPS if any(_is_step(graph, op) for op in graph.ops) else 1.0


def _drawn(graph: Graph, seed: int, exact: int, gain: float) -> dict[int, Array]:
    """Integers of at most `exact`, or (0) floats where a dtype is one."""
    rng = np.random.default_rng(seed)
    return {value: _data(graph, value, rng, exact, gain) for value in (*graph.inputs, *graph.constants)}


def _is_step(graph: Graph, op: Op) -> bool:
    """Whether an op makes integers of reals."""
    reals = any(graph.values[access.value].dtype.is_float for access in op.operands)
    return reals and not graph.values[op.result].dtype.is_float


def _data(graph: Graph, value: int, rng: np.random.Generator, exact: int, gain: float) -> Array:
    shape, dtype = graph.shape(value), graph.values[value].dtype
    if not dtype.is_float:
        return _integers(graph, value, rng, exact)
    if exact:
        return np.asarray(_signed(rng, exact, shape), dtype=dtype.numpy)
    readers = [graph.ops[index] for index in graph.readers.get(value, ())]
    if readers and all(op.row.contraction for op in readers):
        # Sums stay as large as what they are made of; where they become integers, many of those.
        unit = (3.0 / max(1, prod(readers[0].extents[readers[0].rank :]))) ** 0.5
        return np.asarray(rng.uniform(-1.0, 1.0, shape) * unit * gain, dtype=dtype.numpy)
    return np.asarray(rng.uniform(0.5, 1.5, shape), dtype=dtype.numpy)


def _integers(graph: Graph, value: int, rng: np.random.Generator, exact: int) -> Array:
    """Places inside what they index; single ones that may be counts or zero points small; else wide ones."""
    shape, dtype = graph.shape(value), graph.values[value].dtype
    reads = [
        (graph.shape(access.value)[dim])
        for index in graph.readers.get(value, ())
        for access in graph.ops[index].operands
        for dim, expr in enumerate(access.exprs)
        if expr.source >= 0 and graph.ops[index].operands[expr.source].value == value
    ]
    if reads or dtype is DType.BOOL or prod(shape) <= 1:
        drawn = rng.integers(0, max(1, min([*reads, 2 if not reads else WIDE])), shape)
        return np.asarray(drawn, dtype=dtype.numpy)
    drawn = _signed(rng, min(int(dtype.limits[1]), exact or WIDE), shape)
    return np.asarray(np.abs(drawn) if dtype.limits[0] == 0 else drawn, dtype=dtype.numpy)


def _signed(rng: np.random.Generator, most: int, shape: tuple[int, ...]) -> Array:
    """Integers from one to `most`, with a sign. The last along each axis are of the largest.

    So a tail that is left out shows in what only looks for the largest.
    """
    drawn: Array = rng.integers(1, most + 1, shape)
    for axis in range(drawn.ndim):
        if shape[axis] > 1:
            drawn[(slice(None),) * axis + (-1,)] = most
    signed: Array = drawn * rng.choice([-1, 1], shape)
    return signed
