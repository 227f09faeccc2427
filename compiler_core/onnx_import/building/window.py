"""Windows over spatial dims: what convolutions and poolings have in common."""

from collections.abc import Sequence
from dataclasses import dataclass

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.dims import Dim, ceildiv, floordiv, known, maximum, minimum
from tilewright.compiler_core.ir.index_map import IndexExpr, affine
from tilewright.compiler_core.onnx_import.building.context import Context
from tilewright.compiler_core.onnx_import.building.node import Node

MAX_SPATIAL = 1 << 31


@dataclass(frozen=True)
class Window:
    """The spatial part of a convolution or pooling: a number a spatial dim, and the extents that come out."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begins: tuple[Dim, ...]
    ends: tuple[Dim, ...]
    outputs: tuple[Dim, ...]

    def exprs(self, first_output: int, first_kernel: int) -> list[IndexExpr]:
        """Index of each spatial dim of the input: stride * output + dilation * tap - padding."""
        return [
            affine((first_output + index, stride), (first_kernel + index, dilation), offset=begin * -1)
            for index, (stride, dilation, begin) in enumerate(
                zip(self.strides, self.dilations, self.begins, strict=True)
            )
        ]


def positive(node: Node, name: str, count: int, default: int = 1) -> tuple[int, ...]:
    """An attribute of one positive integer a spatial dim."""
    numbers = node.integers(name, [default] * count) or [default] * count
    if len(numbers) != count:
        raise ModelError(f"{name} has {len(numbers)} entries for {count} spatial dims")
    for number in numbers:
        if not 1 <= number < MAX_SPATIAL:
            raise ModelError(f"{name} holds {number}; it must be at least 1")
    return tuple(numbers)


def paddings(node: Node, count: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Attribute pads as begins and ends."""
    pads = node.integers("pads", [0] * 2 * count) or [0] * 2 * count
    if len(pads) != 2 * count:
        raise ModelError(f"pads has {len(pads)} entries for {count} spatial dims")
    for pad in pads:
        if not -MAX_SPATIAL < pad < MAX_SPATIAL:
            raise ModelError(f"pads holds {pad}, which is out of range")
    return tuple(pads[:count]), tuple(pads[count:])


def window_of(
    context: Context, node: Node, sizes: Sequence[Dim], kernel: Sequence[int], *, ceil_mode: bool = False
) -> Window:
    """The window an op's attributes describe over spatial extents `sizes`; ModelError where nothing fits.

    Open extents are asked to be large enough for one window.
    """
    count = len(sizes)
    if len(kernel) != count:
        raise ModelError(f"the kernel has {len(kernel)} dims for {count} spatial dims")
    strides, dilations = positive(node, "strides", count), positive(node, "dilations", count)
    auto_pad = node.text("auto_pad", "NOTSET")
    spans = [(size - 1) * dilation + 1 for size, dilation in zip(kernel, dilations, strict=True)]
    begins: list[Dim] = []
    ends: list[Dim] = []
    outputs: list[Dim] = []
    explicit = paddings(node, count)
    for index, (size, span, stride) in enumerate(zip(sizes, spans, strides, strict=True)):
        if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
            output = ceildiv(size, stride)
            total: Dim = (output - 1) * stride + span - size
            if isinstance(total, int):
                total = max(0, total)
            elif stride == 1:
                total = span - 1
            elif stride > span:
                total = maximum(0, total)
            smaller = floordiv(total, 2)
            begin = smaller if auto_pad == "SAME_UPPER" else total - smaller
            end = total - begin
        elif auto_pad in ("NOTSET", "VALID", ""):
            begin, end = (0, 0) if auto_pad == "VALID" else (explicit[0][index], explicit[1][index])
            room = size + begin + end - span
            output = (ceildiv(room, stride) if ceil_mode else floordiv(room, stride)) + 1
            if ceil_mode and isinstance(output, int) and (output - 1) * stride >= known(size + begin, "size"):
                output -= 1
            elif ceil_mode and not isinstance(output, int):
                # The last window begins inside the input or in front of it.
                output = minimum(output, ceildiv(size + begin, stride))
        else:
            raise ModelError(f"auto_pad {auto_pad!r} is not one of NOTSET, VALID, SAME_UPPER, SAME_LOWER")
        if isinstance(output, int) and output < 1:
            raise ModelError(
                f"spatial dim {index}: a window of {span} does not fit an input of {size}"
                f" with padding {begin}+{end}"
            )
        context.require_one(output)
        begins.append(begin)
        ends.append(end)
        outputs.append(output)
    return Window(tuple(kernel), strides, dilations, tuple(begins), tuple(ends), tuple(outputs))
