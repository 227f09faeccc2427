"""Layout: how the elements of a value between kernels lie in memory, where not in the model's own order.

Tiles, halos and numbers do not depend on it; the runs of bytes that DMA moves do. Nothing converts ahead of
time: a kernel loads and stores its operands in any layout, and pays in bursts for those that do not suit its
tiles. Inputs and outputs of the network keep the model's order.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from tilewright.compiler_core.errors import RecordError
from tilewright.compiler_core.ir.dims import Shape, known
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.ir.ops import Array, Unit

BLOCKS = (16, 32)
"""Neighbours along a dim that may lie together: as many as 32 bytes hold of float16 and of int8."""


@dataclass(frozen=True)
class Layout:
    """Dims from the outermost to the innermost; inside them `block` neighbours along the dim `blocked`.

    (n, c, h, w)  --Layout((0, 2, 3, 1))-->           n, h, w, c               channels last
    (n, c, h, w)  --Layout((0, 1, 2, 3), 1, 16)-->    n, c // 16, h, w, c % 16   channels in blocks
    """

    order: tuple[int, ...]
    blocked: int = 0
    block: int = 1

    def __str__(self) -> str:
        blocks = [f"{self.blocked}x{self.block}"] if self.block > 1 else []
        return ".".join([*map(str, self.order), *blocks])

    def fits(self, shape: Shape) -> bool:
        """Whether the layout fits a value of this shape: every dim once, whole blocks."""
        if sorted(self.order) != list(range(len(shape))):
            return False
        return self.block == 1 or known(shape[self.blocked], "an extent") % self.block == 0

    def pack(self, array: Array) -> Array:
        """The elements as they lie in memory, one axis of the result a dim, blocks last."""
        if self.block == 1:
            return np.ascontiguousarray(array.transpose(self.order))
        at = self.blocked
        cut = array.reshape(*array.shape[:at], -1, self.block, *array.shape[at + 1 :])
        outer = [dim + (dim > at) for dim in self.order]
        return np.ascontiguousarray(cut.transpose(*outer, at + 1))

    def unpack(self, packed: Array) -> Array:
        """Inverse of `pack`."""
        if self.block == 1:
            return packed.transpose(np.argsort(self.order))
        at = self.blocked
        places = [*(dim + (dim > at) for dim in self.order), at + 1]
        cut = packed.transpose(np.argsort(places))
        return cut.reshape(*cut.shape[:at], -1, *cut.shape[at + 2 :])


def layout_from(text: str) -> Layout:
    """Inverse of `str(layout)`; RecordError when it is not a Layout."""
    try:
        *dims, last = text.split(".")
        if "x" not in last:
            return _checked(Layout((*map(int, dims), int(last))), text)
        blocked, block = map(int, last.split("x"))
        return _checked(Layout(tuple(map(int, dims)), blocked, block), text)
    except ValueError:
        raise RecordError(f"{text[:40]!r} is not a layout; one looks like 0.2.3.1 or 0.1.2.3.1x16") from None


def _checked(layout: Layout, text: str) -> Layout:
    """ValueError where dims are not a permutation, or the block is none."""
    if sorted(layout.order) != list(range(len(layout.order))) or layout.block < 1:
        raise ValueError(text)
    if layout.blocked not in layout.order or (layout.block == 1 and "x" in text):
        raise ValueError(text)
    return layout


def may_be_laid_out(graph: Graph, value: int) -> bool:
    """Whether only kernels see a value, each of them by index maps that are known."""
    if value in graph.outputs or value not in graph.producer:
        return False
    touching = [graph.producer[value], *graph.readers.get(value, ())]
    return all(graph.ops[index].row.unit not in (Unit.HOST, Unit.DMA) for index in touching)


def layouts_of(graph: Graph, value: int) -> Iterator[Layout]:
    """Layouts worth trying for `value` besides the model's order: channels (dim 1) last, or in blocks."""
    shape = graph.shape(value)
    if len(shape) < 3 or shape[1] == 1 or max(shape[2:]) == 1 or not may_be_laid_out(graph, value):
        return
    yield Layout((0, *range(2, len(shape)), 1))
    for block in BLOCKS:
        if shape[1] % block == 0:
            yield Layout(tuple(range(len(shape))), 1, block)


def misplaced(graph: Graph, layouts: Mapping[int, Layout]) -> Iterator[str]:
    """Mistakes in the layouts of a Schedule, one line each."""
    for value, layout in layouts.items():
        if not may_be_laid_out(graph, value):
            yield f"{graph.name_of(value)} has layout {layout}; it is used outside kernels, so it has none"
        elif not layout.fits(graph.shape(value)):
            yield f"{graph.name_of(value)} of shape {list(graph.shape(value))} cannot have layout {layout}"
