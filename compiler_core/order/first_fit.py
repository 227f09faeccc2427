"""First fit: blocks of an arena, in a given order, each as low as none placed before allows. Compiled."""

import numpy as np

from tilewright.compiler_core.compiled import compiled
from tilewright.compiler_core.order.flat import Ints


@compiled
def first_fit(start: Ints, first: Ints, last: Ints, shift: Ints, size: Ints, order: Ints) -> Ints:
    """Each block, in `order`, at the lowest base where none of its rectangles meets a placed one."""
    bases = np.zeros(start.shape[0] - 1, dtype=np.int64)
    placed = np.empty(size.shape[0], dtype=np.int64)  # rectangles, lowest bottom first
    bottom = np.empty(size.shape[0], dtype=np.int64)
    count = 0
    for block in order:
        base = 0
        moved = True
        while moved:
            moved = False
            for mine in range(start[block], start[block + 1]):
                low = base + shift[mine]
                for i in range(count):
                    other = placed[i]
                    if bottom[i] >= low + size[mine]:
                        break
                    if (
                        bottom[i] + size[other] > low
                        and first[other] <= last[mine]
                        and first[mine] <= last[other]
                    ):
                        low = bottom[i] + size[other]
                        moved = True
                base = low - shift[mine]
            if start[block + 1] - start[block] == 1:
                break
        bases[block] = base
        for mine in range(start[block], start[block + 1]):
            low = base + shift[mine]
            at = count
            while at > 0 and bottom[at - 1] > low:
                bottom[at] = bottom[at - 1]
                placed[at] = placed[at - 1]
                at -= 1
            bottom[at], placed[at] = low, mine
            count += 1
    return bases
