"""ConvTranspose as one contraction over the phases of its stride."""

from collections.abc import Mapping, Sequence

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.dims import Dim, at_most, ceildiv, floordiv, known, maximum
from tilewright.compiler_core.ir.index_map import affine, axis_index, constant_index
from tilewright.compiler_core.onnx_import.building.builder import Builder, Tensor
from tilewright.compiler_core.onnx_import.building.context import Build, Context, Inputs, optional, required
from tilewright.compiler_core.onnx_import.building.node import Node
from tilewright.compiler_core.onnx_import.building.window import MAX_SPATIAL, paddings, positive
from tilewright.compiler_core.onnx_import.operators.convolution import add_bias


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
        *[affine((first_q + index, 1), (first_t + index, -1)) for index in range(spatial)],
    ]
    w_exprs = [
        channel,
        axis_index(2),
        *[affine((first_t + index, stride), (first_p + index, 1)) for index, stride in enumerate(strides)],
    ]
    domain = [x.shape[0], groups, filters, *counts, *strides, per_group, *taps]
    phases = builder.op(
        "contract", domain, [(x, x_exprs, 0.0), (w, w_exprs, 0.0)], x.dtype, reduced=1 + spatial
    )
    exprs = [axis_index(0), affine((1, 1), divisor=filters), affine((1, 1), modulus=filters)]
    if groups == 1:
        exprs[1:] = [constant_index(0), axis_index(1)]
    for index, (stride, begin) in enumerate(zip(strides, begins, strict=True)):
        exprs.insert(3 + index, affine((2 + index, 1), offset=begin, divisor=stride))
    exprs += [
        affine((2 + index, 1), offset=begin, modulus=stride) if stride > 1 else constant_index(0)
        for index, (stride, begin) in enumerate(zip(strides, begins, strict=True))
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
    for index, dilation in enumerate(dilations, 2):
        if dilation > 1:
            extent = known(w.shape[index], "a kernel extent")
            spread = builder.reshape(w, (*w.shape[: index + 1], 1, *w.shape[index + 1 :]))
            exprs = [axis_index(dim) for dim in range(w.rank)]
            exprs[index : index + 1] = [
                affine((index, 1), divisor=dilation),
                affine((index, 1), modulus=dilation),
            ]
            shape = (*w.shape[:index], (extent - 1) * dilation + 1, *w.shape[index + 1 :])
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
    for index, (size, span, stride) in enumerate(zip(sizes, kernel, strides, strict=True)):
        full = (size - 1) * stride + extra[index] + span
        if wanted is not None or auto_pad in ("SAME_UPPER", "SAME_LOWER"):
            output = wanted[-count:][index] if wanted is not None else size * stride
            total = full - output
            if wanted is not None:
                # Positions beyond the products lie at the end, as zeros.
                total = total if at_most(0, total) else maximum(0, total)
            smaller = floordiv(total, 2)
            begin = smaller if auto_pad == "SAME_UPPER" else total - smaller
        else:
            begin = 0 if auto_pad == "VALID" else explicit[0][index]
            output = full - begin - (0 if auto_pad == "VALID" else explicit[1][index])
        if isinstance(output, int) and output < 0:
            raise ModelError(f"spatial dim {index}: the output extent is {output}")
        begins.append(begin)
        outputs.append(output)
    return begins, outputs


TRANSPOSED_CONVOLUTIONS: Mapping[str, Build] = {
    "ConvTranspose": _conv_transpose,
}
