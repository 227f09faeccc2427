"""Target: an accelerator as plain numbers, frozen. units.py turns the numbers into cycles.

A chip is `cores` equal cores. A core has a matrix unit, a vector unit, a private L1, and a load and a store
DMA engine. The cores share the LLB; DRAM sits behind it and the host behind a link. Bandwidths may be `inf`.
The ranges in the annotations hold for target files and for the JSON Schema.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from functools import cached_property
from math import ceil, inf
from typing import Annotated, Any, TypeAlias

from tilewright.compiler_core.digest import Json, digest_of
from tilewright.compiler_core.errors import TargetError
from tilewright.compiler_core.ir.dtypes import DType


@dataclass(frozen=True)
class Range:
    """Inclusive limits of a number in a target file."""

    low: float
    high: float


Count: TypeAlias = Annotated[int, Range(1, 2**20)]
Cycles: TypeAlias = Annotated[int, Range(0, 2**30)]
Bytes: TypeAlias = Annotated[int, Range(0, 2**30)]
Kib: TypeAlias = Annotated[int, Range(0, 2**40)]
Rate: TypeAlias = Annotated[float, Range(1e-6, inf)]
Microseconds: TypeAlias = Annotated[float, Range(0.0, 1e6)]
Picojoules: TypeAlias = Annotated[float, Range(0.0, 1e9)]


class Dataflow(StrEnum):
    """Which operand of a systolic array stays in place: outputs, weights (columns) or inputs (rows)."""

    OS = "os"
    WS = "ws"
    IS = "is"


@dataclass(frozen=True)
class CubeShape:
    """The product of one step for one dtype: m_outer x m rows, n columns, sums over taps x k products.

    A step takes `cycles`. The n x taps x k weights of a block are held while its rows stream past; bringing
    in the next ones takes `load_cycles`, hidden behind the rows of the block before.
    """

    dtype: DType
    m: Count
    n: Count
    k: Count
    m_outer: Count = 1
    taps: Count = 1
    cycles: Count = 1
    load_cycles: Cycles = 0

    @property
    def macs_per_step(self) -> int:
        """Multiply-accumulates of a full step."""
        return self.m_outer * self.m * self.n * self.taps * self.k


@dataclass(frozen=True)
class CubeUnit:
    """A matrix unit that multiplies fixed blocks one after the other, in the best of the shapes it has.

    `joins_rows`: row axes are flattened before they are cut into blocks of m_outer * m; otherwise the two
    innermost row axes are padded to m_outer and m each. `joins_taps`: all reduction axes are flattened before
    they are cut into taps * k; otherwise window taps are padded to taps, the innermost reduction to k.
    `swaps`: rows and columns may change places. `depthwise` shapes lay the batch axis over the n columns,
    each column its own channel; without one, every batch element is a multiplication of its own.
    `largest_n`: the most columns (or such channels) of the results of one tile; 0: no limit.
    """

    shapes: tuple[CubeShape, ...]
    depthwise: tuple[CubeShape, ...] = ()
    joins_rows: bool = True
    joins_taps: bool = True
    swaps: bool = False
    start_up_cycles: Cycles = 0
    units: Count = 1
    largest_n: Annotated[int, Range(0, 2**20)] = 0


@dataclass(frozen=True)
class SystolicUnit:
    """A rows x cols grid of multipliers through which operands march, `cycles_per_step` by dtype.

    A fold is one filling of the grid. `overlap_folds`: a fold starts while the one before drains; otherwise
    each pays its whole fill and drain. Folds are dealt to `units` equal arrays. `joins_taps` and `swaps` are
    those of CubeUnit.

    With `operand_buffer_kib`, each operand comes into the grid through a double buffer of that size and a
    port of its own, and results leave through one; 0: operands are there when they are due.
    """

    rows: Count
    cols: Count
    dataflow: Dataflow
    cycles_per_step: tuple[tuple[DType, Count], ...]
    overlap_folds: bool = True
    joins_taps: bool = True
    swaps: bool = False
    start_up_cycles: Cycles = 0
    units: Count = 1
    operand_buffer_kib: Kib = 0
    operand_bytes_per_cycle: Rate = inf
    operand_latency_cycles: Cycles = 0


@dataclass(frozen=True)
class SimdUnit:
    """The vector registers of a CPU core: `fma_ports` multiply-adds of `bits` each a cycle at best.

    A multiply-add has its result after `fma_latency_cycles`, so that many times the ports must be under way.
    `load_ports` vectors of `bits` are loaded a cycle. Any axis may lie across the lanes; one that does not
    fill them leaves some idle, which is the schedule's affair and no law of the unit.
    """

    bits: Count
    registers: Count
    fma_ports: Count
    fma_latency_cycles: Count
    load_ports: Count

    @property
    def start_up_cycles(self) -> int:
        """None: instructions follow each other."""
        return 0

    def lanes(self, stored: DType) -> int:
        """Elements of a stored dtype in a register."""
        return max(1, self.bits // (8 * stored.bytes))


MatrixUnit: TypeAlias = CubeUnit | SystolicUnit | SimdUnit


@dataclass(frozen=True)
class Cache:
    """A cache of one core: a tile that does not fit costs time, and is legal. Innermost first in a Target."""

    kib: Kib
    bytes_per_cycle: Rate


@dataclass(frozen=True)
class VectorUnit:
    """`bits` of one operand a cycle, in lanes of at least `minimum_lane_bits`.

    `lane_ops` overrides the op table's cost of a point, by op name. `takes_contractions`: sums of products
    may run here, one lane operation a MAC, where that is faster.
    """

    bits: Count
    minimum_lane_bits: Count = 8
    start_up_cycles: Cycles = 0
    takes_contractions: bool = True
    lane_ops: tuple[tuple[str, Count], ...] = ()

    def lanes(self, stored: DType) -> int:
        """Points of a stored dtype worked on at once."""
        return max(1, self.bits // max(self.minimum_lane_bits, stored.bits))

    def lane_ops_of(self, op: str, default: int) -> int:
        """Lane operations of one point of `op`; `default` is that of the op table."""
        return dict(self.lane_ops).get(op, default)


@dataclass(frozen=True)
class Memory:
    """A shared memory and its port: capacity, bandwidth over all cores, time to the first byte, burst."""

    kib: Kib
    gbps: Rate
    latency_cycles: Cycles
    burst_bytes: Annotated[int, Range(1, 2**20)]


@dataclass(frozen=True)
class Dma:
    """The load engine and the store engine of a core: each moves `bytes_per_cycle` at best.

    A transfer pays `setup_cycles`; at most `outstanding` bursts are in flight at once. Activations move in
    runs of at most `load_run_bytes` and `store_run_bytes` (0: as long as they lie in memory); constants are
    packed in the order of their use, so their runs are as long as a tile. `rows_apart`: a run ends with the
    innermost dim, even where the next row follows on in memory.
    """

    bytes_per_cycle: Rate
    setup_cycles: Cycles
    outstanding: Count
    load_run_bytes: Bytes = 0
    store_run_bytes: Bytes = 0
    rows_apart: bool = False


@dataclass(frozen=True)
class HostLink:
    """The way to the host's memory."""

    gbps: Rate
    latency_us: Microseconds


@dataclass(frozen=True)
class Overheads:
    """Launch of a kernel, barrier between stages (all cores), dispatch of a tile (each core)."""

    launch_us: Microseconds
    barrier_cycles: Cycles
    tile_dispatch_cycles: Cycles


@dataclass(frozen=True)
class Energy:
    """Picojoules per MAC of a dtype, per vector lane operation and per byte at each level; watts at rest."""

    pj_per_lane_op: Picojoules
    pj_per_l1_byte: Picojoules
    pj_per_llb_byte: Picojoules
    pj_per_dram_byte: Picojoules
    pj_per_host_byte: Picojoules
    static_watts: Annotated[float, Range(0.0, 1e6)]
    pj_per_mac: tuple[tuple[DType, Picojoules], ...]

    def pj_per_mac_of(self, stored: DType) -> float:
        """Energy of one MAC; a dtype not listed costs as the dearest listed one."""
        listed = dict(self.pj_per_mac)
        return listed.get(signed(stored), max(listed.values()))


UNIT_KINDS = {"cube": CubeUnit, "systolic": SystolicUnit, "simd": SimdUnit}
UNLIMITED_BYTES = 1 << 50
_LATER = {
    "matrix.operand_buffer_kib": "matrix.operand_",
    "matrix.largest_n": "matrix.largest_n",
    "fixed_slots": "fixed_slots",
    "identity": "identity",
    "code": "code",
}
"""Keys that no digest mentions while they are 0, and the start of all that mean nothing without them."""


@dataclass(frozen=True)
class Target:
    """An accelerator. `dtypes` pairs each storage type with its accumulator type, the preferred dtype first.

    Constants (`weights_bypass_llb`) and values in DRAM (`values_bypass_llb`) may move between DRAM and L1
    past the LLB, which then holds none of them. `streams_operands`: a contraction fetches its operands anew
    for every tile; constants pass through the unit as they arrive and take no room. `fixed_slots`: the copies
    of a loaded operand and of sums that the hardware takes turns in, where it leaves no choice of them.
    `caches` are those of a core that has caches in place of an L1 of its own to fill; tiles of any size are
    legal there. `identity` names one kind of CPU that was measured: with it the digest is about what the CPU
    is, and leaves out rates, which differ from measurement to measurement. `code` is a CPU in LLVM's words:
    "triple name +feature ...", for libraries that are built elsewhere. `assumed` names the numbers that
    nobody published, by their dotted path as in `numbers_of`.
    """

    name: str
    description: str
    frequency_mhz: Annotated[float, Range(1e-3, 1e6)]
    cores: Count
    l1_kib: Annotated[int, Range(1, 2**30)]
    dtypes: tuple[tuple[DType, DType], ...]
    matrix: MatrixUnit
    vector: VectorUnit
    llb: Memory
    dram: Memory
    dma: Dma
    host: HostLink
    overheads: Overheads
    energy: Energy
    accumulator_kib: Kib = 0
    weights_bypass_llb: bool = False
    values_bypass_llb: bool = False
    streams_operands: bool = False
    fixed_slots: Annotated[int, Range(0, 3)] = 0
    caches: tuple[Cache, ...] = ()
    identity: str = ""
    code: str = ""
    assumed: tuple[str, ...] = ()

    @cached_property
    def digest(self) -> str:
        """Content digest over all that decides time, energy or legality: not names, prose or provenance."""
        prose = ("name", "description", "assumed")
        content = {path: leaf for path, leaf in numbers_of(self) if path.split(".")[0] not in prose}
        # A later option that is off leaves the digest of a file as it was.
        for key, part in _LATER.items():
            if not content.get(key):
                content = {path: leaf for path, leaf in content.items() if not path.startswith(part)}
        if self.identity:
            lasting = ("identity", "cores", "dtypes", "matrix", "caches")
            content = {path: leaf for path, leaf in content.items() if path.split(".")[0] in lasting}
            content = {path: leaf for path, leaf in content.items() if not path.endswith("bytes_per_cycle")}
        return digest_of({**content, "preference": [stored for stored, _ in self.dtypes]})

    def is_assumed(self, path: str) -> bool:
        """Whether the number at a dotted path is not published: it, or a table that contains it, is in
        `assumed`.
        """
        return any(f"{path}.".startswith(f"{part}.") for part in self.assumed)

    @property
    def cycles_per_us(self) -> float:
        """Clock cycles in a microsecond."""
        return self.frequency_mhz

    @property
    def launch_cycles(self) -> int:
        """Launch of one kernel in cycles, rounded up."""
        return ceil(self.overheads.launch_us * self.frequency_mhz)

    @property
    def l1_bytes(self) -> int:
        """The capacity for tiles of one core: without limit where caches take any tile."""
        return UNLIMITED_BYTES if self.caches else self.l1_kib * 1024

    @property
    def accumulator_bytes(self) -> int:
        """Accumulator memory of one core; 0 where sums live in L1."""
        return self.accumulator_kib * 1024

    @property
    def llb_bytes(self) -> int:
        """Capacity of the shared buffer; 0 where there is none and everything lives in DRAM."""
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
        return any(stored.is_float for stored, _ in self.dtypes)

    def storage_dtype(self, dtype: DType) -> DType:
        """The storage type of a value of the model's `dtype`: it sets bytes and timing, never numbers.

        A listed dtype is stored as it is, except that f32 and f64 take the preferred (first) float. A float
        that is not listed takes the preferred float, or on an integer-only target the preferred type. A short
        integer that is not listed takes the narrowest listed integer that holds it. All else (indices, masks,
        sums) keeps its width.
        """
        if dtype is DType.F32_SUM:
            return dtype
        listed = [stored for stored, _ in self.dtypes]
        if dtype.is_float:
            floats = [stored for stored in listed if stored.is_float]
            exact = dtype in floats and dtype not in (DType.F32, DType.F64)
            return dtype if exact else (floats or listed)[0]
        if dtype is DType.BOOL or dtype.bits > 16 or signed(dtype) in listed:
            return dtype
        wide = [stored for stored in listed if not stored.is_float and stored.bits >= dtype.bits]
        return min(wide, key=lambda stored: stored.bits, default=dtype)

    def accumulator_dtype(self, stored: DType) -> DType:
        """The type in which sums of a stored dtype are kept."""
        return dict(self.dtypes).get(signed(stored), stored.accumulator)

    def peak_macs_per_cycle(self, stored: DType) -> float:
        """Most multiply-accumulates a cycle of all matrix units; TargetError if none takes `stored`."""
        matrix = self.matrix
        if isinstance(matrix, CubeUnit):
            rates = [s.macs_per_step / s.cycles for s in matrix.shapes if s.dtype is signed(stored)]
        elif isinstance(matrix, SimdUnit):
            return self.cores * matrix.fma_ports * matrix.lanes(stored)
        else:
            steps = dict(matrix.cycles_per_step)
            rates = [matrix.rows * matrix.cols / steps[s] for s in (signed(stored),) if s in steps]
        if not rates:
            raise TargetError(f"target {self.name}: matrix has no shape for {stored}; add one to the file")
        return self.cores * matrix.units * max(rates)


def signed(dtype: DType) -> DType:
    """The signed integer of the same width: units do not tell them apart. Other dtypes as they are."""
    return DType(f"i{dtype[1:]}") if dtype.startswith("u") else dtype


def numbers_of(value: Any, path: str = "") -> Iterator[tuple[str, Json]]:
    """The leaves of a Target, or of a part of it, by dotted path; infinite bandwidths as the text "inf".

    ("cores", 32), ("matrix.kind", "cube"), ("matrix.shapes.0.m", 16), ("energy.pj_per_mac.f16", 0.5), ...
    """
    stem = f"{path}." if path else ""
    if is_dataclass(value):
        if type(value) in UNIT_KINDS.values():
            yield f"{stem}kind", next(kind for kind, unit in UNIT_KINDS.items() if unit is type(value))
        for field in fields(value):
            yield from numbers_of(getattr(value, field.name), f"{stem}{field.name}")
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            pair = isinstance(item, tuple)
            yield from numbers_of(item[1] if pair else item, f"{stem}{item[0] if pair else index}")
    elif isinstance(value, float):
        # 4000 and 4000.0 are the same number in a file, and must digest alike.
        yield path, "inf" if value == inf else float(value)
    else:
        yield path, value
