"""A device of your own for `tune run`: what it has to say, and where a board would be called.

    tune run model.onnx --target ascend310 --device examples.own_device:open_board

A failed trial is a Measurement with its reason, never an exception. Two methods more let a board be checked,
`outputs` and `measure_repeated`: docs/farm.md.
"""

from collections.abc import Sequence

from tilewright.compiler_core.errors import ConfigError
from tilewright.compiler_core.ir.workload import Workload
from tilewright.compiler_core.lowering.lower import lower_kernel
from tilewright.compiler_core.lowering.program import KernelProgram
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.target_model.file import load_target
from tilewright.compiler_core.target_model.target import Target
from tilewright.measure.device import DeviceInfo, Task
from tilewright.measure.results import Measurement, Status, failure
from tilewright.measure.simulator.device import SimulatedDevice
from tilewright.measure.simulator.kernel import simulate_kernel
from tilewright.search_space.codec import tiling_of
from tilewright.search_space.knobs import Config


class Board:
    """Compiles every Config for `target` and runs it three times."""

    def __init__(self, target: Target) -> None:
        self.target = target

    def describe(self) -> DeviceInfo:
        """Who measures, for which target; the toolchain and the protocol that its latencies hold under."""
        return DeviceInfo("own board", self.target.digest, "board-sdk-1.0", True, "median of 3")

    def measure(self, task: Task, configs: Sequence[Config]) -> list[Measurement]:
        """One answer per Config, in their order."""
        if not isinstance(task, Workload):  # whole networks, which a board would run stage by stage
            return SimulatedDevice(self.target).measure(task, configs)
        return [self.measure_kernel(task, config) for config in configs]

    def measure_kernel(self, task: Workload, config: Config) -> Measurement:
        """Compile, run three times, and give the median."""
        try:
            tiling, cores = tiling_of(config, regions := Regions(task))
            program = lower_kernel(regions, tiling, cores, self.target)
        except ConfigError as error:
            return failure(Status.INVALID, str(error))
        samples_us = sorted(self.run(program) for _ in range(3))
        return Measurement(Status.OK, latency_us=samples_us[1], samples_us=tuple(samples_us))

    def run(self, program: KernelProgram) -> float:
        """Microseconds of one run. Here your board gets the Program; this one asks the simulator."""
        return simulate_kernel(program, self.target).latency_us


def open_board() -> Board:
    """What --device calls."""
    return Board(load_target("ascend310"))
