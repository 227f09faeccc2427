"""The target's storage and accumulator types, as roundings of the model's numbers.

Short floats round to nearest even and saturate. An integer-only target holds floats as integers: one scale a
value, its largest magnitude on the data at hand over 127 (of 32767 in 16 bits), zero at zero; sums of such
products are exact in 32 bits. Values that the target stores as the model does are left alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tilewright.compiler_core.ir.dtypes import DType, dtype_of
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.ir.ops import Array
from tilewright.compiler_core.target_model.target import Target


@dataclass(frozen=True)
class Precision:
    """The storage and accumulator types of a graph's values on a target, and the step of quantised ones."""

    stored_as: Mapping[int, DType]
    summed_in: Mapping[int, DType]
    step: Mapping[int, float]

    def stored(self, value: int, elements: Array) -> Array:
        """`elements` of a value after a round trip through its storage type."""
        if value in self.step:
            most = self.stored_as[value].limits[1]
            units = np.clip(np.rint(elements / self.step[value]), -most, most)
            return _saturated(units * self.step[value], elements.dtype)
        return _through(elements, self.stored_as.get(value))

    def summed(self, value: int, elements: Array) -> Array:
        """Partial sums of a value after a round trip through the accumulator type."""
        return elements if value in self.step else _through(elements, self.summed_in.get(value))


def _through(elements: Array, kind: DType | None) -> Array:
    if kind is None or not kind.is_float or dtype_of(elements.dtype).bits <= kind.bits:
        return elements
    return _saturated(elements, kind.numpy).astype(elements.dtype)


def _saturated(elements: Array, kind: np.dtype[Any]) -> Array:
    """`elements` rounded to a float type; beyond its range is its largest number, infinities stay."""
    most = dtype_of(kind).largest
    wide = elements.astype(np.float64)
    return np.where(np.isfinite(wide), np.clip(wide, -most, most), wide).astype(kind)


def precision_of(graph: Graph, target: Target, known: Mapping[int, Array]) -> Precision:
    """The storage types of the values of `graph` on `target`; `known` are all in the model's dtype, constants
    aside.
    """
    stored_as: dict[int, DType] = {}
    summed_in: dict[int, DType] = {}
    step: dict[int, float] = {}
    for value, kind in enumerate(graph.values):
        stored = target.storage_dtype(kind.dtype)
        if not kind.dtype.is_float or stored is kind.dtype:
            continue
        if value not in known and value not in graph.constants:
            continue
        stored_as[value], summed_in[value] = stored, target.accumulator_dtype(stored)
        if not stored.is_float:
            elements = known[value] if value in known else graph.constants[value]
            largest = float(np.abs(elements).max(initial=0.0, where=np.isfinite(elements)))
            step[value] = max(largest, 1e-30) / stored.limits[1]
    return Precision(stored_as, summed_in, step)


def described(target: Target) -> str:
    """One line for people: the storage and accumulator types of floats."""
    stored = target.storage_dtype(DType.F32)
    how = "" if stored.is_float else ", symmetric, one scale a value from its largest magnitude"
    return f"floats stored as {stored}{how}; sums in {target.accumulator_dtype(stored)}"
