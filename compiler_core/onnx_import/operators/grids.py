"""AffineGrid, a product with constant coordinates: places of an image. GridSample: what is there."""

from collections.abc import Mapping, Sequence

import numpy as np

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.dims import Dim, known
from tilewright.compiler_core.ir.index_map import affine, axis_index
from tilewright.compiler_core.ir.ops import Array
from tilewright.compiler_core.onnx_import.building.builder import Tensor
from tilewright.compiler_core.onnx_import.building.context import Build, Context, Inputs, known_dims, required
from tilewright.compiler_core.onnx_import.building.node import Node
from tilewright.runtime.host.grid_sample import CUBIC, LINEAR, NEAREST


def _affine_grid(context: Context, node: Node, inputs: Inputs) -> Tensor:
    """Theta [N, s, s + 1] times (coordinates, 1) of every place: [N, *spatial, s], x before y before z."""
    theta, builder = required(inputs, 0), context.builder
    batch, _, *spatial = known_dims(context, required(inputs, 1), "the size of the image")
    dims = len(spatial)
    if dims not in (2, 3) or theta.rank != 3:
        raise ModelError(f"maps of rank {theta.rank} for an image of {dims} spatial dims")
    builder.equal(theta.shape[0], batch, "the batch of the maps and of the image")
    builder.equal(known(theta.shape[1], "the rows of a map"), dims, "rows of a map and spatial dims")
    builder.equal(
        known(theta.shape[2], "the columns of a map"), dims + 1, "columns of a map and its spatial dims"
    )
    corners = bool(node.integer("align_corners", 0))
    places = builder.table((*spatial, dims + 1), theta.dtype, lambda extents: _places(extents[:-1], corners))
    domain: list[Dim] = [batch, *spatial, dims, dims + 1]
    summed = axis_index(dims + 2)
    left = [axis_index(0), axis_index(dims + 1), summed]
    right = [*(affine((1 + index, 1)) for index in range(dims)), summed]
    return builder.op("contract", domain, [(theta, left), (places, right)], theta.dtype, reduced=1)


def _places(spatial: Sequence[int], corners: bool) -> Array:
    """Coordinates from -1 to 1 of every place, innermost dim first, and a 1: [*spatial, dims + 1].

    The ends are the middles of the outermost elements with `corners`, otherwise their outer edges.
    """
    lines = [np.linspace(-1, 1, n) if corners else (2 * np.arange(n) + 1) / n - 1 for n in reversed(spatial)]
    grids = np.meshgrid(*reversed(lines), indexing="ij")
    return np.stack([*reversed(grids), np.ones(tuple(spatial))], axis=-1)


MODES = {"bilinear": "linear", "bicubic": "cubic"}
"""As they were called before opset 20."""
PADDINGS = ("zeros", "border", "reflection")


def _grid_sample(context: Context, node: Node, inputs: Inputs) -> list[Tensor]:
    x, grid, builder = required(inputs, 0), required(inputs, 1), context.builder
    asked_mode, padding = node.text("mode", "linear"), node.text("padding_mode", "zeros")
    mode = MODES.get(asked_mode, asked_mode)
    if mode not in (LINEAR, CUBIC, NEAREST) or padding not in PADDINGS:
        raise ModelError(f"mode {asked_mode!r} with padding {padding!r} is not supported")
    if x.rank < 3 or grid.rank != x.rank:
        raise ModelError(
            f"the input has rank {x.rank}, the grid {grid.rank}; both must have the same, at least 3"
        )
    if not grid.dtype.is_float:
        raise ModelError(f"the grid is {grid.dtype.value}, not a float")
    builder.equal(x.shape[0], grid.shape[0], "the batch of the input and of the grid")
    builder.equal(
        known(grid.shape[-1], "the last extent of the grid"), x.rank - 2, "a place and spatial dims"
    )
    shape = (*x.shape[:2], *grid.shape[1:-1])
    return context.host(
        node,
        "grid_sample",
        [x, grid],
        [(shape, x.dtype)],
        mode=mode,
        padding=padding,
        align_corners=node.integer("align_corners", 0),
    )


GRIDS: Mapping[str, Build] = {"AffineGrid": _affine_grid, "GridSample": _grid_sample}
