"""DFT and STFT: products with the cosines and sines of a transform whose length is known."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.dims import Dim, floordiv, known
from tilewright.compiler_core.ir.index_map import affine, axis_index
from tilewright.compiler_core.ir.ops import Array
from tilewright.compiler_core.onnx_import.building.builder import Tensor
from tilewright.compiler_core.onnx_import.building.context import (
    Build,
    Context,
    DataDecidesError,
    Inputs,
    checked_axis,
    known_number,
    optional,
    required,
)
from tilewright.compiler_core.onnx_import.building.node import Node

MOST_ELEMENTS = 1 << 24
"""Of a table of cosines and sines; a longer transform runs on the host."""
AXIS_IS_INPUT = 20
"""The opset since which DFT takes its axis as an input."""


@dataclass(frozen=True)
class _Transform:
    """`length` of the sums, of `taken` numbers of `parts` (1 real, 2 complex); `bins` come out."""

    length: int
    taken: int
    parts: int
    inverse: bool = False
    one_sided: bool = False

    @property
    def bins(self) -> int:
        """Numbers that come out: half of them tell a spectrum of reals."""
        return self.length // 2 + 1 if self.one_sided and not self.inverse else self.length

    @property
    def parts_out(self) -> int:
        """1 where reals come out."""
        return 1 if self.one_sided and self.inverse else 2

    def table(self) -> Array:
        """Factors [taken, parts, bins, parts out]. One-sided spectra stand for both their halves."""
        turns = np.outer(np.arange(self.taken), np.arange(self.bins)) % max(self.length, 1)
        angles = 2 * np.pi * turns / max(self.length, 1) * (1 if self.inverse else -1)
        cos, sin = np.cos(angles), np.sin(angles)
        if self.inverse:
            cos, sin = cos / self.length, sin / self.length
        if self.one_sided and self.inverse:
            twice = np.where(2 * np.arange(self.taken) % self.length == 0, 1.0, 2.0)[:, None]
            cos, sin = cos * twice, sin * twice
        factors = np.stack([np.stack([cos, sin], -1), np.stack([-sin, cos], -1)], 1)
        return factors[:, : self.parts, :, : self.parts_out]


def _checked(context: Context, how: _Transform) -> None:
    if how.length < 1:
        raise ModelError(f"the length of the transform is {how.length}")
    if how.parts not in (1, 2):
        raise ModelError(f"numbers have {how.parts} parts; 1 are reals, 2 complex")
    if how.one_sided and how.inverse != (how.parts == 2):
        raise ModelError("one side alone is of reals: forward from them, inverse to them")
    if how.taken * how.bins * how.parts * how.parts_out > MOST_ELEMENTS:
        raise DataDecidesError("the transform is too long for a table")


def _dft(context: Context, node: Node, inputs: Inputs) -> Tensor:
    x, builder = required(inputs, 0), context.builder
    axis = node.integer("axis", 1)
    if node.version >= AXIS_IS_INPUT:
        given = optional(inputs, 2)
        axis = -2 if given is None else int(known_number(context, given, "axis"))
    axis = checked_axis(axis, x.rank)
    if axis == x.rank - 1:
        raise ModelError("the last dim holds the parts of a number and has no transform")
    extent = x.shape[axis]
    if not isinstance(extent, int):
        raise DataDecidesError("the extent is not known")
    inverse, one_sided = bool(node.integer("inverse", 0)), bool(node.integer("onesided", 0))
    given = optional(inputs, 1)
    if given is not None:
        length = int(known_number(context, given, "dft_length"))
    else:
        length = 2 * (extent - 1) if inverse and one_sided else extent
    used = length // 2 + 1 if inverse and one_sided else length
    parts = known(x.shape[-1], "the parts of a number")
    how = _Transform(length, min(extent, used), parts, inverse, one_sided)
    _checked(context, how)
    table = builder.table((how.taken, parts, how.bins, how.parts_out), x.dtype, lambda _: how.table())
    domain: list[Dim] = [*x.shape[:axis], how.bins, *x.shape[axis + 1 : -1], how.parts_out, how.taken, parts]
    exprs = [axis_index(index) for index in range(x.rank)]
    exprs[axis], exprs[-1] = axis_index(x.rank), axis_index(x.rank + 1)
    factors = [axis_index(x.rank), axis_index(x.rank + 1), axis_index(axis), axis_index(x.rank - 1)]
    return builder.op("contract", domain, [(x, exprs), (table, factors)], x.dtype, reduced=2)


def _stft(context: Context, node: Node, inputs: Inputs) -> Tensor:
    x, step, builder = required(inputs, 0), required(inputs, 1), context.builder
    window, given = optional(inputs, 2), optional(inputs, 3)
    if x.rank == 2:
        x = builder.reshape(x, (*x.shape, 1))
    if x.rank != 3:
        raise ModelError(f"the signal has rank {x.rank}; it must be [batch, length, 1 or 2]")
    if given is not None:
        length: Dim = int(known_number(context, given, "frame_length"))
    else:
        length = window.shape[0] if window is not None and window.rank == 1 else x.shape[1]
    if not isinstance(length, int):
        raise DataDecidesError("the length of a frame is not known")
    stride = int(known_number(context, step, "frame_step"))
    if stride < 1:
        raise ModelError(f"frame_step is {stride}")
    parts = known(x.shape[2], "the parts of a number")
    how = _Transform(length, length, parts, one_sided=bool(node.integer("onesided", 1)))
    _checked(context, how)
    table = builder.table((length, parts, how.bins, 2), x.dtype, lambda _: how.table())
    if window is not None:
        if window.rank != 1:
            raise ModelError(f"the window has rank {window.rank}; it must be a row")
        builder.equal(window.shape[0], length, "the lengths of window and frame")
        table = builder.elementwise("mul", builder.reshape(window, (length, 1, 1, 1)), table)
    frames = floordiv(x.shape[1] - length, stride) + 1
    if isinstance(frames, int) and frames < 0:
        raise ModelError(f"a frame of {length} is longer than the signal of {x.shape[1]}")
    domain: list[Dim] = [x.shape[0], frames, how.bins, 2, length, parts]
    signal = [axis_index(0), affine((1, stride), (4, 1)), axis_index(5)]
    factors = [axis_index(4), axis_index(5), axis_index(2), axis_index(3)]
    return builder.op("contract", domain, [(x, signal), (table, factors)], x.dtype, reduced=2)


FOURIER: Mapping[str, Build] = {"DFT": _dft, "STFT": _stft}
