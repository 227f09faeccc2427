"""Convolutions, poolings, and what else reads windows of an image."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tests.differential.standard.net import Net, NoFormError, Step, Value, allowed

REALS = (np.float32, np.float32, np.float32, np.float64, np.float16)


def _image(net: Net, op_type: str, channels: int | None = None, dtypes: Any = None) -> Value:
    if net.given is not None:
        if not 3 <= net.given.rank <= 5 or (channels is not None and net.given.shape[1] != channels):
            raise NoFormError
        return net.first(op_type, dtypes=dtypes)
    spatial = net.draw.one_of([1, 2, 2, 2, 3])
    sizes = [net.draw.size(3, 9 if spatial < 3 else 6) for _ in range(spatial)]
    shape = (net.draw.size(1, 2), channels or net.draw.size(1, 4), *sizes)
    return net.first(op_type, shape, dtypes)


def _window(net: Net, x: Value, *, dilates: bool = True, most: int = 3) -> dict[str, Any]:
    """Attributes of a window that fits."""
    spatial = x.rank - 2
    kernel = [net.draw.size(1, min(most, extent)) for extent in x.shape[2:]]
    attributes: dict[str, Any] = {"kernel_shape": kernel}
    if net.draw.flag(0.6):
        attributes["strides"] = [net.draw.size(1, 3) for _ in range(spatial)]
    if dilates and net.draw.flag(0.3):
        attributes["dilations"] = [
            2 if 2 * (size - 1) < extent else 1 for size, extent in zip(kernel, x.shape[2:], strict=True)
        ]
    padding = net.draw.one_of(["none", "pads", "pads", "SAME_UPPER", "SAME_LOWER", "VALID"])
    if padding == "pads":
        attributes["pads"] = [net.draw.size(0, size - 1) for size in (*kernel, *kernel)]
    elif padding != "none":
        attributes["auto_pad"] = padding
        if padding != "VALID":
            attributes.pop("dilations", None)
            _shorten_strides(attributes)
    return attributes


def _shorten_strides(attributes: dict[str, Any]) -> None:
    """Strides no longer than the kernel: with longer ones and SAME onnxruntime's own kernels differ."""
    if "strides" in attributes:
        pairs = zip(attributes["strides"], attributes["kernel_shape"], strict=True)
        attributes["strides"] = [min(stride, size) for stride, size in pairs]


def _conv(net: Net) -> None:
    groups = net.draw.one_of([1, 1, 2, 3])
    x = _image(
        net, "Conv", dtypes=REALS, channels=None if net.given is not None else groups * net.draw.size(1, 2)
    )
    if x.shape[1] % groups:
        groups = 1
    attributes = _window(net, x)
    filters = groups * net.draw.size(1, 3)
    w = net.either(net.numbers((filters, x.shape[1] // groups, *attributes["kernel_shape"]), x.dtype), 0.8)
    bias = net.either(net.numbers((filters,), x.dtype)) if net.draw.flag() else None
    net.add("Conv", [x, w, bias], group=groups, **attributes)


def _conv_transpose(net: Net) -> None:
    groups = net.draw.one_of([1, 1, 2])
    x = _image(
        net,
        "ConvTranspose",
        dtypes=REALS,
        channels=None if net.given is not None else groups * net.draw.size(1, 2),
    )
    if x.shape[1] % groups:
        groups = 1
    spatial = x.rank - 2
    kernel = [net.draw.size(1, 3) for _ in range(spatial)]
    strides = [net.draw.size(1, 3) for _ in range(spatial)]
    attributes: dict[str, Any] = {"kernel_shape": kernel, "strides": strides, "group": groups}
    choice = net.draw.one_of(["none", "pads", "output_padding", "output_shape", "SAME_UPPER", "SAME_LOWER"])
    if choice == "pads":
        attributes["pads"] = [net.draw.size(0, size - 1) for size in (*kernel, *kernel)]
    elif choice == "output_padding":
        attributes["output_padding"] = [net.draw.size(0, stride - 1) for stride in strides]
    elif choice == "output_shape":
        attributes["output_shape"] = [
            extent * stride for extent, stride in zip(x.shape[2:], strides, strict=True)
        ]
    elif choice != "none":
        attributes["auto_pad"] = choice
        _shorten_strides(attributes)
    filters = net.draw.size(1, 3)
    w = net.either(net.numbers((x.shape[1], filters, *kernel), x.dtype), 0.8)
    bias = net.either(net.numbers((filters * groups,), x.dtype)) if net.draw.flag() else None
    net.add("ConvTranspose", [x, w, bias], **attributes)


def _pool(op_type: str) -> Step:
    def step(net: Net) -> None:
        x = _image(net, op_type, dtypes=allowed(op_type, net.opset))
        attributes = _window(net, x, dilates=op_type == "MaxPool" or net.version(op_type) >= 18)
        if net.draw.flag(0.3) and (op_type != "LpPool" or net.opset >= 18) and "auto_pad" not in attributes:
            attributes["ceil_mode"] = 1
        if op_type == "AveragePool" and net.draw.flag():
            attributes["count_include_pad"] = 1
        if op_type == "AveragePool" and attributes.get("auto_pad") == "VALID":
            # onnxruntime takes them for 1 there.
            attributes.pop("dilations", None)
        if op_type == "LpPool":
            attributes["p"] = net.draw.size(1, 3)
        outputs = 1
        if op_type == "MaxPool" and net.draw.flag(0.3):
            outputs = 2
            attributes["storage_order"] = net.draw.one_of([0, 0, 1])
        net.add(op_type, [x], outputs=outputs, **attributes)

    return step


def _global(op_type: str) -> Step:
    def step(net: Net) -> None:
        # The reference folds a dim too few, and onnxruntime takes f32 alone.
        x = _image(net, op_type, dtypes=[np.float32])
        net.add(op_type, [x], **({"p": net.draw.size(1, 3)} if op_type == "GlobalLpPool" else {}))

    return step


def _lrn(net: Net) -> None:
    x = _image(net, "LRN", dtypes=[np.float32])
    net.add("LRN", [x], size=net.draw.one_of([1, 3, 5]), alpha=0.1, beta=0.75, bias=1.5)


def _integer_conv(net: Net) -> None:
    x = _image(net, "ConvInteger")
    attributes = _window(net, x)
    shape = (net.draw.size(1, 3), x.shape[1], *attributes["kernel_shape"])
    w = net.either(net.numbers(shape, net.draw.one_of([np.uint8, np.int8])), 0.8)
    zeros = [net.hold(net.draw.size(0, 5), x.dtype) if net.draw.flag() else None, None]
    if net.draw.flag(0.3):
        zeros[1] = net.hold(net.draw.size(0, 5), w.dtype)
    net.add("ConvInteger", [x, w, *zeros], **attributes)


def _grid_sample(net: Net) -> None:
    if net.opset < 16:
        raise NoFormError
    x = _image(net, "GridSample", dtypes=[np.float32])
    spatial = x.rank - 2
    if spatial == 1 or (spatial == 3 and net.opset < 20):
        raise NoFormError
    late = net.opset >= 20
    modes = (
        ["linear", "nearest", *(["cubic"] if spatial == 2 else [])]
        if late
        else ["bilinear", "nearest", "bicubic"]
    )
    sizes = [net.draw.size(1, 5) for _ in range(spatial)]
    grid = net.feed(net.draw.chance.uniform(-1.2, 1.2, (x.shape[0], *sizes, spatial)).astype(np.float32))
    net.add(
        "GridSample",
        [x, grid],
        mode=net.draw.one_of(modes),
        padding_mode=net.draw.one_of(["zeros", "border", "reflection"]),
        align_corners=net.draw.size(0, 1),
    )


def _roi_align(net: Net) -> None:
    if net.opset < 16 or net.given is not None:
        raise NoFormError
    x = net.first("RoiAlign", (net.draw.size(1, 2), 2, 8, 8), [np.float32])
    count = net.draw.size(1, 3)
    corners = net.draw.chance.uniform(0, 4, (count, 2))
    rois = np.concatenate([corners, corners + net.draw.chance.uniform(1, 4, (count, 2))], -1).astype(
        np.float32
    )
    batch = net.feed(net.draw.integers(0, x.shape[0] - 1, (count,), np.int64))
    net.add(
        "RoiAlign",
        [x, net.feed(rois), batch],
        mode=net.draw.one_of(["avg", "avg", "max"]),
        output_height=net.draw.size(1, 3),
        output_width=net.draw.size(1, 3),
        sampling_ratio=net.draw.size(0, 2),
        coordinate_transformation_mode=net.draw.one_of(["half_pixel", "output_half_pixel"]),
    )


def _col2im(net: Net) -> None:
    if net.opset < 18 or net.given is not None:
        raise NoFormError
    image, block = [net.draw.size(3, 6) for _ in range(2)], [net.draw.size(1, 3) for _ in range(2)]
    blocks = [extent - size + 1 for extent, size in zip(image, block, strict=True)]
    shape = (net.draw.size(1, 2), 2 * block[0] * block[1], blocks[0] * blocks[1])
    x = net.first("Col2Im", shape, [np.float32])
    net.add("Col2Im", [x, net.parameter(image), net.parameter(block)])


def _affine_grid(net: Net) -> None:
    if net.opset < 20 or net.given is not None:
        raise NoFormError
    spatial = net.draw.size(2, 3)
    batch = net.draw.size(1, 2)
    theta = net.first("AffineGrid", (batch, spatial, spatial + 1), [np.float32])
    size = net.hold([batch, 1, *(net.draw.size(1, 4) for _ in range(spatial))], np.int64)
    net.add("AffineGrid", [theta, size], align_corners=net.draw.size(0, 1))


def _unpool(net: Net) -> None:
    """The maxima of a pooling put back where they were."""
    x = _image(net, "MaxPool", dtypes=[np.float32])
    kernel = [2] * (x.rank - 2)
    if min(x.shape[2:]) < 2:
        raise NoFormError
    net.add("MaxPool", [x], outputs=2, kernel_shape=kernel, strides=kernel)
    pooled = net.results()
    if len(pooled) < 2:
        raise NoFormError
    net.add("MaxUnpool", pooled, kernel_shape=kernel, strides=kernel)


def _max_roi_pool(net: Net) -> None:
    if net.given is not None:
        raise NoFormError
    x = net.first("MaxRoiPool", (net.draw.size(1, 2), 2, 8, 8), [np.float32])
    count = net.draw.size(1, 3)
    corners = net.draw.integers(0, 3, (count, 2))
    ends = corners + net.draw.integers(1, 4, (count, 2))
    images = net.draw.integers(0, x.shape[0] - 1, (count, 1))
    rois = np.concatenate([images, corners, ends], -1).astype(np.float32)
    sizes = [net.draw.size(1, 3), net.draw.size(1, 3)]
    net.add("MaxRoiPool", [x, net.feed(rois)], pooled_shape=sizes, spatial_scale=1.0)


def _deform_conv(net: Net) -> None:
    if net.opset < 19 or net.given is not None:
        raise NoFormError
    groups = net.draw.size(1, 2)
    channels, filters = groups * net.draw.size(1, 2), groups * net.draw.size(1, 2)
    x = net.first("DeformConv", (net.draw.size(1, 2), channels, 5, 6), [np.float32])
    kernel = [net.draw.size(1, 2), net.draw.size(1, 3)]
    rows = [extent - size + 1 for extent, size in zip((5, 6), kernel, strict=True)]
    moves = net.feed(net.draw.reals(x.shape[0], 2 * kernel[0] * kernel[1], *rows))
    weights = net.either(net.draw.reals(filters, channels // groups, *kernel))
    bias = net.hold(net.draw.reals(filters)) if net.draw.flag() else None
    mask = net.feed(net.draw.positive(x.shape[0], kernel[0] * kernel[1], *rows)) if net.draw.flag() else None
    operands = [x, weights, moves, bias, mask]
    net.add("DeformConv", operands, kernel_shape=kernel, group=groups, pads=[0] * 4)


WINDOWS: Mapping[str, Step] = {
    **{name: _pool(name) for name in ("AveragePool", "LpPool", "MaxPool")},
    **{name: _global(name) for name in ("GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool")},
    "AffineGrid": _affine_grid,
    "Col2Im": _col2im,
    "Conv": _conv,
    "ConvInteger": _integer_conv,
    "ConvTranspose": _conv_transpose,
    "DeformConv": _deform_conv,
    "GridSample": _grid_sample,
    "LRN": _lrn,
    "MaxRoiPool": _max_roi_pool,
    "MaxUnpool": _unpool,
    "RoiAlign": _roi_align,
}
