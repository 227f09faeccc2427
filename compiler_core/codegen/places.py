"""Addresses of a value's elements: a sum over its dims of (index // divisor % modulus) * stride."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.ir.layouts import Layout
from tilewright.compiler_core.ir.ops import Array


@dataclass(frozen=True)
class Piece:
    """One digit of one index of a value, and how many elements a step of it is. Modulus 0: the last digit."""

    dim: int
    stride: int
    divisor: int = 1
    modulus: int = 0


@dataclass(frozen=True)
class Place:
    """The memory of a value: `elements` of `dtype`, where each lies by `pieces`."""

    dtype: DType
    pieces: tuple[Piece, ...]
    elements: int

    @property
    def bytes(self) -> int:
        """Its size in bytes."""
        return self.elements * self.dtype.bytes

    def arranged(self, array: Array) -> Array:
        """The elements of `array` in this order, padding zero: [elements]."""
        flat = np.zeros(self.elements, dtype=self.dtype.numpy)
        self.put(array, flat)
        return flat

    def put(self, array: Array, flat: Array) -> None:
        """Write `array` into `flat` [elements], padding zero."""
        view, groups = self._digits(flat, array.shape)
        extents = [prod(group) for group in groups]
        if list(array.shape) != extents:
            whole = np.zeros(extents, dtype=flat.dtype)
            whole[tuple(slice(extent) for extent in array.shape)] = array
            array = whole
        view[...] = array.reshape(view.shape)

    def collected(self, flat: Array, shape: Sequence[int]) -> Array:
        """Inverse of `arranged`."""
        view, groups = self._digits(flat, shape)
        whole = view.reshape([prod(group) for group in groups])
        return np.array(whole[tuple(slice(extent) for extent in shape)])

    def _digits(self, flat: Array, shape: Sequence[int]) -> tuple[Array, list[list[int]]]:
        """A view of the elements by the digits of every dim, highest first, and their extents by dim."""
        groups: list[list[int]] = []
        strides: list[int] = []
        for dim, extent in enumerate(shape):
            pieces = sorted((p for p in self.pieces if p.dim == dim), key=lambda p: -p.divisor)
            groups.append([piece.modulus or -(-extent // piece.divisor) for piece in pieces])
            strides += [piece.stride * flat.itemsize for piece in pieces]
        extents = [n for group in groups for n in group]
        return np.lib.stride_tricks.as_strided(flat, extents, strides), groups


def row_major(dtype: DType, shape: Sequence[int], order: Sequence[int] | None = None) -> Place:
    """Dims from the outermost to the innermost, in `order` or as they come."""
    pieces: list[Piece] = []
    stride = 1
    for dim in reversed(order if order is not None else range(len(shape))):
        pieces.append(Piece(dim, stride))
        stride *= max(1, shape[dim])
    return Place(dtype, tuple(reversed(pieces)), max(1, prod(shape)))


def laid_out(dtype: DType, shape: Sequence[int], layout: Layout) -> Place:
    """The place of a value with a Layout."""
    if layout.block == 1:
        return row_major(dtype, shape, layout.order)
    return blocked(dtype, shape, layout.order, layout.blocked, layout.block)


def blocked(dtype: DType, shape: Sequence[int], order: Sequence[int], dim: int, block: int) -> Place:
    """Dims in `order`, `block` neighbours along `dim` innermost; the last block is padded."""
    pieces = [Piece(dim, 1, 1, block)]
    stride = block
    for each in reversed(order):
        pieces.append(Piece(each, stride, block if each == dim else 1))
        stride *= -(-shape[each] // block) if each == dim else max(1, shape[each])
    return Place(dtype, tuple(reversed(pieces)), max(1, stride))
