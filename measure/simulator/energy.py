"""The bytes and operations of a kernel over all cores, and their energy."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from tilewright.compiler_core.compiled import compiled
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.target_model.target import Target
from tilewright.measure.simulator.tables.flatten import FlatKernel
from tilewright.measure.simulator.tables.layout import (
    BUSY,
    COST_COLUMNS,
    ENGINE,
    ENGINES,
    ENTRY,
    FAR,
    FAR_MOVED,
    FAR_SIZE,
    FIRINGS,
    KIND,
    L1_SIZE,
    LANE_WORK,
    MACS,
    NEAR,
    NEAR_MOVED,
    NO_ENGINE,
    NO_TABLE,
    SIZE,
    STORE,
    TRANSFER,
    Ints,
)
from tilewright.measure.simulator.tables.memories import HOST_LOAD


@dataclass(frozen=True)
class Work:
    """Bytes by level and direction as seen from L1, multiply-accumulates by dtype, lane operations.

    `busy_cycles` are those of each engine, summed over cores. Bytes are those asked for; `llb_moved`,
    `dram_moved` and `host_moved` are those that cross each port for them, both ways, in whole bursts.
    """

    llb_read_bytes: int = 0
    llb_write_bytes: int = 0
    dram_read_bytes: int = 0
    dram_write_bytes: int = 0
    host_read_bytes: int = 0
    host_write_bytes: int = 0
    l1_bytes: int = 0
    lane_ops: int = 0
    llb_moved: int = 0
    dram_moved: int = 0
    host_moved: int = 0
    macs: tuple[tuple[DType, int], ...] = field(default=(), kw_only=True)
    busy_cycles: tuple[int, ...] = field(default=(0,) * ENGINES, kw_only=True)

    @property
    def llb_bytes(self) -> int:
        """Through the LLB port, both ways."""
        return self.llb_read_bytes + self.llb_write_bytes

    @property
    def dram_bytes(self) -> int:
        """Through the DRAM port, both ways."""
        return self.dram_read_bytes + self.dram_write_bytes

    @property
    def host_bytes(self) -> int:
        """Over the host link, both ways."""
        return self.host_read_bytes + self.host_write_bytes


def sum_of_work(parts: Sequence[Work]) -> Work:
    """All parts together."""
    if len(parts) == 1:
        return parts[0]
    macs: dict[DType, int] = {}
    for part in parts:
        for dtype, count in part.macs:
            macs[dtype] = macs.get(dtype, 0) + count
    return Work(
        *[sum([getattr(part, name) for part in parts]) for name in _COUNTS],
        macs=tuple(macs.items()),
        busy_cycles=tuple([sum([part.busy_cycles[engine] for part in parts]) for engine in range(ENGINES)]),
    )


_COUNTS = (
    "llb_read_bytes",
    "llb_write_bytes",
    "dram_read_bytes",
    "dram_write_bytes",
    "host_read_bytes",
    "host_write_bytes",
    "l1_bytes",
    "lane_ops",
    "llb_moved",
    "dram_moved",
    "host_moved",
)
_LANE_OPS = _COUNTS.index("lane_ops")
_MOVED = _COUNTS.index("llb_moved")
_COUNTED = len(_COUNTS)


def work_of(flat: FlatKernel) -> Work:
    """Sum the cost table over all firings."""
    totals, macs = _totals(flat.nest.steps, flat.plan.step_prices.prices, flat.nest.costs)
    numbers = totals.tolist()
    return Work(
        *numbers[:_COUNTED],
        macs=tuple(
            [
                (dtype, count)
                for dtype, count in zip(flat.plan.dtypes, macs.tolist(), strict=True)
                if dtype and count
            ]
        ),
        busy_cycles=tuple(numbers[_COUNTED:]),
    )


@compiled
def _totals(steps: Ints, prices: Ints, costs: Ints) -> tuple[Ints, Ints]:
    """Bytes in the order of Work's fields, lane operations, busy cycles an engine; and MACs of every step."""
    totals = np.zeros(_COUNTED + ENGINES, dtype=np.int64)
    macs = np.zeros(steps.shape[0], dtype=np.int64)
    own = np.zeros(COST_COLUMNS, dtype=np.int64)
    for s in range(steps.shape[0]):
        end = steps[s + 1, ENTRY] if s + 1 < steps.shape[0] else costs.shape[0]
        own[:] = 0
        for entry in range(steps[s, ENTRY], end):
            for column in range(COST_COLUMNS):
                own[column] += costs[entry, FIRINGS] * costs[entry, column]
        macs[s] = own[MACS]
        totals[_LANE_OPS - 1] += own[L1_SIZE]
        totals[_LANE_OPS] += own[LANE_WORK]
        engine = steps[s, ENGINE]
        if engine != NO_ENGINE:
            totals[_COUNTED + engine] += own[BUSY]
        if prices[s, KIND] == TRANSFER:
            stores = 1 if engine == STORE else 0
            if prices[s, NEAR] != NO_TABLE:
                totals[stores] += own[SIZE]
                totals[_MOVED] += own[NEAR_MOVED]
            if prices[s, FAR] != NO_TABLE:
                port = 2 if prices[s, FAR] >= HOST_LOAD else 1
                totals[2 * port + stores] += own[FAR_SIZE]
                totals[_MOVED + port] += own[FAR_MOVED]
    return totals, macs


def energy_uj(work: Work, latency_us: float, target: Target) -> float:
    """Microjoules: every access, MAC and lane operation at the target's price, and static power over time."""
    energy = target.energy
    picojoules = (
        work.l1_bytes * energy.pj_per_l1_byte
        + work.llb_bytes * energy.pj_per_llb_byte
        + work.dram_bytes * energy.pj_per_dram_byte
        + work.host_bytes * energy.pj_per_host_byte
        + work.lane_ops * energy.pj_per_lane_op
        + sum([count * energy.pj_per_mac_of(dtype) for dtype, count in work.macs])
    )
    return picojoules * 1e-6 + energy.static_watts * latency_us
