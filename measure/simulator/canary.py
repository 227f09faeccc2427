"""A canary: a kernel whose time on a simulated chip is known beforehand. A farm gives it to its workers in
between.
"""

import numpy as np

from tilewright.compiler_core.ir.dtypes import DType, TensorType
from tilewright.compiler_core.ir.graph import Graph, Op
from tilewright.compiler_core.ir.index_map import Access, axis_index
from tilewright.compiler_core.ir.ops import AxisKind
from tilewright.compiler_core.ir.workload import kernel_of
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.measure.device import Device
from tilewright.measure.farm.messages import Canary
from tilewright.measure.lab import of_worker
from tilewright.measure.results import Status
from tilewright.measure.simulator.worker import simulated_device
from tilewright.search_space.moves import sample
from tilewright.search_space.rules import KnobLayout
from tilewright.search_space.validity import kernel_space

SIDE = 64  # of the square matrices whose product the canary is
TRIES = 64
TOLERANCE = 0.01  # the simulator repeats itself; anything else is another program, or a sick host


def simulated_canaries(target_text: str) -> tuple[Canary, ...]:
    """A small matrix product and its time, simulated here and now; () for a chip that runs none."""
    device = simulated_device(target_text)
    regions = Regions(kernel_of(_square_product(), [0], {}).workload)
    space = kernel_space(KnobLayout(regions, device.target))
    for row in sample(space, TRIES, np.random.default_rng(0)):
        config = space.decode(row)
        (measured,) = device.measure(regions.workload, [config])
        if measured.status is Status.OK and measured.latency_us is not None:
            return (Canary(regions.workload, config, measured.latency_us, TOLERANCE),)
    return ()


def warmed_device(target_text: str, lab: str = "") -> Device:
    """The chip, with all numba code compiled before its first measurement. It has the plan `lab` of its
    driver, else that of its host, and its toolchain names the plan (see lab.py).
    """
    simulated_canaries(target_text)
    return of_worker(simulated_device(target_text), lab)


def _square_product() -> Graph:
    matrix = TensorType((SIDE, SIDE), DType.F16)
    left = Access(0, (axis_index(0), axis_index(2)))
    right = Access(1, (axis_index(2), axis_index(1)))
    axes = (AxisKind.PARALLEL, AxisKind.PARALLEL, AxisKind.REDUCTION)
    return Graph((matrix,) * 3, (Op("contract", (SIDE,) * 3, axes, (left, right), 2),), (0, 1), (2,))
