"""`tune verify`: does the Program that a user would run compute what onnxruntime computes?"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tilewright.compiler_core.checking.emulate import Seen, emulate
from tilewright.compiler_core.checking.verify import require_sound
from tilewright.compiler_core.errors import ModelError, UsageError
from tilewright.compiler_core.ir.dtypes import TensorType
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.ir.ops import Array
from tilewright.compiler_core.lowering.program import Program
from tilewright.compiler_core.meaning.interpret import interpret
from tilewright.compiler_core.onnx_import.reference import named_values, reference_values
from tilewright.compiler_core.target_model.precision import Precision, described, precision_of
from tilewright.tuner.verbs.lookup import compile_known

TOLERANCE = 1e-4
"""Of a value's largest magnitude; integers may differ by one step on one element in a thousand."""
MODEL, TARGET = "model", "target"
"""Whose dtypes a verification runs in."""


@dataclass(frozen=True)
class Deviation:
    """How far one value of the emulated Program is from the reference.

    `alone`: from end to end the value was further away; the figures are those of its kernel alone, started
    from the reference's operands.
    """

    name: str
    position: int
    max_abs: float
    max_rel: float
    cosine: float
    ok: bool
    alone: bool = False


@dataclass(frozen=True)
class Verdict:
    """All compared values in the order of the network; `ok` when every output and intermediate agrees.

    In the target's dtypes nothing has to agree: `dtype` says what floats were, and `ok` is always true.
    """

    model: str
    target: str
    values: tuple[Deviation, ...]
    dtype: str = MODEL

    @property
    def ok(self) -> bool:
        """Whether all values agree."""
        return self.dtype != MODEL or all(value.ok for value in self.values)

    @property
    def first_bad(self) -> Deviation | None:
        """The first value down the network that goes bad."""
        return next((value for value in self.values if not value.ok), None)


def verify(
    model: str | Path,
    target: str | Path,
    *,
    dims: Mapping[str, int] | None = None,
    objective: str = "latency",
    seed: int = 0,
    database: str | Path = "tilewright.db",
    dtype: str = MODEL,
) -> Verdict:
    """Emulate the best known Program of a network on seeded random inputs and compare with onnxruntime.

    Compared is every value that the model names and a kernel computes whole, outputs included. Values between
    that miss from end to end are judged again with their kernel started from onnxruntime's operands: what
    magnifies the rounding of everything before it says nothing about its own kernel. With `dtype` "target"
    every value is rounded as the target stores it, sums as it keeps them, and the error is told, not judged.
    """
    if dtype not in (MODEL, TARGET):
        raise UsageError(f"--dtype {dtype!r} is unknown; choose model or target")
    compiled = compile_known(model, target, objective=objective, dims=dims, database=database)
    session = compiled.session
    graph = compiled.graph
    require_sound(graph, compiled.program, session.target)
    rng = np.random.default_rng(seed)
    feeds = {
        name: _random(graph.values[value], graph.shape(value), rng) for name, value in session.model.inputs
    }
    inputs = {value: feeds[name] for name, value in session.model.inputs}
    precision = None
    if dtype == TARGET:
        precision = precision_of(graph, session.target, interpret(graph, inputs))
    got = _computed(graph, compiled.program, inputs, None, precision)
    names = {n: v for n, v in named_values(Path(model), session.model).items() if v in got}
    if not names and graph.ops:
        raise ModelError(f"model {session.model.name} names no value that a kernel stores")
    wanted = reference_values(Path(model), list(names), feeds) if names else {}
    position = {op.result: at for at, op in enumerate(graph.ops)}
    errors = {n: _compare(n, position[v], got[v], wanted[n]) for n, v in names.items() if v in position}
    outputs = {name for name, _ in session.model.outputs}
    missed = [name for name, error in errors.items() if not error.ok and name not in outputs]
    if missed and dtype == MODEL:
        started = {v: wanted[name] for name, v in names.items()}
        alone = _computed(graph, compiled.program, inputs, started, None)
        for name in missed:
            again = _compare(name, errors[name].position, alone[names[name]], wanted[name])
            errors[name] = replace(again, alone=True)
    return Verdict(
        session.model.name,
        session.target.name,
        tuple(sorted(errors.values(), key=lambda e: (e.position, e.name))),
        MODEL if dtype == MODEL else described(session.target),
    )


def _computed(
    graph: Graph,
    program: Program,
    inputs: Mapping[int, Array],
    instead: Mapping[int, Array] | None,
    precision: Precision | None,
) -> dict[int, Array]:
    """Every value that the Program stores, or that its tiles compute whole inside a kernel."""
    watched: dict[int, Seen] = {}
    stored = emulate(graph, program, inputs, instead, precision, watched)
    inner = {value: seen.array for value, seen in watched.items() if seen.whole}
    return {**inner, **stored}


def _random(kind: TensorType, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    if kind.dtype.is_float:
        return rng.standard_normal(shape).astype(kind.dtype.numpy)
    return rng.integers(0, 2, shape).astype(kind.dtype.numpy)


def _compare(name: str, position: int, got: Array, wanted: Array) -> Deviation:
    if got.shape != wanted.shape:
        raise ModelError(f"value {name}: shape {list(got.shape)} here, {list(wanted.shape)} in onnxruntime")
    own, other = got.astype(np.float64).reshape(-1), wanted.astype(np.float64).reshape(-1)
    finite = np.isfinite(other)
    same_elsewhere = np.array_equal(np.isfinite(own), finite)
    gap = np.abs(own[finite] - other[finite])
    largest = max(float(np.abs(other[finite]).max(initial=0.0)), 1e-30)
    most = float(gap.max(initial=0.0))
    norms = float(np.linalg.norm(own[finite]) * np.linalg.norm(other[finite]))
    cosine = float(own[finite] @ other[finite]) / norms if norms else 1.0
    if np.issubdtype(wanted.dtype, np.integer):
        ok = float((gap > 1).mean()) <= 1e-3 if gap.size else True
    else:
        ok = same_elsewhere and most <= TOLERANCE * largest
    return Deviation(name, position, most, most / largest, cosine, ok)
