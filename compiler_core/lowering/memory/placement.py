"""The level of each value between kernels: the LLB while there is room, DRAM otherwise."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.ir.workload import Level, stored_values
from tilewright.compiler_core.target_model.target import Target
from tilewright.compiler_core.transforms.fuse import Group


@dataclass(frozen=True)
class Lifetime:
    """A value that crosses kernels: stored in stage `born`, last read in stage `dies` (both inclusive)."""

    value: int
    size_bytes: int
    born: int
    dies: int


def stored_bytes(graph: Graph, value: int, target: Target) -> int:
    """Bytes of a value in the target's storage dtype."""
    return graph.elements(value) * target.storage_dtype(graph.values[value].dtype).bytes


def lifetimes(
    graph: Graph, groups: Sequence[Group], stage_of: Sequence[int], target: Target
) -> tuple[Lifetime, ...]:
    """Lifetimes of everything stored by one group and read by another, in order of birth.

    `stage_of[g]` is the stage group g runs in. Network outputs are not among them: they go to DRAM.
    """
    born: dict[int, int] = {}
    dies: dict[int, int] = {}
    for position, group in enumerate(groups):
        for value in stored_values(graph, group):
            if value not in graph.outputs:
                born[value] = dies[value] = stage_of[position]
    for position, group in enumerate(groups):
        for index in group:
            for access in graph.ops[index].operands:
                if access.value in born:
                    dies[access.value] = max(dies[access.value], stage_of[position])
    return tuple(
        Lifetime(value, stored_bytes(graph, value, target), born[value], dies[value])
        for value in sorted(born, key=lambda v: (born[v], v))
    )


def live_bytes(lives: Sequence[Lifetime], stages: int) -> npt.NDArray[np.int64]:
    """Bytes alive in every stage, int64 [stages]."""
    change = np.zeros(stages + 1, dtype=np.int64)
    for life in lives:
        change[life.born] += life.size_bytes
        change[life.dies + 1] -= life.size_bytes
    return np.asarray(np.cumsum(change)[:-1], dtype=np.int64)


def place_values(lives: Sequence[Lifetime], stages: int, capacity_bytes: int) -> Mapping[int, Level]:
    """A level for every crossing value so that those in the LLB fit it at every stage.

    Where they do not fit, the value with the most bytes times stages goes to DRAM first.
    """
    kept = {life.value: life for life in lives}
    live = live_bytes(lives, stages)
    while kept and live.max(initial=0) > capacity_bytes:
        worst = int(live.argmax())
        alive = [life for life in kept.values() if life.born <= worst <= life.dies]
        spilled = max(alive, key=lambda life: (life.size_bytes * (life.dies - life.born + 1), life.value))
        del kept[spilled.value]
        live[spilled.born : spilled.dies + 1] -= spilled.size_bytes
    return {life.value: Level.LLB if life.value in kept else Level.DRAM for life in lives}
