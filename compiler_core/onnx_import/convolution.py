"""Conv and ConvTranspose of any rank as contractions: windows, groups and strides live in the index maps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from compiler_core.dims import Dim, ceildiv, floordiv, known
from compiler_core.dtypes import DType
from compiler_core.errors import ModelError
from compiler_core.index_map import IndexExpr, affine, axis_index, constant_index
from compiler_core.onnx_import.builder import Builder, Tensor
from compiler_core.onnx_import.context import Build, Context, Inputs, optional, required
from compiler_core.onnx_import.node import Node
from compiler_core.onnx_import.quantized_contraction import dequantized, quantized_pair

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
            affine((first_output + at, stride), (first_kernel + at, dilation), offset=begin * -1)
            for at, (stride, dilation, begin) in enumerate(
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


def window_of(node: Node, sizes: Sequence[Dim], kernel: Sequence[int], *, ceil_mode: bool = False) -> Window:
    """The window an op's attributes describe over spatial extents `sizes`; ModelError where nothing fits."""
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
    for at, (size, span, stride) in enumerate(zip(sizes, spans, strides, strict=True)):
        if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
            output = ceildiv(size, stride)
            total: Dim = (output - 1) * stride + span - size
            if isinstance(total, int):
                total = max(0, total)
            elif stride == 1:
                total = span - 1
            smaller = floordiv(total, 2)
            begin = smaller if auto_pad == "SAME_UPPER" else total - smaller
            end = total - begin
        elif auto_pad in ("NOTSET", "VALID", ""):
            begin, end = (0, 0) if auto_pad == "VALID" else (explicit[0][at], explicit[1][at])
            room = size + begin + end - span
            output = (ceildiv(room, stride) if ceil_mode else floordiv(room, stride)) + 1
            if ceil_mode and isinstance(output, int) and (output - 1) * stride >= known(size + begin, "size"):
                output -= 1
        else:
            raise ModelError(f"auto_pad {auto_pad!r} is not one of NOTSET, VALID, SAME_UPPER, SAME_LOWER")
        if isinstance(output, int) and output < 1:
            raise ModelError(
                f"spatial dim {at}: a window of {span} does not fit an input of {size}"
                f" with padding {begin}+{end}"
            )
        begins.append(begin)
        ends.append(end)
        outputs.append(output)
    return Window(tuple(kernel), strides, dilations, tuple(begins), tuple(ends), tuple(outputs))


def grouped(builder: Builder, x: Tensor, w: Tensor, groups: int) -> tuple[Dim, int, int]:
    """Batch, input channels a group, output channels a group; ModelError where they do not fit."""
    if x.rank < 3 or w.rank != x.rank:
        raise ModelError(f"input of rank {x.rank} and weight of rank {w.rank} do not make a convolution")
    filters, per_group = known(w.shape[0], "the number of filters"), known(w.shape[1], "channels a group")
    if groups < 1 or filters % groups:
        raise ModelError(f"group {groups} does not divide {filters} filters")
    builder.equal(
        x.shape[1], groups * per_group, f"input channels and group ({groups}) times weight channels"
    )
    return x.shape[0], per_group, filters // groups


def contract_window(
    builder: Builder, x: Tensor, w: Tensor, groups: int, window: Window, dtype: DType, pad: float
) -> Tensor:
    """The sum of products of a convolution, [N, M, *outputs], reading `pad` outside the input."""
    batch, per_group, filters = grouped(builder, x, w, groups)
    spatial = len(window.outputs)
    taps = list(window.kernel)
    if groups == 1 or per_group == 1:
        # result axes n, m, y...; reduction axes c (unless depthwise), r...
        reduces_channels = groups == 1
        first_tap = 2 + spatial + reduces_channels
        if reduces_channels:
            channel, weight_channel = axis_index(2 + spatial), axis_index(2 + spatial)
        else:
            channel = affine((1, 1), divisor=filters)
            weight_channel = constant_index(0)
        x_exprs = [axis_index(0), channel, *window.exprs(2, first_tap)]
        w_exprs = [axis_index(1), weight_channel, *[axis_index(first_tap + at) for at in range(spatial)]]
        reduced = [per_group] * reduces_channels + taps
        domain = [batch, groups * filters, *window.outputs, *reduced]
        return builder.op("contract", domain, [(x, x_exprs, pad), (w, w_exprs)], dtype, reduced=len(reduced))
    # result axes n, g, m, y...; reduction axes c, r...
    first_tap = 4 + spatial
    channel = affine((1, per_group), (3 + spatial, 1))
    x_exprs = [axis_index(0), channel, *window.exprs(3, first_tap)]
    w_exprs = [
        affine((1, filters), (2, 1)),
        axis_index(3 + spatial),
        *[axis_index(first_tap + at) for at in range(spatial)],
    ]
    domain = [batch, groups, filters, *window.outputs, per_group, *taps]
    split = builder.op("contract", domain, [(x, x_exprs, pad), (w, w_exprs)], dtype, reduced=1 + spatial)
    return builder.reshape(split, (batch, groups * filters, *window.outputs))


def add_bias(builder: Builder, y: Tensor, bias: Tensor | None) -> Tensor:
    """`y` plus one number a channel (dim 1)."""
    if bias is None:
        return y
    if bias.rank != 1:
        raise ModelError(f"the bias has rank {bias.rank}; it must have rank 1")
    builder.equal(bias.shape[0], y.shape[1], "bias length and filters")
    return builder.elementwise("add", y, per_channel(builder, bias, y.rank))


def per_channel(builder: Builder, vector: Tensor, rank: int) -> Tensor:
    """A vector as [C, 1, ...], to broadcast along dim 1 of a tensor of `rank`."""
    return builder.reshape(vector, (vector.shape[0], *[1] * (rank - 2)))


def _conv(context: Context, node: Node, inputs: Inputs) -> Tensor:
    builder = context.builder
    x, w, bias = required(inputs, 0), required(inputs, 1), optional(inputs, 2)
    groups = node.integer("group", 1)
    grouped(builder, x, w, groups)
    kernel = tuple(known(extent, "a kernel extent") for extent in w.shape[2:])
    if node.has("kernel_shape") and tuple(node.integers("kernel_shape")) != kernel:
        raise ModelError(
            f"kernel_shape {node.integers('kernel_shape')} differs from the weight's {list(kernel)}"
        )
    window = window_of(node, x.shape[2:], kernel)
    pair = quantized_pair(context, x, w, output_dim=0)
    if pair is not None:
        sums = contract_window(builder, pair.left, pair.right, groups, window, DType.I32, pair.left_zero)
        return dequantized(context, pair, sums, bias, channel_dim=1)
    y = add_bias(builder, contract_window(builder, x, w, groups, window, x.dtype, 0.0), bias)
    if w.recipe is not None and (bias is None or bias.recipe is not None):

        def scaled(scale: Tensor, shift: Tensor) -> Tensor:
            weight = builder.elementwise(
                "mul", w, builder.reshape(scale, (*scale.shape, *[1] * (w.rank - 1)))
            )
            offset = (
                shift
                if bias is None
                else builder.elementwise("add", builder.elementwise("mul", bias, scale), shift)
            )
            return add_bias(
                builder, contract_window(builder, x, weight, groups, window, x.dtype, 0.0), offset
            )

        y = replace(y, scaled=scaled)
    return y


def _conv_transpose(context: Context, node: Node, inputs: Inputs) -> Tensor:
    """Scatter form y[s*i + d*k - pad] += x[i] * w[k] as a gather without wasted products.

    Output o = s*q + p - pad takes the taps k = s*t + p of input q - t: one contraction over (c, t) with
    result axes (q, p), read back as [(o + pad) // s, (o + pad) % s]. A dilated kernel gets its zeros
    written out.
    """
    builder = context.builder
    x, w, bias = required(inputs, 0), required(inputs, 1), optional(inputs, 2)
    groups = node.integer("group", 1)
    if x.rank < 3 or w.rank != x.rank:
        raise ModelError(f"input of rank {x.rank} and weight of rank {w.rank} do not make a convolution")
    if groups < 1 or known(w.shape[0], "input channels") % groups:
        raise ModelError(f"group {groups} does not divide {w.shape[0]} input channels")
    builder.equal(x.shape[1], w.shape[0], "input channels and weight channels")
    spatial = x.rank - 2
    strides, dilations = positive(node, "strides", spatial), positive(node, "dilations", spatial)
    w = _dilated(builder, w, dilations)
    kernel = [known(extent, "a kernel extent") for extent in w.shape[2:]]
    begins, outputs = _transposed_extents(node, x.shape[2:], kernel, strides)
    per_group, filters = known(w.shape[0], "channels") // groups, known(w.shape[1], "filters")
    counts = [
        ceildiv((size - 1) * stride + span, stride)
        for size, stride, span in zip(x.shape[2:], strides, kernel, strict=True)
    ]
    taps = [-(-span // stride) for span, stride in zip(kernel, strides, strict=True)]
    # axes: n, g, m, q..., p... | c, t...
    first_q, first_p = 3, 3 + spatial
    c, first_t = 3 + 2 * spatial, 4 + 2 * spatial
    channel = affine((1, per_group), (c, 1))
    x_exprs = [
        axis_index(0),
        channel,
        *[affine((first_q + at, 1), (first_t + at, -1)) for at in range(spatial)],
    ]
    w_exprs = [
        channel,
        axis_index(2),
        *[affine((first_t + at, stride), (first_p + at, 1)) for at, stride in enumerate(strides)],
    ]
    domain = [x.shape[0], groups, filters, *counts, *strides, per_group, *taps]
    phases = builder.op(
        "contract", domain, [(x, x_exprs, 0.0), (w, w_exprs, 0.0)], x.dtype, reduced=1 + spatial
    )
    exprs = [axis_index(0), affine((1, 1), divisor=filters), affine((1, 1), modulus=filters)]
    if groups == 1:
        exprs[1:] = [constant_index(0), axis_index(1)]
    for at, (stride, begin) in enumerate(zip(strides, begins, strict=True)):
        exprs.insert(3 + at, affine((2 + at, 1), offset=begin, divisor=stride))
    exprs += [
        affine((2 + at, 1), offset=begin, modulus=stride) if stride > 1 else constant_index(0)
        for at, (stride, begin) in enumerate(zip(strides, begins, strict=True))
    ]
    shape = (x.shape[0], groups * filters, *outputs)
    # Output padding reaches past the last product and reads zero.
    y = builder.op(
        "move" if _overhangs(outputs, begins, counts, strides) else "view",
        shape,
        [(phases, exprs, 0.0)] if _overhangs(outputs, begins, counts, strides) else [(phases, exprs)],
        x.dtype,
    )
    return add_bias(builder, y, bias)


def _overhangs(
    outputs: Sequence[Dim], begins: Sequence[Dim], counts: Sequence[Dim], strides: Sequence[int]
) -> bool:
    for output, begin, count, stride in zip(outputs, begins, counts, strides, strict=True):
        room = count * stride - begin - output
        if not isinstance(begin, int) or begin < 0:
            return True
        if isinstance(room, int):
            if room < 0:
                return True
        else:
            return True
    return False


def _dilated(builder: Builder, w: Tensor, dilations: Sequence[int]) -> Tensor:
    """The kernel with dilation - 1 zeros between taps: element k stands at dilation * k."""
    for at, dilation in enumerate(dilations, 2):
        if dilation > 1:
            extent = known(w.shape[at], "a kernel extent")
            spread = builder.reshape(w, (*w.shape[: at + 1], 1, *w.shape[at + 1 :]))
            exprs = [axis_index(dim) for dim in range(w.rank)]
            exprs[at : at + 1] = [
                affine((at, 1), divisor=dilation),
                affine((at, 1), modulus=dilation),
            ]
            shape = (*w.shape[:at], (extent - 1) * dilation + 1, *w.shape[at + 1 :])
            w = builder.op("move", shape, [(spread, exprs, 0.0)], w.dtype)
    return w


def _transposed_extents(
    node: Node, sizes: Sequence[Dim], kernel: Sequence[int], strides: Sequence[int]
) -> tuple[list[Dim], list[Dim]]:
    """Begin padding and output extent a spatial dim, by the rules of ONNX ConvTranspose."""
    count = len(sizes)
    extra = node.integers("output_padding", [0] * count) or [0] * count
    if len(extra) != count or any(not 0 <= number < MAX_SPATIAL for number in extra):
        raise ModelError(f"output_padding {extra} does not fit {count} spatial dims")
    explicit = paddings(node, count)
    auto_pad = node.text("auto_pad", "NOTSET")
    wanted = node.integers("output_shape", []) if node.has("output_shape") else None
    begins: list[Dim] = []
    outputs: list[Dim] = []
    for at, (size, span, stride) in enumerate(zip(sizes, kernel, strides, strict=True)):
        full = (size - 1) * stride + extra[at] + span
        if wanted is not None or auto_pad in ("SAME_UPPER", "SAME_LOWER"):
            output = wanted[-count:][at] if wanted is not None else size * stride
            total = full - output
            smaller = floordiv(total, 2)
            begin = smaller if auto_pad == "SAME_UPPER" else total - smaller
        else:
            begin = 0 if auto_pad == "VALID" else explicit[0][at]
            output = full - begin - (0 if auto_pad == "VALID" else explicit[1][at])
        if isinstance(output, int) and output < 1:
            raise ModelError(f"spatial dim {at}: the output extent is {output}")
        begins.append(begin)
        outputs.append(output)
    return begins, outputs


CONVOLUTIONS: Mapping[str, Build] = {"Conv": _conv, "ConvTranspose": _conv_transpose}
