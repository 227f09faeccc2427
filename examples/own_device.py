"""A device of your own for `tune run`: its description, and the place where a board would be called.

    tune run model.onnx --target ascend310 --device examples.own_device:open_board

`ProgramDevice` compiles every Config; a board gets Programs. A failed run is a Measurement with its reason,
never an exception. Two methods more let a board be checked, `outputs` and `measure_repeated`: docs/farm.md.
"""

from tilewright.compiler_core.target_model.file import load_target
from tilewright.compiler_core.target_model.target import Target
from tilewright.measure.device import DeviceInfo
from tilewright.measure.results import Measurement, Status
from tilewright.measure.runner import AnyProgram, ProgramDevice
from tilewright.measure.simulator.kernel import simulate_kernel
from tilewright.measure.simulator.program import simulate_program
from tilewright.search_space.programs import NetworkProgram


class Board:
    """Runs every Program three times."""

    def __init__(self, target: Target) -> None:
        self.target = target

    def describe(self) -> DeviceInfo:
        """Who measures, for which target; the toolchain and the protocol that its latencies hold under."""
        return DeviceInfo("own board", self.target.digest, "board-sdk-1.0", True, "median of 3")

    def run(self, program: AnyProgram) -> Measurement:
        """The median of three runs."""
        samples_us = sorted(self.run_once(program) for _ in range(3))
        return Measurement(Status.OK, latency_us=samples_us[1], samples_us=tuple(samples_us))

    def run_once(self, program: AnyProgram) -> float:
        """Microseconds of one run. Here your board gets the Program; this one asks the simulator."""
        if isinstance(program, NetworkProgram):
            return simulate_program(program.program, program.graph, self.target).latency_us
        return simulate_kernel(program, self.target).latency_us


def open_board() -> ProgramDevice:
    """What --device calls."""
    target = load_target("ascend310")
    return ProgramDevice(target, Board(target))
