"""Values of a model's names: a tensor, a sequence of tensors, or nothing.

An optional with an element is that element. Sequences have no place in a Graph: what is done to them is
slices and concats of their elements, so their structure has to be known.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.dims import Dim
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.onnx_import.building.builder import Tensor


@dataclass(frozen=True, eq=False)
class TensorSequence:
    """Tensors one after the other, as many as there are.

    `grows` marks the sequence that a loop of unknown length carries, as a step sees it: `elements` are then
    those that the step puts behind what was there.
    """

    elements: tuple[Tensor, ...]
    dtype: DType
    grows: bool = False

    @property
    def length(self) -> int:
        """The number of elements; ModelError where it depends on a loop's run."""
        return len(self.known())

    def known(self) -> tuple[Tensor, ...]:
        """The elements; ModelError where they depend on a loop's run."""
        if self.grows:
            raise ModelError(
                "a sequence that a loop makes longer is read in the loop; bind what the number of turns"
                " depends on, with --dim NAME=VALUE or --input NAME=VALUE"
            )
        return self.elements

    def appended(self, tensor: Tensor) -> "TensorSequence":
        """The same with one more element behind."""
        return replace(self, elements=(*self.elements, tensor))


@dataclass(frozen=True, eq=False)
class StackedSequence:
    """Tensors of one shape that lie along dim 0 of one tensor, as many as that is long."""

    stack: Tensor

    @property
    def length(self) -> Dim:
        """The number of elements."""
        return self.stack.shape[0]


@dataclass(frozen=True, eq=False)
class Absent:
    """An optional without an element."""


Value: TypeAlias = Tensor | TensorSequence | StackedSequence | Absent
ABSENT = Absent()
MAX_ELEMENTS = 4096
"""Most elements of a sequence."""


def tensor_of(value: Value, what: str) -> Tensor:
    """`value` where it is a tensor; ModelError naming `what` where it is not."""
    if isinstance(value, Tensor):
        return value
    kind = "an optional without an element" if isinstance(value, Absent) else "a sequence"
    raise ModelError(f"{what} is {kind}, where a tensor is expected")


def leaves(values: Sequence[Value]) -> list[Tensor]:
    """The tensors of `values`, in order."""
    found: list[Tensor] = []
    for value in values:
        match value:
            case Tensor():
                found.append(value)
            case TensorSequence():
                found.extend(value.elements)
            case StackedSequence():
                found.append(value.stack)
    return found


def with_leaves(values: Sequence[Value], tensors: Sequence[Tensor]) -> list[Value]:
    """`values` with other tensors for their own, as many and in the same order."""
    rest = iter(tensors)
    made: list[Value] = []
    for value in values:
        match value:
            case Tensor():
                made.append(next(rest))
            case TensorSequence():
                made.append(replace(value, elements=tuple(next(rest) for _ in value.elements)))
            case StackedSequence():
                made.append(StackedSequence(next(rest)))
            case Absent():
                made.append(value)
    return made


def same_structure(left: Value, right: Value) -> bool:
    """Whether two values are of the same kind, and sequences of the same number of elements."""
    if type(left) is not type(right):
        return False
    if isinstance(left, TensorSequence) and isinstance(right, TensorSequence):
        return len(left.elements) == len(right.elements) and left.grows is right.grows
    return True
