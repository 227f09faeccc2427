"""The simulated accelerator as a Device: Configs of a kernel in, Measurements out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from tilewright.compiler_core.checking.emulate import emulate, run_kernel
from tilewright.compiler_core.errors import DeviceError
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.ir.ops import Array
from tilewright.compiler_core.ir.workload import Workload, as_its_own
from tilewright.compiler_core.lowering.program import KernelCall, Program
from tilewright.compiler_core.lowering.schedule import CoreRange
from tilewright.compiler_core.target_model.target import Target
from tilewright.measure.device import DeviceInfo, Task, simulated_info
from tilewright.measure.results import Measurement, Status
from tilewright.measure.runner import AnyProgram, measure_programs
from tilewright.measure.simulator.kernel import NO_CONFLICTS, simulate_kernel
from tilewright.measure.simulator.program import simulate_program
from tilewright.measure.simulator.tables.flatten import Conflicts
from tilewright.search_space.knobs import Config
from tilewright.search_space.network import NetworkTask
from tilewright.search_space.programs import NetworkProgram, ProgramBuilder


@dataclass(frozen=True, eq=False)
class SimulatedDevice:
    """A chip as `target` describes it. Kernels are compiled for it, and timed on `truth` where that is given.

    So a skewed chip is SimulatedDevice(nominal, truth=skewed(nominal, seed), conflicts=...): only the device
    has its real numbers.
    """

    target: Target
    truth: Target | None = None
    conflicts: Conflicts = NO_CONFLICTS
    name: str = "simulator"

    def describe(self) -> DeviceInfo:
        """The nominal target's digest: the key of its records, skewed or not."""
        return simulated_info(self.target.digest, self.name)

    def measure(self, task: Task, configs: Sequence[Config]) -> list[Measurement]:
        """Time every Config of a kernel (a Workload) or a network; DeviceError for any other task."""
        return measure_programs(task, configs, self._builder, self._run)

    def outputs(self, task: Task, config: Config, inputs: Mapping[int, Array]) -> Mapping[int, Array]:
        """The outputs of a Program, emulated tile by tile; see measure/checked.py."""
        if isinstance(task, NetworkTask):
            built = self._builder.build(task, config)
            constants = {**built.graph.constants, **{v: inputs[v] for v in task.graph.constants}}
            made = emulate(replace(built.graph, constants=constants), built.program, inputs)
            return {value: made[value] for value in task.graph.outputs if value in made}
        if not isinstance(task, Workload):
            raise DeviceError(f"the simulator runs kernels and networks, not a {type(task).__name__}")
        program, memory = self._builder.build(task, config), dict(inputs)
        run_kernel(task.graph, KernelCall(as_its_own(task), program, CoreRange(0, program.cores)), memory)
        return {value: memory[value] for value in task.graph.outputs}

    def run(self, program: Program, graph: Graph) -> Measurement:
        """Time a whole Program compiled from `graph`; its peak is that of the LLB arena."""
        timing = simulate_program(program, graph, self._chip, conflicts=self.conflicts)
        return _measurement(timing.cycles, timing.latency_us, timing.energy_uj, timing.peak_llb_bytes)

    def _run(self, program: AnyProgram) -> Measurement:
        if isinstance(program, NetworkProgram):
            return self.run(program.program, program.graph)
        timing = simulate_kernel(program, self._chip, conflicts=self.conflicts)
        return _measurement(timing.cycles, timing.latency_us, timing.energy_uj, timing.peak_l1_bytes)

    @cached_property
    def _builder(self) -> ProgramBuilder:
        return ProgramBuilder(self.target)

    @property
    def _chip(self) -> Target:
        return self.truth or self.target


def _measurement(cycles: int, latency_us: float, energy_uj: float, peak_bytes: int) -> Measurement:
    return Measurement(
        Status.OK,
        latency_us=latency_us,
        samples_us=(latency_us,),
        latency_cycles=float(cycles),
        energy_uj=energy_uj,
        peak_bytes=peak_bytes,
    )
