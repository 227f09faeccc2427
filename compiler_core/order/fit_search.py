"""Placements of blocks within a goal: hill climbing over first-fit orders, exhaustive search. Compiled."""

import numpy as np
from numpy.typing import NDArray

from tilewright.compiler_core.compiled import compiled
from tilewright.compiler_core.order.first_fit import first_fit
from tilewright.compiler_core.order.flat import Ints


@compiled
def _top_block(start: Ints, shift: Ints, size: Ints, bases: Ints) -> tuple[int, int]:
    """(height, the first block that reaches it)."""
    height, top = 0, 0
    for block in range(bases.shape[0]):
        for mine in range(start[block], start[block + 1]):
            if bases[block] + shift[mine] + size[mine] > height:
                height, top = bases[block] + shift[mine] + size[mine], block
    return height, top


@compiled
def _support(start: Ints, first: Ints, last: Ints, shift: Ints, size: Ints, bases: Ints, top: int) -> Ints:
    """The blocks that hold `top` up: itself, one it stands on, and so on to the ground."""
    chain = np.empty(bases.shape[0], dtype=np.int64)
    chain[0] = top
    count = 1
    while count > 0:
        block, below = chain[count - 1], -1
        for mine in range(start[block], start[block + 1]):
            low = bases[block] + shift[mine]
            for other in range(bases.shape[0]):
                for its in range(start[other], start[other + 1]):
                    if (
                        bases[other] + shift[its] + size[its] == low
                        and first[its] <= last[mine]
                        and first[mine] <= last[its]
                        and bases[other] < bases[block]
                    ):
                        below = other
        if below < 0:
            break
        chain[count] = below
        count += 1
    return chain[:count]


@compiled
def climb(
    start: Ints,
    first: Ints,
    last: Ints,
    shift: Ints,
    size: Ints,
    order: Ints,
    goal: int,
    draws: NDArray[np.float64],
) -> Ints:
    """First fit again and again: a block that holds up the top swaps turns with another, or moves up.

    A third of the moves each: swap within the support, swap with any block, move to an earlier turn.
    """
    order = order.copy()
    best = first_fit(start, first, last, shift, size, order)
    height, top = _top_block(start, shift, size, best)
    chain = _support(start, first, last, shift, size, best, top)
    turn = np.empty(order.shape[0], dtype=np.int64)
    for draw in draws:
        if height <= goal:
            break
        trial = order.copy()
        for i in range(order.shape[0]):
            turn[order[i]] = i
        one = turn[chain[int(draw[0] * chain.shape[0])]]
        if draw[2] < 0.33:
            two = turn[chain[int(draw[1] * chain.shape[0])]]
            trial[one], trial[two] = order[two], order[one]
        elif draw[2] < 0.67:
            two = int(draw[1] * order.shape[0])
            trial[one], trial[two] = order[two], order[one]
        else:
            two = int(draw[1] * (one + 1))
            trial[two + 1 : one + 1] = order[two:one]
            trial[two] = order[one]
        bases = first_fit(start, first, last, shift, size, trial)
        trial_height, trial_top = _top_block(start, shift, size, bases)
        if trial_height <= height:
            order, best, height = trial, bases, trial_height
            chain = _support(start, first, last, shift, size, bases, trial_top)
    return best


@compiled
def exhaust(
    start: Ints, first: Ints, last: Ints, shift: Ints, size: Ints, goal: int, nodes: int
) -> tuple[bool, Ints]:
    """Depth-first over the orders in which blocks stack up, lowest first, within `goal` bytes.

    Any placement can be pushed down until each block stands on the ground or on another; taken by rising
    base it is such an order. A branch ends when at some step the bytes still to come do not fit above.
    """
    blocks = start.shape[0] - 1
    steps = 0
    for rectangle in range(size.shape[0]):
        steps = max(steps, last[rectangle] + 1)
    ground = np.zeros(steps, dtype=np.int64)  # height reached per step
    to_come = np.zeros(steps, dtype=np.int64)
    for rectangle in range(size.shape[0]):
        to_come[first[rectangle] : last[rectangle] + 1] += size[rectangle]
    bases = np.full(blocks, -1, dtype=np.int64)
    chosen = np.full(blocks + 1, -1, dtype=np.int64)
    saved = np.empty((blocks + 1, steps), dtype=np.int64)
    depth, floor = 0, np.zeros(blocks + 1, dtype=np.int64)
    while nodes > 0:
        if depth == blocks:
            return True, bases
        nodes -= 1
        block = chosen[depth] + 1
        while block < blocks:
            if bases[block] < 0:
                base = floor[depth]
                for mine in range(start[block], start[block + 1]):
                    for step in range(first[mine], last[mine] + 1):
                        base = max(base, ground[step] - shift[mine])
                fits = True
                for mine in range(start[block], start[block + 1]):
                    for step in range(first[mine], last[mine] + 1):
                        if base + shift[mine] + to_come[step] > goal:
                            fits = False
                            break
                if fits:
                    break
            block += 1
        if block < blocks:
            saved[depth] = ground
            chosen[depth] = block
            bases[block] = base
            for mine in range(start[block], start[block + 1]):
                for step in range(first[mine], last[mine] + 1):
                    ground[step] = base + shift[mine] + size[mine]
                    to_come[step] -= size[mine]
            floor[depth + 1] = base
            depth += 1
            chosen[depth] = -1
        elif depth == 0:
            break
        else:
            depth -= 1
            block = chosen[depth]
            ground[:] = saved[depth]
            bases[block] = -1
            for mine in range(start[block], start[block + 1]):
                to_come[first[mine] : last[mine] + 1] += size[mine]
    return False, bases
