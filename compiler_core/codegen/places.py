"""Where the elements of a value lie: a sum over its dims of (index // divisor % modulus) * stride."""

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
        """What it takes, in bytes."""
        return self.elements * self.dtype.bytes

    def arranged(self, array: Array) -> Array:
        """The elements of `array` as they lie here, padding zero: [elements]."""
        flat = np.zeros(self.elements, dtype=self.dtype.numpy)
        flat[self._offsets(array.shape)] = array
        return flat

    def collected(self, flat: Array, shape: Sequence[int]) -> Array:
        """Inverse of `arranged`."""
        return np.asarray(flat[self._offsets(shape)])

    def _offsets(self, shape: Sequence[int]) -> Array:
        total = np.zeros((1,) * len(shape), dtype=np.int64)
        for piece in self.pieces:
            index = np.arange(shape[piece.dim], dtype=np.int64) // piece.divisor
            if piece.modulus:
                index = index % piece.modulus
            form = [1] * len(shape)
            form[piece.dim] = -1
            total = total + index.reshape(form) * piece.stride
        return np.broadcast_to(total, tuple(shape))


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
