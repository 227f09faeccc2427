"""`tune targets peak`: rates of a device with micro-kernels, beside those of its target file.

    macs     the better of a large matrix product and a convolution       file: matrix unit
    llb      relu over a tensor in the LLB, bytes there and back          file: llb.gbps
    dram     relu over a tensor in DRAM, or row maxima of constants       file: dram.gbps
    host     an op on the host, bytes there and back                      file: host.gbps
    launch   relu of one element                                          file: launch, barrier, one tile

Each micro-kernel is measured with the Configs that the draft likes best, and the fastest counts. Rates are
over the whole kernel, its launch included.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf

import numpy as np

from tilewright.compiler_core.errors import DeviceError
from tilewright.compiler_core.ir.dtypes import DType, TensorType
from tilewright.compiler_core.ir.graph import Graph, Op
from tilewright.compiler_core.ir.index_map import Access, affine, axis_index
from tilewright.compiler_core.ir.ops import AxisKind
from tilewright.compiler_core.ir.workload import Level, Workload
from tilewright.compiler_core.lowering.pipeline import plan_groups
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.target_model.target import Target
from tilewright.compiler_core.target_model.units import (
    load_table,
    store_table,
    transfer_cycles,
    vector_cycles,
)
from tilewright.measure.device import Device
from tilewright.search_space.moves import sample
from tilewright.search_space.network import network_config, numbered
from tilewright.tuner.kernel.problem import trial_seed
from tilewright.tuner.kernel.task import KernelTask

DRAWN, MEASURED = 2048, 48
LLB_SHARE = 0.5
DRAM_BYTES = 1 << 26
HOST_BYTES = 1 << 25
MOST_SIDE, LEAST_SIDE = 4096, 256
FILTERS, WINDOW = 256, 8


@dataclass(frozen=True)
class Peak:
    """One number of a device: `measured` and `nominal` in `unit`; `ratio` 1 equals the file's number.

    The ratio is of rates (measured / nominal), and for a time its inverse: below 1 is always worse.
    """

    name: str
    unit: str
    measured: float
    nominal: float

    @property
    def ratio(self) -> float:
        """The attained share of the nominal number."""
        if self.unit == "us":
            return self.nominal / self.measured
        return self.measured / self.nominal


def measure_peaks(target: Target, device: Device, seed: int = 0) -> tuple[Peak, ...]:
    """All peaks of `device`, whose nominal numbers are those of `target`; infinite ones are left out.

    DeviceError where a micro-kernel fails on the device with every Config.
    """
    return tuple(_peaks(target, device, seed))


def _peaks(target: Target, device: Device, seed: int) -> Iterator[Peak]:
    stored = target.dtypes[0][0]
    through = Level.LLB if target.llb_bytes else Level.DRAM
    rates = [
        _macs(workload) / _fastest_us(workload, target, device, seed)
        for workload in (_product(target, stored, through), _convolution(target, stored, through))
    ]
    nominal = target.peak_macs_per_cycle(stored) * target.frequency_mhz
    yield Peak("macs", "TMAC/s", max(rates) / 1e6, nominal / 1e6)
    if target.llb_bytes and target.llb.gbps < inf:
        copy = _relu(int(target.llb_bytes * LLB_SHARE) // 2 // stored.bytes, stored, Level.LLB)
        yield Peak("llb", "GB/s", _gbps(copy, target, device, seed), target.llb.gbps)
    if target.dram.gbps < inf:
        streams = (_relu(DRAM_BYTES // 2 // stored.bytes, stored, Level.DRAM), _row_maxima(stored, through))
        dram = max(_gbps(workload, target, device, seed) for workload in streams)
        yield Peak("dram", "GB/s", dram, target.dram.gbps)
    if target.host.gbps < inf:
        yield Peak("host", "GB/s", _host_gbps(target, device), target.host.gbps)
    shortest = _fastest_us(_relu(1, stored, through), target, device, seed)
    yield Peak("launch", "us", shortest, _least_launch_us(target, stored))


def _fastest_us(workload: Workload, target: Target, device: Device, seed: int) -> float:
    task = KernelTask(Regions(workload), target)
    rng = np.random.default_rng(trial_seed(f"peak {task.digest}", seed))
    rows = np.concatenate([task.space.encode(task.default)[None, :], sample(task.space, DRAWN, rng)])
    order = np.argsort(task.model.draft_log(rows), kind="stable")[:MEASURED]
    answers = device.measure(workload, [task.space.decode(rows[index]) for index in order])
    times = [answer.latency_us for answer in answers if answer.latency_us is not None]
    if not times:
        reason = answers[0].reason
        raise DeviceError(f"a micro-kernel ({workload.graph.ops[0].kind}) runs with no Config: {reason}")
    return min(times)


def _gbps(workload: Workload, target: Target, device: Device, seed: int) -> float:
    graph = workload.graph
    moved = sum(graph.elements(value) * graph.values[value].dtype.bytes for value in range(len(graph.values)))
    return moved / _fastest_us(workload, target, device, seed) / 1e3


def _host_gbps(target: Target, device: Device) -> float:
    """A network of one op without structured form: its operand goes to the host, its result comes back."""
    stored = target.dtypes[0][0]
    kind = TensorType((HOST_BYTES // 2 // stored.bytes,), stored)
    op = Op("host", kind.shape, (AxisKind.PARALLEL,), (Access(0, (axis_index(0),)),), 1)
    graph = Graph((kind, kind), (op,), (0,), (1,))
    network = numbered(graph)
    config = network_config(plan_groups(graph, [(0,)], target), {}, network)
    (answer,) = device.measure(network.task, [config])
    if answer.latency_us is None:
        raise DeviceError(f"an op on the host fails: {answer.reason}")
    return HOST_BYTES / answer.latency_us / 1e3


def _macs(workload: Workload) -> int:
    return sum(op.points for op in workload.graph.ops)


def _least_launch_us(target: Target, stored: DType) -> float:
    """The shortest kernel by the file: launch, one element there, through the unit and back, barrier."""
    memory = target.llb if target.llb_bytes else target.dram
    size = stored.bytes
    cycles = (
        target.launch_cycles
        + target.overheads.tile_dispatch_cycles
        + int(transfer_cycles(np.int64(size), size, 1, load_table(target, memory)))
        + int(vector_cycles(1, 1, target.vector.lanes(stored), target.vector.start_up_cycles))
        + int(transfer_cycles(np.int64(size), size, 1, store_table(target, memory)))
        + target.overheads.barrier_cycles
    )
    return cycles / target.cycles_per_us


def _relu(elements: int, stored: DType, level: Level) -> Workload:
    """An elementwise kernel over rows of 4096 elements (one shorter row where there are fewer)."""
    columns = min(4096, elements)
    shape = (elements // columns, columns)
    rows = Access(0, (axis_index(0), axis_index(1)))
    op = Op("relu", shape, (AxisKind.PARALLEL,) * 2, (rows,), 1)
    return Workload(Graph((TensorType(shape, stored),) * 2, (op,), (0,), (1,)), (level, level))


def _row_maxima(stored: DType, level: Level) -> Workload:
    """The largest of each row of constants, which are packed in the order of use and so come in long runs."""
    rows, columns = DRAM_BYTES // stored.bytes // 4096, 4096
    kinds = (AxisKind.PARALLEL, AxisKind.REDUCTION)
    op = Op("max", (rows, columns), kinds, (Access(0, (axis_index(0), axis_index(1))),), 1)
    values = (TensorType((rows, columns), stored), TensorType((rows,), stored))
    return Workload(Graph(values, (op,), (0,), (1,)), (Level.CONSTANT, level))


def _product(target: Target, stored: DType, level: Level) -> Workload:
    """A square matrix product, as large as three of its matrices fit into the LLB."""
    side = MOST_SIDE
    while side > LEAST_SIDE and 3 * side * side * stored.bytes > target.llb_bytes > 0:
        side //= 2
    kinds = (AxisKind.PARALLEL, AxisKind.PARALLEL, AxisKind.REDUCTION)
    left = Access(0, (axis_index(0), axis_index(2)))
    right = Access(1, (axis_index(2), axis_index(1)))
    op = Op("contract", (side,) * 3, kinds, (left, right), 2)
    graph = Graph((TensorType((side, side), stored),) * 3, (op,), (0, 1), (2,))
    return Workload(graph, (level,) * 3)


def _convolution(target: Target, stored: DType, level: Level) -> Workload:
    """FILTERS windows of WINDOW x WINDOW over FILTERS channels: every loaded pixel is used many times."""
    side = 128
    while side > 16 and 2 * side * side * FILTERS * stored.bytes > target.llb_bytes > 0:
        side //= 2
    reach = side + WINDOW - 1
    image = Access(0, (axis_index(3), affine((1, 1), (4, 1)), affine((2, 1), (5, 1))))
    weight = Access(1, (axis_index(0), axis_index(3), axis_index(4), axis_index(5)))
    kinds = (AxisKind.PARALLEL,) * 3 + (AxisKind.REDUCTION,) * 3
    op = Op("contract", (FILTERS, side, side, FILTERS, WINDOW, WINDOW), kinds, (image, weight), 2)
    shapes = ((FILTERS, reach, reach), (FILTERS, FILTERS, WINDOW, WINDOW), (FILTERS, side, side))
    graph = Graph(tuple(TensorType(shape, stored) for shape in shapes), (op,), (0, 1), (2,))
    return Workload(graph, (level, Level.CONSTANT, level))
