"""The ways between L1 and the memories of a target, as rows of one integer table.

A transfer crosses the *near* port (the LLB) and, as far as its bytes are not held there, the *far* one (DRAM
or the host link). Constants or values may bypass the LLB; a chip without one has only the far port.
"""

from functools import lru_cache
from math import ceil

import numpy as np

from tilewright.compiler_core.ir.workload import Level
from tilewright.compiler_core.target_model.target import Memory, Target
from tilewright.compiler_core.target_model.units import LATENCY, crosses_llb, load_table, store_table
from tilewright.measure.simulator.tables.layout import NO_TABLE, Ints

LLB_LOAD, LLB_CONSTANT, LLB_STORE, DRAM_LOAD, DRAM_CONSTANT, DRAM_STORE, HOST_LOAD, HOST_STORE = range(8)
_FAR = {
    Level.LLB: (NO_TABLE, NO_TABLE),
    Level.DRAM: (DRAM_LOAD, DRAM_STORE),
    Level.CONSTANT: (DRAM_CONSTANT, DRAM_STORE),
    Level.HOST: (HOST_LOAD, HOST_STORE),
}


def ways(target: Target, level: Level, *, loads: bool) -> tuple[int, int]:
    """Rows of the near and the far port for an operand at `level`; NO_TABLE where it does not cross one."""
    near = NO_TABLE
    if crosses_llb(target, level):
        near = (LLB_CONSTANT if level is Level.CONSTANT else LLB_LOAD) if loads else LLB_STORE
    return near, _FAR[level][0 if loads else 1]


@lru_cache(maxsize=64)
def tables(target: Target) -> Ints:
    """The DMA tables of units.py, int64 [8, columns], in the order of the constants above."""
    link = Memory(0, target.host.gbps, 0, target.dram.burst_bytes)
    host = np.stack([load_table(target, link), store_table(target, link)])
    host[:, LATENCY] = ceil(target.host.latency_us * target.frequency_mhz)
    near, far = target.llb, target.dram
    return np.concatenate(
        [
            [load_table(target, near), load_table(target, near, constant=True), store_table(target, near)],
            [load_table(target, far), load_table(target, far, constant=True), store_table(target, far)],
            host,
        ]
    )
