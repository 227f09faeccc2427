"""Emulated Programs of a network beside onnxruntime: every value that a kernel stores and the model names.

A float value may differ by TOLERANCE of its largest magnitude, or by NOISE_FACTOR times what onnxruntime's
own answers move between its optimisation levels: at the outputs (from the manifest) or at that very value.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from benchmarks.networks import Network, feeds_of
from compiler_core.emulate import emulate
from compiler_core.onnx_import.importer import ImportedModel
from compiler_core.onnx_import.reference import named_values, reference_values
from compiler_core.ops import Array
from compiler_core.program import Program

TOLERANCE = 1e-4
NOISE_FACTOR = 5.0
STEP_SHARE = 1e-3
"""Share of the elements of an integer value that may be more than one step away."""


@dataclass(frozen=True)
class Agreement:
    """The worst of the compared values, in units of what it may differ by: fine up to 1."""

    values: int
    worst: float
    where: str


@dataclass(frozen=True)
class Reference:
    """What onnxruntime, without optimisations, computes for a network on seeded inputs.

    A network that holds integer arithmetic (QDQ) is compared value by value: every kernel starts from
    onnxruntime's operands, so that one step here does not grow into many further down.
    """

    network: Network
    model: ImportedModel
    seed: int

    @cached_property
    def feeds(self) -> dict[str, Array]:
        """Inputs by name."""
        return feeds_of(self.model, self.seed)

    @cached_property
    def quantized(self) -> bool:
        """Whether the network keeps integers of its own."""
        return any(op.kind in ("quantize", "dequantize") for op in self.model.graph.ops)

    @cached_property
    def values(self) -> dict[str, Array]:
        """Arrays of all values that both sides have under a name."""
        names = named_values(self.network.path, self.model)
        return reference_values(self.network.path, list(names), self.feeds)

    @cached_property
    def number_of(self) -> dict[str, int]:
        """From those names to values of the Graph."""
        return named_values(self.network.path, self.model)

    def compare(self, program: Program) -> Agreement:
        """Emulate `program` in the model's dtype and compare what it stores."""
        inputs = {value: self.feeds[name] for name, value in self.model.inputs}
        known = {self.number_of[name]: array for name, array in self.values.items()}
        got = emulate(self.model.graph, program, inputs, known if self.quantized else None)
        worst, where, compared = 0.0, "", 0
        for name, value in self.number_of.items():
            if value in got:
                compared += 1
                error = self._error(name, got[value], self.values[name])
                if not error <= worst:
                    worst, where = error, name
        return Agreement(compared, worst, where)

    def _error(self, name: str, got: Array, wanted: Array) -> float:
        if got.shape != wanted.shape or got.dtype != wanted.dtype:
            return float("inf")
        if not got.size:
            return 0.0
        if got.dtype.kind in "iu":
            steps = np.abs(got.astype(np.int64) - wanted.astype(np.int64))
            return float((steps > 1).mean()) / STEP_SHARE
        allowed = max(TOLERANCE, NOISE_FACTOR * self.network.noise_rel)
        error = _relative(got, wanted)
        if allowed < error < float("inf"):
            noisy = reference_values(self.network.path, [name], self.feeds, optimised=True)[name]
            allowed = max(allowed, NOISE_FACTOR * _relative(noisy, wanted))
        return error / allowed


def _relative(got: Array, wanted: Array) -> float:
    """Largest difference over largest magnitude; infinite where one is finite and the other is not."""
    finite = np.isfinite(wanted)
    if not np.array_equal(np.isfinite(got), finite):
        return float("inf")
    own, other = got[finite].astype(np.float64), wanted[finite].astype(np.float64)
    largest = max(float(np.abs(other).max(initial=0.0)), 1e-30)
    return float(np.abs(own - other).max(initial=0.0)) / largest
