"""Workloads from plain descriptions, for a compiler with an IR of its own: no ONNX, no file.

    convolution(Operand((1, 64, 56, 56)), Operand((64, 64, 3, 3), level="constant"), pads=1, epilogue=(
        Step("add", Operand((64,), level="constant"), along=(1,)), Step("relu")))

gives the Workload, and so the database key, that importing the same network gives. Levels say where operands
live: `llb`, `dram`, or `constant` (DRAM, packed by the compiler). Importing this loads no tuning machinery.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tilewright.compiler_core.digest import canonical_json
from tilewright.compiler_core.errors import UsageError
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.ir.graph_json import workload_to_json
from tilewright.compiler_core.ir.index_map import IndexExpr, affine, axis_index, constant_index
from tilewright.compiler_core.ir.ops import OPS, AttributeValue
from tilewright.compiler_core.ir.workload import Level, Workload, kernel_of
from tilewright.compiler_core.onnx_import.building.builder import Builder, Tensor, aligned
from tilewright.compiler_core.onnx_import.building.builder import Operand as BuilderOperand
from tilewright.compiler_core.transforms.simplify import simplify
from tilewright.db.records import WorkloadKind, WorkloadRow


@dataclass(frozen=True)
class Operand:
    """A tensor read from outside the kernel: extents, element type (`f16`, `i8`...), and where it lives."""

    shape: tuple[int, ...]
    dtype: str = "f32"
    level: str = "dram"


@dataclass(frozen=True)
class ElementwiseStep:
    """An elementwise op on the kernel's result so far and, for an op of two operands, another tensor.

    `along` gives the result dim of each dim of the tensor; without it they meet from the last dim, as numpy's
    do. `attributes` are those of the op's row, as in `{"low": 0.0, "high": 6.0}` of a clip.
    """

    kind: str
    operand: Operand | None = None
    along: tuple[int, ...] | None = None
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)


def contraction(
    equation: str,
    left: Operand,
    right: Operand,
    *,
    epilogue: Sequence[ElementwiseStep] = (),
    level: str = "dram",
) -> Workload:
    """A sum of products as in `contraction("mk,kn->mn", a, b)`: letters not kept are summed.

    `level` is where the result goes. UsageError when the letters do not fit the operands.
    """
    terms, arrow, kept = equation.replace(" ", "").partition("->")
    letters = terms.split(",")
    extents: dict[str, int] = {}
    if not arrow or [len(term) for term in letters] != [len(left.shape), len(right.shape)]:
        raise UsageError(f"equation {equation!r} does not name each dim of two operands, as in mk,kn->mn")
    for term, operand in zip(letters, (left, right), strict=True):
        for letter, extent in zip(term, operand.shape, strict=True):
            if extents.setdefault(letter, extent) != extent:
                raise UsageError(f"equation {equation!r}: {letter!r} is {extents[letter]} and {extent}")
    if len(set(kept)) != len(kept) or not set(kept) <= extents.keys():
        raise UsageError(f"equation {equation!r}: the result names a dim twice, or one of no operand")
    order = [*kept, *(letter for letter in extents if letter not in kept)]
    kernel = _Kernel()
    operands = [
        (kernel.read(operand), [axis_index(order.index(letter)) for letter in term])
        for term, operand in zip(letters, (left, right), strict=True)
    ]
    domain = [extents[letter] for letter in order]
    dtype = operands[0][0].dtype
    result = kernel.builder.op("contract", domain, operands, dtype, reduced=len(order) - len(kept))
    return kernel.finished(result, epilogue, level)


def convolution(
    image: Operand,
    weight: Operand,
    *,
    strides: int | Sequence[int] = 1,
    pads: int | Sequence[tuple[int, int]] = 0,
    dilations: int | Sequence[int] = 1,
    groups: int = 1,
    epilogue: Sequence[ElementwiseStep] = (),
    level: str = "dram",
) -> Workload:
    """Image [N, C, *spatial] with weight [M, C / groups, *taps]; `pads` are (begin, end) a spatial dim.

    `groups` is 1 or, where every channel is on its own, C. UsageError when the shapes do not fit.
    """
    spatial = len(image.shape) - 2
    if spatial < 1 or len(weight.shape) != len(image.shape):
        raise UsageError(f"image {image.shape} and weight {weight.shape} do not make a convolution")
    filters, per_group = weight.shape[:2]
    if groups not in (1, image.shape[1]) or per_group * groups != image.shape[1] or filters % groups:
        raise UsageError(
            f"image {image.shape} and weight {weight.shape} do not fit groups={groups}; "
            "give 1, or the number of channels"
        )
    steps, gaps = _per_dim(strides, spatial), _per_dim(dilations, spatial)
    edges = [(pads, pads)] * spatial if isinstance(pads, int) else list(pads)
    outputs = [
        (size + begin + end - (tap - 1) * gap - 1) // step + 1
        for size, tap, step, gap, (begin, end) in zip(
            image.shape[2:], weight.shape[2:], steps, gaps, edges, strict=True
        )
    ]
    if min(outputs) < 1:
        raise UsageError(f"a window of {weight.shape[2:]} does not fit an image of {image.shape[2:]}")
    channels = [per_group] if groups == 1 else []
    first_tap = 2 + spatial + len(channels)
    channel: IndexExpr = axis_index(2 + spatial) if channels else affine((1, 1), divisor=filters // groups)
    window = [
        affine((2 + index, step), (first_tap + index, gap), offset=-begin)
        for index, (step, gap, (begin, _)) in enumerate(zip(steps, gaps, edges, strict=True))
    ]
    taps = [axis_index(first_tap + index) for index in range(spatial)]
    kernel = _Kernel()
    x, w = kernel.read(image), kernel.read(weight)
    operands: list[BuilderOperand] = [
        (x, [axis_index(0), channel, *window], 0.0),
        (w, [axis_index(1), axis_index(2 + spatial) if channels else constant_index(0), *taps]),
    ]
    domain = [image.shape[0], filters, *outputs, *channels, *weight.shape[2:]]
    result = kernel.builder.op("contract", domain, operands, x.dtype, reduced=len(channels) + spatial)
    return kernel.finished(result, epilogue, level)


def reduction(
    kind: str,
    operand: Operand,
    dims: Sequence[int],
    *,
    keep: bool = False,
    epilogue: Sequence[ElementwiseStep] = (),
    level: str = "dram",
) -> Workload:
    """`sum`, `prod`, `max` or `min` of an operand over `dims`, which stay as extent 1 with `keep`."""
    if kind not in OPS or OPS[kind].reducer is None or OPS[kind].contraction:
        raise UsageError(f"reduction {kind!r} is not one of sum, prod, max, min")
    if not dims or any(not 0 <= dim < len(operand.shape) for dim in dims):
        raise UsageError(f"dims {list(dims)} are not among those of shape {operand.shape}")
    kernel = _Kernel()
    result = kernel.builder.reduce(kind, kernel.read(operand), dims, keep=keep)
    return kernel.finished(result, epilogue, level)


def row_of(workload: Workload) -> WorkloadRow:
    """A kernel as a row of the database."""
    return WorkloadRow(
        workload.digest,
        workload.family_digest,
        WorkloadKind.KERNEL,
        canonical_json(list(workload.placement)),
        canonical_json(workload_to_json(workload)),
    )


class _Kernel:
    """One kernel under construction, and where each of its operands lives."""

    def __init__(self) -> None:
        self.builder = Builder()
        self._levels: dict[int, Level] = {}

    def read(self, operand: Operand) -> Tensor:
        tensor = self.builder.new_value(operand.shape, _dtype(operand.dtype))
        self._levels[tensor.value] = _level(operand.level)
        return tensor

    def finished(self, result: Tensor, epilogue: Sequence[ElementwiseStep], level: str) -> Workload:
        for step in epilogue:
            result = self._after(result, step)
        graph, places = simplify(
            Graph(
                values=tuple(self.builder.values),
                ops=tuple(self.builder.ops),
                inputs=tuple(self._levels),
                outputs=(result.value,),
            )
        )
        levels = {places[value]: where for value, where in self._levels.items()}
        levels[places[result.value]] = _level(level)
        return kernel_of(graph, range(len(graph.ops)), levels).workload

    def _after(self, result: Tensor, step: ElementwiseStep) -> Tensor:
        row = OPS.get(step.kind)
        if row is None or row.reducer is not None or row.arity != 1 + (step.operand is not None):
            raise UsageError(
                f"step {step.kind!r} is not an elementwise op of {1 + (step.operand is not None)} operands"
            )
        operands = [(result, [axis_index(dim) for dim in range(result.rank)])]
        if step.operand is not None:
            other = self.read(step.operand)
            along = step.along
            exprs = aligned(other.shape, result.shape) if along is None else list(map(axis_index, along))
            meets = [1 if e.projected_axis is None else result.shape[e.projected_axis] for e in exprs]
            if meets != list(other.shape):
                raise UsageError(f"step {step.kind!r}: shape {other.shape} does not fit {result.shape}")
            operands.append((other, exprs))
        attributes: dict[str, Any] = dict(step.attributes)
        return self.builder.op(step.kind, result.shape, operands, result.dtype, **attributes)


def _per_dim(number: int | Sequence[int], dims: int) -> list[int]:
    found = [number] * dims if isinstance(number, int) else list(number)
    if len(found) != dims or min(found) < 1:
        raise UsageError(f"{number} is not a positive number for each of {dims} spatial dims")
    return found


def _dtype(name: str) -> DType:
    if name not in set(DType):
        raise UsageError(f"dtype {name!r} is not one of {', '.join(DType)}")
    return DType(name)


def _level(name: str) -> Level:
    if name not in set(Level):
        raise UsageError(f"level {name!r} is not one of {', '.join(Level)}")
    return Level(name)
