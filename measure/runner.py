"""A Device made of something that runs Programs: all that most back ends have to be.

class Board:
    def describe(self) -> DeviceInfo: ...
    def run(self, program: KernelProgram | NetworkProgram) -> Measurement: ...

device = ProgramDevice(target, Board())
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, TypeAlias

from tilewright.compiler_core.errors import ConfigError, DeviceError
from tilewright.compiler_core.ir.workload import Workload
from tilewright.compiler_core.lowering.program import KernelProgram
from tilewright.compiler_core.target_model.target import Target
from tilewright.measure.device import DeviceInfo, Task
from tilewright.measure.results import Measurement, Status, failure
from tilewright.search_space.knobs import Config
from tilewright.search_space.network import NetworkTask
from tilewright.search_space.programs import NetworkProgram, ProgramBuilder

AnyProgram: TypeAlias = KernelProgram | NetworkProgram


class Runner(Protocol):
    """The runner of Programs: a simulator, a board. A failed run is a Measurement with its reason."""

    def describe(self) -> DeviceInfo:
        """Constant over the life of the runner."""
        ...

    def run(self, program: AnyProgram) -> Measurement:
        """The program of one kernel, or of a whole network, run as `describe` says it is measured."""
        ...


@dataclass(frozen=True, eq=False)
class ProgramDevice:
    """A `runner` as a Device: every Config is compiled for `target`; one that does not compile is INVALID."""

    target: Target
    runner: Runner

    @cached_property
    def _builder(self) -> ProgramBuilder:
        return ProgramBuilder(self.target)

    def describe(self) -> DeviceInfo:
        """The runner's description."""
        return self.runner.describe()

    def measure(self, task: Task, configs: Sequence[Config]) -> list[Measurement]:
        """One Measurement per Config, in their order; DeviceError for a task that is no kernel or network."""
        return measure_programs(task, configs, self._builder, self.runner.run)


def measure_programs(
    task: Task, configs: Sequence[Config], builder: ProgramBuilder, run: Callable[[AnyProgram], Measurement]
) -> list[Measurement]:
    """Build the Program of every Config and run it; INVALID where there is none.

    DeviceError for a task that is neither a kernel nor a network.
    """
    if not isinstance(task, Workload | NetworkTask):
        raise DeviceError(f"Programs are made of kernels and networks, not of a {type(task).__name__}")

    def measured(config: Config) -> Measurement:
        try:
            program = builder.build(task, config)
        except ConfigError as error:
            return failure(Status.INVALID, str(error))
        return run(program)

    return list(map(measured, configs))
