"""Emulated Programs of a network beside onnxruntime: every value that a kernel stores and the model names.

A float value may differ by TOLERANCE of its largest magnitude, or by NOISE_FACTOR times what onnxruntime's
own outputs move between its optimisation levels. Outputs are held to that from end to end. An inner value
that misses it there is judged again with its kernel started from onnxruntime's operands: a value that
magnifies the rounding of all values before it (a gate that saturates) says nothing about its kernel.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from benchmarks.networks import Network, feeds_of
from tilewright.compiler_core.checking.emulate import emulate
from tilewright.compiler_core.checking.sampled import Sampled, emulate_sample, sample_of
from tilewright.compiler_core.ir.ops import Array
from tilewright.compiler_core.lowering.program import Program
from tilewright.compiler_core.meaning.interpret import interpret
from tilewright.compiler_core.onnx_import.importer import ImportedModel
from tilewright.compiler_core.onnx_import.reference import named_values, reference_values

TOLERANCE = 1e-4
NOISE_FACTOR = 5.0
STEP_SHARE = 1e-3
"""Share of the elements of an integer value that may be more than one step away."""


@dataclass(frozen=True)
class Agreement:
    """The worst of the compared values, in units of what it may differ by: fine up to 1.

    `restarted` names the values that were judged with their kernel started from onnxruntime's operands.
    """

    values: int
    worst: float
    where: str
    restarted: tuple[str, ...] = ()


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
        errors = self._errors(program, restart=self.quantized)
        outputs = {name for name, _ in self.model.outputs}
        missed = tuple(name for name, error in errors.items() if not error <= 1 and name not in outputs)
        if missed and not self.quantized:
            restarted = self._errors(program, restart=True)
            errors |= {name: restarted[name] for name in missed}
        return _agreement(errors, () if self.quantized else missed)

    def compare_sampled(self, program: Program) -> tuple[Agreement, Sampled]:
        """Interpret the network and compare it; then run some tiles of every kernel on its values.

        A tile must store what the interpreter has there, within the same tolerance.
        """
        errors = {
            name: self._error(name, self.whole[v], self.values[name]) for name, v in self.number_of.items()
        }
        sampled, chosen = sample_of(program, self.seed)
        for box, wanted in emulate_sample(self.model.graph, self.whole, chosen):
            name = self.model.graph.name_of(box.value)
            error = self._error(
                name, box.elements, wanted, float(np.abs(self.whole[box.value]).max(initial=0))
            )
            errors[f"tiles of {name}"] = max(error, errors.get(f"tiles of {name}", 0.0))
        return _agreement(errors, ()), sampled

    @cached_property
    def whole(self) -> dict[int, Array]:
        """Every value of the network, by the interpreter."""
        return interpret(self.model.graph, {value: self.feeds[name] for name, value in self.model.inputs})

    def _errors(self, program: Program, *, restart: bool) -> dict[str, float]:
        """Of every stored value with a name; `restart`: every kernel starts from onnxruntime's operands."""
        inputs = {value: self.feeds[name] for name, value in self.model.inputs}
        known = {self.number_of[name]: array for name, array in self.values.items()}
        got = emulate(self.model.graph, program, inputs, known if restart else None)
        return {
            name: self._error(name, got[value], self.values[name])
            for name, value in self.number_of.items()
            if value in got
        }

    def _error(self, name: str, got: Array, wanted: Array, largest: float | None = None) -> float:
        if got.shape != wanted.shape or got.dtype != wanted.dtype:
            return float("inf")
        if not got.size:
            return 0.0
        if got.dtype.kind in "iu":
            steps = np.abs(got.astype(np.int64) - wanted.astype(np.int64))
            return float((steps > 1).mean()) / STEP_SHARE
        return _relative(got, wanted, largest) / max(TOLERANCE, NOISE_FACTOR * self.network.noise_rel)


def _agreement(errors: Mapping[str, float], restarted: tuple[str, ...]) -> Agreement:
    where = max(errors, key=lambda name: np.nan_to_num(errors[name], nan=np.inf), default="")
    return Agreement(len(errors), errors.get(where, 0.0), where, restarted)


def _relative(got: Array, wanted: Array, largest: float | None = None) -> float:
    """Largest difference over largest magnitude (of `wanted` unless it is given).

    Infinite where one is finite and the other is not.
    """
    finite = np.isfinite(wanted)
    if not np.array_equal(np.isfinite(got), finite):
        return float("inf")
    own, other = got[finite].astype(np.float64), wanted[finite].astype(np.float64)
    scale = float(np.abs(other).max(initial=0.0)) if largest is None else largest
    return float(np.abs(own - other).max(initial=0.0)) / max(scale, 1e-30)
