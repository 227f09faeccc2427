"""Steps of a library that numpy runs: ops without machine code, between the parts of the code.

Part 0 of the code is run, then the steps `after` 1 part, then part 1, and so on. Operands and results lie in
the memory that the code works on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from tilewright.runtime.errors import LibraryError
from tilewright.runtime.host.meanings import MEANINGS, Array, fitted
from tilewright.runtime.manifest import DTYPES, Manifest, number

FIRST, LINE = 128, 64
"""The byte of the arena at which values begin, and what every place is a multiple of."""
MOST_OPERANDS = 64
REFUSED = ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, TypeError, ValueError


@dataclass(frozen=True)
class Slot:
    """An array: from byte `at` of the arena or the weights on, or input or output number `at`."""

    region: str
    at: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """The size of its elements."""
        return self.dtype.itemsize * prod(self.shape)


@dataclass(frozen=True)
class HostStep:
    """Result `output` of op `function`, run once `after` parts of the code are; `name` is the model's."""

    name: str
    function: str
    output: int
    attributes: tuple[tuple[str, Any], ...]
    after: int
    operands: tuple[Slot, ...]
    result: Slot


def read_steps(manifest: Manifest) -> tuple[HostStep, ...]:
    """The steps that a manifest lists, in order; LibraryError where one cannot be run."""
    told = manifest.facts.get("host", [])
    if not isinstance(told, list):
        raise LibraryError("the manifest's host ops are no list")
    steps: list[HostStep] = []
    for position, each in enumerate(told):
        try:
            step = _step(each, manifest)
            before = steps[-1].after if steps else 0
            if step.after not in (max(before, 1), before + 1):
                raise ValueError(f"it runs after {step.after} parts, and the one before after {before}")
        except KeyError as error:
            raise LibraryError(f"host op {position} of the manifest: {error} is missing") from None
        except (AttributeError, TypeError, ValueError) as error:
            raise LibraryError(f"host op {position} of the manifest: {error}") from None
        steps.append(step)
    return tuple(steps)


def run_steps(steps: Sequence[HostStep], view: Callable[[Slot], Array]) -> None:
    """Run steps one after the other on the arrays behind their slots; LibraryError where data do not fit."""
    known: object = None
    results: Sequence[Array] = ()
    for step in steps:
        wanted = step.function, step.attributes, step.operands
        try:
            with np.errstate(all="ignore"):
                if known != wanted:  # an op of several results is one step for each
                    operands = [view(slot) for slot in step.operands]
                    results, known = MEANINGS[step.function](operands, dict(step.attributes)), wanted
                made = np.asarray(results[step.output], dtype=step.result.dtype)
                view(step.result)[...] = fitted(made, step.result.shape)
        except REFUSED as error:
            raise LibraryError(f"{step.name} refuses the data that it reads: {error}") from None


def _step(told: dict[str, Any], manifest: Manifest) -> HostStep:
    function, attributes, operands = told["op"], told["attributes"], told["operands"]
    if function not in MEANINGS:
        raise ValueError(f"{function!r} is no op that the runtime knows; it may be of a later release")
    if not isinstance(operands, list) or len(operands) > MOST_OPERANDS:
        raise ValueError("operands are no short list")
    for key, value in attributes.items():
        if not isinstance(value, bool | int | float | str):
            raise ValueError(f"attribute {key!r}")
    result = _slot(told["result"], manifest)
    if result.region not in ("arena", "outputs"):
        raise ValueError(f"a result cannot lie in {result.region}")
    return HostStep(
        str(told["name"]),
        function,
        number(told["output"]),
        tuple(sorted(attributes.items())),
        number(told["after"]),
        tuple(_slot(each, manifest) for each in operands),
        result,
    )


def _slot(told: dict[str, Any], manifest: Manifest) -> Slot:
    region, at, kind = told["region"], number(told["at"]), told["dtype"]
    shape = tuple(number(extent) for extent in told["shape"])
    if kind not in DTYPES or kind == "bfloat16":
        raise ValueError(f"dtype {kind!r}")
    slot = Slot(region, at, np.dtype(kind), shape)
    number(slot.bytes)
    if region in ("inputs", "outputs"):
        operands = manifest.inputs if region == "inputs" else manifest.outputs
        if at >= len(operands) or (operands[at].dtype, operands[at].shape) != (slot.dtype, shape):
            raise ValueError(f"{region} have no {kind}{list(shape)} at {at}")
        return slot
    ends = {"arena": manifest.values_bytes, "weights": manifest.weights.bytes}
    first = FIRST if region == "arena" else 0
    if region not in ends or at % LINE or not first <= at <= at + slot.bytes <= ends[region]:
        raise ValueError(f"{kind}{list(shape)} does not lie in {region!r} at {at}")
    return slot
