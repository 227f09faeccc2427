"""Target: an accelerator as plain numbers, frozen. What the numbers cost in cycles is units.py's business.

A chip is `cores` equal cores. A core has a matrix unit, a vector unit, a private L1 and a load and a store
DMA engine. The cores share the LLB; DRAM sits behind it and the host behind a link. Bandwidths may be `inf`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from functools import cached_property
from math import inf
from typing import Any, TypeAlias

from compiler_core.digest import Json, digest_of
from compiler_core.dtypes import DType
from compiler_core.errors import TargetError


class Dataflow(StrEnum):
    """Which operand of a systolic array stays in place: outputs, weights (columns) or inputs (rows)."""

    OS = "os"
    WS = "ws"
    IS = "is"


@dataclass(frozen=True)
class CubeShape:
    """MACs of one step for one dtype: a block of m_outer x m rows, n columns, sums of k products.

    A step takes `cycles`, so m_outer * m * n * k / cycles is the peak of one unit in MACs per cycle.
    """

    dtype: DType
    m: int
    n: int
    k: int
    m_outer: int = 1
    cycles: int = 1

    @property
    def macs_per_step(self) -> int:
        """Multiply-accumulates of a full step."""
        return self.m_outer * self.m * self.n * self.k


@dataclass(frozen=True)
class CubeUnit:
    """A matrix unit that multiplies fixed blocks, one after the other.

    `joins_rows`: rows of all axes are flattened before they are cut into blocks of m_outer * m; otherwise the
    two innermost row axes are padded to m_outer and m each. `joins_taps`: all reduction axes are flattened
    before they are cut into k; otherwise window taps repeat and only the innermost reduction is padded to k.
    `swaps`: rows and columns may change places. `depthwise` shapes lay the batch axis over the n columns
    (each column its own channel); without one, every batch element is a multiplication of its own.
    """

    shapes: tuple[CubeShape, ...]
    depthwise: tuple[CubeShape, ...] = ()
    joins_rows: bool = True
    joins_taps: bool = True
    swaps: bool = False
    start_up_cycles: int = 0
    units: int = 1


@dataclass(frozen=True)
class SystolicRate:
    """How many cycles a step of the array takes for one dtype."""

    dtype: DType
    cycles: int = 1


@dataclass(frozen=True)
class SystolicUnit:
    """A rows x cols grid of multipliers through which operands march in step.

    A fold is one filling of the grid. `overlap_folds`: a fold starts while the one before drains; otherwise
    each pays its whole fill and drain. Independent folds are dealt to `units` equal arrays.
    """

    rows: int
    cols: int
    dataflow: Dataflow
    rates: tuple[SystolicRate, ...]
    overlap_folds: bool = True
    joins_taps: bool = True
    swaps: bool = False
    start_up_cycles: int = 0
    units: int = 1


MatrixUnit: TypeAlias = CubeUnit | SystolicUnit


@dataclass(frozen=True)
class VectorUnit:
    """`bits` of one operand a cycle. `lane_ops` overrides the op table's cost of a point, by op name.

    `takes_contractions`: sums of products may run here (one lane operation a MAC) where that is faster.
    """

    bits: int
    start_up_cycles: int = 0
    lane_ops: tuple[tuple[str, int], ...] = ()
    takes_contractions: bool = True

    def lane_ops_of(self, op: str, default: int) -> int:
        """Lane operations of one point of `op`; `default` is what the op table says."""
        return dict(self.lane_ops).get(op, default)


@dataclass(frozen=True)
class Memory:
    """A shared memory and its port: capacity, bandwidth over all cores, time to the first byte."""

    kib: int
    gbps: float
    latency_cycles: int
    burst_bytes: int


@dataclass(frozen=True)
class Dma:
    """The load engine and the store engine of a core: each moves bytes_per_cycle at best.

    A transfer pays setup_cycles; at most `outstanding` bursts are in flight at once.
    """

    bytes_per_cycle: float
    setup_cycles: int
    outstanding: int


@dataclass(frozen=True)
class HostLink:
    """The way to the host's memory."""

    gbps: float
    latency_us: float


@dataclass(frozen=True)
class Overheads:
    """Launch of a kernel, barrier between stages (all cores), dispatch of a tile (each core)."""

    launch_us: float
    barrier_cycles: int
    tile_dispatch_cycles: int


@dataclass(frozen=True)
class MacEnergy:
    """Energy of one multiply-accumulate of one dtype."""

    dtype: DType
    pj: float


@dataclass(frozen=True)
class Energy:
    """Picojoules per MAC, per vector lane operation and per byte at each level; watts at rest."""

    macs: tuple[MacEnergy, ...]
    pj_per_lane_op: float
    pj_per_l1_byte: float
    pj_per_llb_byte: float
    pj_per_dram_byte: float
    pj_per_host_byte: float
    static_watts: float

    def pj_per_mac(self, dtype: DType) -> float:
        """Energy of one MAC; a dtype not listed costs as the dearest listed one."""
        for entry in self.macs:
            if entry.dtype is dtype:
                return entry.pj
        return max(entry.pj for entry in self.macs)


@dataclass(frozen=True)
class StoredType:
    """A dtype the target stores and computes, and the type it keeps sums of it in."""

    dtype: DType
    accumulator: DType


@dataclass(frozen=True)
class Target:
    """An accelerator. `dtypes` are in order of preference; `assumed` names the numbers nobody published."""

    name: str
    description: str
    frequency_mhz: float
    cores: int
    dtypes: tuple[StoredType, ...]
    matrix: MatrixUnit
    vector: VectorUnit
    l1_kib: int
    accumulator_kib: int
    llb: Memory
    dram: Memory
    dma: Dma
    host: HostLink
    overheads: Overheads
    energy: Energy
    weights_bypass_llb: bool = False
    assumed: tuple[str, ...] = ()

    @cached_property
    def digest(self) -> str:
        """Content digest over all that decides time, energy or legality: not names, prose or provenance."""
        content = {key: value for key, value in numbers_of(self) if key not in _PROSE}
        return digest_of(content)

    @property
    def cycles_per_us(self) -> float:
        """Clock cycles in a microsecond."""
        return self.frequency_mhz

    @property
    def launch_cycles(self) -> int:
        """Launch of one kernel in cycles, rounded up."""
        return _ceil(self.overheads.launch_us * self.frequency_mhz)

    @property
    def l1_bytes(self) -> int:
        """Private memory of one core."""
        return self.l1_kib * 1024

    @property
    def accumulator_bytes(self) -> int:
        """Accumulator memory of one core; 0 where sums live in L1."""
        return self.accumulator_kib * 1024

    @property
    def llb_bytes(self) -> int:
        """Capacity of the shared buffer."""
        return self.llb.kib * 1024

    @property
    def llb_bytes_per_cycle(self) -> float:
        """Bandwidth of the shared buffer over all cores."""
        return self.llb.gbps * 1000.0 / self.frequency_mhz

    @property
    def dram_bytes_per_cycle(self) -> float:
        """Bandwidth of DRAM over all cores."""
        return self.dram.gbps * 1000.0 / self.frequency_mhz

    @property
    def host_bytes_per_cycle(self) -> float:
        """Bandwidth of the host link."""
        return self.host.gbps * 1000.0 / self.frequency_mhz

    @property
    def stores_floats(self) -> bool:
        """False on an integer-only target: a float model timed on it must be marked so."""
        return any(stored.dtype.is_float for stored in self.dtypes)

    def storage_dtype(self, dtype: DType) -> DType:
        """What a value of the model's `dtype` is stored as: it sets bytes and timing, never numbers.

        A listed dtype is stored as it is, except that f32 and f64 take the preferred (first) float. A float
        that is not listed takes the preferred float, or the preferred type of an integer-only target. Other
        integers and booleans (indices, masks, sums) keep their width.
        """
        if not dtype.is_float:
            return dtype
        floats = [stored.dtype for stored in self.dtypes if stored.dtype.is_float]
        if not floats:
            return self.dtypes[0].dtype
        if dtype in floats and dtype not in (DType.F32, DType.F64):
            return dtype
        return floats[0]

    def accumulator_dtype(self, stored: DType) -> DType:
        """The type in which sums of a stored dtype are kept."""
        for entry in self.dtypes:
            if entry.dtype is stored:
                return entry.accumulator
        return stored.accumulator

    def peak_macs_per_cycle(self, stored: DType) -> float:
        """Most multiply-accumulates a cycle over all cores of the matrix units.

        TargetError when the matrix unit does not take `stored`.
        """
        matrix = self.matrix
        if isinstance(matrix, CubeUnit):
            for shape in matrix.shapes:
                if shape.dtype is stored:
                    return self.cores * matrix.units * shape.macs_per_step / shape.cycles
        else:
            for rate in matrix.rates:
                if rate.dtype is stored:
                    return self.cores * matrix.units * matrix.rows * matrix.cols / rate.cycles
        raise TargetError(f"target {self.name}: the matrix unit does not take {stored}; add a shape for it")

    def peak_lane_ops_per_cycle(self, stored: DType) -> int:
        """Most vector lane operations a cycle over all cores."""
        return self.cores * max(1, self.vector.bits // (8 * stored.bytes))


_PROSE = frozenset({"name", "description", "assumed"})


def numbers_of(value: Any, prefix: str = "") -> Iterator[tuple[str, Json]]:
    """The leaves of a Target, or of a part of it, by dotted path; infinite bandwidths as the text "inf".

    ("cores", 32), ("matrix.kind", "cube"), ("matrix.shapes.0.m", 16), ("dma.setup_cycles", 64), ...
    """
    if is_dataclass(value):
        if isinstance(value, CubeUnit | SystolicUnit):
            yield f"{prefix}kind", "cube" if isinstance(value, CubeUnit) else "systolic"
        for field in fields(value):
            yield from _leaves(getattr(value, field.name), f"{prefix}{field.name}")
    elif isinstance(value, tuple):
        for at, item in enumerate(value):
            yield from _leaves(item, f"{prefix}{at}")


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Json]]:
    if is_dataclass(value) or isinstance(value, tuple):
        yield from numbers_of(value, f"{path}.")
    elif isinstance(value, float):
        # 4000 and 4000.0 in a file are the same number, and must digest alike.
        yield path, "inf" if value == inf else float(value)
    else:
        yield path, value


def _ceil(value: float) -> int:
    return -int(-value // 1)
