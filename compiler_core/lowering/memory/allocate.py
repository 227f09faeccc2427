"""Lifetimes to offsets: where each tensor lies in an arena that should be no larger than the live bytes.

Tensors become blocks: one rectangle of steps x bytes each; a kernel that runs in place continues the block of
the operand it overwrites. The arena can never be smaller than the most live bytes of a step, and a placement
that meets it is its own proof. Tried in turn until one does: greedy placement in four orders, hill climbing
on the order, an exhaustive search. The rest is stated as a gap.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tilewright.compiler_core.order.first_fit import first_fit
from tilewright.compiler_core.order.fit_search import climb, exhaust
from tilewright.compiler_core.order.flat import Ints
from tilewright.compiler_core.order.kernel_graph import GRAPH_INPUT, KernelGraph, live_profile


@dataclass(frozen=True)
class TensorSpan:
    """A tensor in its block: live from `first_step` to `last_step` inclusive, `shift` bytes above its base.

    Empty (last before first) for a result written in place that nothing reads later.
    """

    tensor: int
    bytes: int
    first_step: int
    last_step: int
    shift: int = 0


@dataclass(frozen=True)
class Block:
    """Spans that share one place in the arena, one after the other."""

    spans: tuple[TensorSpan, ...]


@dataclass(frozen=True)
class Arena:
    """`offsets[tensor]` in bytes; `arena_bytes` >= `live_bytes`, the most live at any step."""

    offsets: tuple[int, ...]
    arena_bytes: int
    live_bytes: int
    blocks: tuple[Block, ...]

    @property
    def gap_bytes(self) -> int:
        """Bytes lost to fragmentation; 0 proves the arena optimal for its order."""
        return self.arena_bytes - self.live_bytes


@dataclass(frozen=True)
class AllocationBudget:
    """Work after the greedy placements: hill climbing steps from each, nodes of the exhaustive search."""

    climbs: int = 3_000
    nodes: int = 100_000


def allocate(
    graph: KernelGraph, order: Sequence[int], budget: AllocationBudget = AllocationBudget(), seed: int = 0
) -> Arena:
    """Offsets for all tensors of `graph` when its kernels run in `order`."""
    return allocate_blocks(blocks_of(graph, order), max(1, graph.kernels), budget, seed)


def allocate_blocks(
    blocks: Sequence[Block], steps: int, budget: AllocationBudget = AllocationBudget(), seed: int = 0
) -> Arena:
    """Offsets for the tensors of `blocks`, numbered from 0, over so many steps."""
    rectangles = _Rectangles.of(blocks)
    live = _most_live(blocks, steps)
    bases = _place(rectangles, live, budget, seed)
    offsets = [0] * sum(len(block.spans) for block in blocks)
    for block, base in zip(blocks, bases.tolist(), strict=True):
        for span in block.spans:
            offsets[span.tensor] = base + span.shift
    return Arena(tuple(offsets), _height(rectangles, bases), live, tuple(blocks))


def blocks_of(graph: KernelGraph, order: Sequence[int]) -> tuple[Block, ...]:
    """The blocks of `order`, by their first tensor; live bytes per step are those of live_profile.

    A kernel that may overwrite several dying operands takes the smallest that is large enough.
    """
    live_profile(graph, order)
    step_of = {kernel: step for step, kernel in enumerate(order)}
    final = max(0, graph.kernels - 1)
    last_step = [
        final
        if tensor.is_output or (tensor.producer == GRAPH_INPUT and not tensor.consumers)
        else max((step_of[k] for k in tensor.consumers), default=step_of.get(tensor.producer, 0))
        for tensor in graph.tensors
    ]
    spans: dict[int, list[TensorSpan]] = {}
    home: dict[int, int] = {}
    for index, tensor in enumerate(graph.tensors):
        if tensor.producer == GRAPH_INPUT:
            home[index] = index
            spans[index] = [TensorSpan(index, tensor.bytes, 0, last_step[index])]
    for step, kernel in enumerate(order):
        dying = [t for t in graph.overwritable(kernel) if last_step[t] == step]
        host = min(dying, key=lambda t: (graph.tensors[t].bytes, t), default=None)
        shift = 0 if host is None else next(s.shift for s in spans[home[host]] if s.tensor == host)
        for index in graph.results[kernel]:
            size = graph.tensors[index].bytes
            if host is None:
                home[index] = index
                spans[index] = [TensorSpan(index, size, step, last_step[index])]
            else:
                home[index] = home[host]
                spans[home[host]].append(TensorSpan(index, size, step + 1, last_step[index], shift))
                shift += size
    return tuple(Block(tuple(spans[first])) for first in sorted(spans))


def _most_live(blocks: Sequence[Block], steps: int) -> int:
    """The most bytes that spans hold at one step."""
    change = np.zeros(steps + 1, dtype=np.int64)
    for block in blocks:
        for span in block.spans:
            if span.first_step <= span.last_step:
                change[span.first_step] += span.bytes
                change[span.last_step + 1] -= span.bytes
    return int(np.cumsum(change).max())


@dataclass(frozen=True)
class _Rectangles:
    """Non-empty spans as arrays; `start[b] : start[b + 1]` are those of block b."""

    start: Ints
    first: Ints
    last: Ints
    shift: Ints
    size: Ints

    @staticmethod
    def of(blocks: Sequence[Block]) -> "_Rectangles":
        kept = [[s for s in block.spans if s.bytes and s.first_step <= s.last_step] for block in blocks]
        start = np.zeros(len(kept) + 1, dtype=np.int64)
        np.cumsum([len(spans) for spans in kept], out=start[1:])
        flat = [span for spans in kept for span in spans]
        columns = [(s.first_step, s.last_step, s.shift, s.bytes) for s in flat]
        first, last, shift, size = np.array(columns, dtype=np.int64).reshape(-1, 4).T.copy()
        return _Rectangles(start, first, last, shift, size)


def _place(rects: _Rectangles, live: int, budget: AllocationBudget, seed: int) -> Ints:
    """Base offsets per block: the first placement as low as `live`, else the lowest found."""
    arrays = (rects.start, rects.first, rects.last, rects.shift, rects.size)
    best = np.zeros(rects.start.shape[0] - 1, dtype=np.int64)
    best_height = -1
    for order in _greedy_orders(rects):
        bases = first_fit(*arrays, order)
        height = _height(rects, bases)
        if best_height < 0 or height < best_height:
            best, best_height = bases, height
        if best_height <= live:
            return best
    generator = np.random.default_rng(seed)
    for order in _greedy_orders(rects):
        if best_height > live:
            bases = climb(*arrays, order, live, generator.random((budget.climbs, 3)))
            if _height(rects, bases) < best_height:
                best, best_height = bases, _height(rects, bases)
    if best_height > live:
        found, bases = exhaust(*arrays, live, budget.nodes)
        best = bases if found else best
    return best


def _greedy_orders(rects: _Rectangles) -> list[Ints]:
    """Blocks by size, by size x steps, by steps, by first step; ties by number."""
    count = rects.start.shape[0] - 1
    size, area, steps, first = (np.zeros(count, dtype=np.int64) for _ in range(4))
    for block in range(count):
        part = slice(rects.start[block], rects.start[block + 1])
        if rects.size[part].shape[0]:
            lengths = rects.last[part] - rects.first[part] + 1
            size[block] = (rects.shift[part] + rects.size[part]).max()
            area[block] = (lengths * rects.size[part]).sum()
            steps[block] = lengths.sum()
            first[block] = rects.first[part].min()
    return [
        np.lexsort((np.arange(count), first, -steps, -size)),
        np.lexsort((np.arange(count), first, -area)),
        np.lexsort((np.arange(count), -size, -steps)),
        np.lexsort((np.arange(count), -size, first)),
    ]


def _height(rects: _Rectangles, bases: Ints) -> int:
    blocks = np.repeat(np.arange(bases.shape[0]), np.diff(rects.start))
    return int((bases[blocks] + rects.shift + rects.size).max(initial=0))
