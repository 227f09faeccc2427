"""`tune verify`: does the Program that a user would run compute what onnxruntime computes?"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from compiler_core.dtypes import TensorType
from compiler_core.emulate import emulate
from compiler_core.errors import ModelError
from compiler_core.onnx_import.reference import named_values, reference_values
from compiler_core.ops import Array
from compiler_core.verify import require_sound
from tuner.known import compile_known

TOLERANCE = 1e-4
"""Of a value's largest magnitude; integers may differ by one step on one element in a thousand."""


@dataclass(frozen=True)
class Deviation:
    """How far one value of the emulated Program is from the reference."""

    name: str
    position: int
    max_abs: float
    max_rel: float
    cosine: float
    ok: bool


@dataclass(frozen=True)
class Verdict:
    """All compared values in the order of the network; `ok` when every output and intermediate agrees."""

    model: str
    target: str
    values: tuple[Deviation, ...]

    @property
    def ok(self) -> bool:
        """Whether all values agree."""
        return all(value.ok for value in self.values)

    @property
    def first_bad(self) -> Deviation | None:
        """The first value down the network that goes bad."""
        return next((value for value in self.values if not value.ok), None)


def verify(
    model: Path,
    target: str | Path,
    *,
    dims: Mapping[str, int] | None = None,
    objective: str = "latency",
    seed: int = 0,
    database: str | Path = "tilewright.db",
) -> Verdict:
    """Emulate the best known Program of a network on seeded random inputs and compare with onnxruntime.

    Compared is every value that a kernel stores and that the model names, outputs included.
    """
    compiled = compile_known(model, target, objective=objective, dims=dims, database=database)
    session = compiled.session
    graph = session.graph
    require_sound(graph, compiled.program, session.target)
    rng = np.random.default_rng(seed)
    feeds = {
        name: _random(graph.values[value], graph.shape(value), rng) for name, value in session.model.inputs
    }
    got = emulate(graph, compiled.program, {value: feeds[name] for name, value in session.model.inputs})
    names = {n: v for n, v in named_values(model, session.model).items() if v in got}
    if not names:
        raise ModelError(f"model {session.model.name} names no value that a kernel stores")
    wanted = reference_values(model, list(names), feeds)
    position = {op.result: at for at, op in enumerate(graph.ops)}
    errors = [_compare(name, position[v], got[v], wanted[name]) for name, v in names.items() if v in position]
    return Verdict(
        session.model.name, session.target.name, tuple(sorted(errors, key=lambda e: (e.position, e.name)))
    )


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
