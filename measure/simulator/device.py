"""The simulated accelerator as a Device: Configs of a kernel in, Measurements out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from tilewright.compiler_core.checking.emulate import emulate, run_kernel
from tilewright.compiler_core.errors import ConfigError, DeviceError
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.ir.ops import Array
from tilewright.compiler_core.ir.workload import Workload, as_its_own
from tilewright.compiler_core.lowering.lower import lower_kernel
from tilewright.compiler_core.lowering.pipeline import compile_graph
from tilewright.compiler_core.lowering.program import KernelCall, Program
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.lowering.schedule import CoreRange
from tilewright.compiler_core.target_model.target import Target
from tilewright.measure.device import DeviceInfo, Task, simulated_info
from tilewright.measure.results import Measurement, Status, failure
from tilewright.measure.simulator.kernel import NO_CONFLICTS, simulate_kernel
from tilewright.measure.simulator.program import simulate_program
from tilewright.measure.simulator.tables.flatten import Conflicts
from tilewright.search_space.codec import tiling_of
from tilewright.search_space.knobs import Config
from tilewright.search_space.network import NetworkTask, network_schedule

_MOST_REMEMBERED = 256


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
    _regions: dict[str, Regions] = field(default_factory=dict, repr=False)

    def describe(self) -> DeviceInfo:
        """The nominal target's digest: the key of its records, skewed or not."""
        return simulated_info(self.target.digest, self.name)

    def measure(self, task: Task, configs: Sequence[Config]) -> list[Measurement]:
        """Time every Config of a kernel (a Workload) or a network; DeviceError for any other task."""
        if isinstance(task, NetworkTask):
            return [self._measure_network(task, config) for config in configs]
        if not isinstance(task, Workload):
            raise DeviceError(f"the simulator runs kernels and networks, not a {type(task).__name__}")
        regions = self._regions_of(task)
        return [self._measure_one(regions, config) for config in configs]

    def outputs(self, task: Task, config: Config, inputs: Mapping[int, Array]) -> Mapping[int, Array]:
        """The outputs of a Program, emulated tile by tile; see measure/checked.py."""
        if isinstance(task, NetworkTask):
            plan, schedule = network_schedule(task, config, self.target)
            constants = {**plan.graph.constants, **{v: inputs[v] for v in task.graph.constants}}
            graph = replace(plan.graph, constants=constants)
            made = emulate(graph, compile_graph(plan.graph, schedule, self.target, plan), inputs)
            return {value: made[value] for value in task.graph.outputs if value in made}
        if not isinstance(task, Workload):
            raise DeviceError(f"the simulator runs kernels and networks, not a {type(task).__name__}")
        tiling, cores = tiling_of(config, regions := self._regions_of(task))
        program, memory = lower_kernel(regions, tiling, cores, self.target), dict(inputs)
        run_kernel(task.graph, KernelCall(as_its_own(task), program, CoreRange(0, cores)), memory)
        return {value: memory[value] for value in task.graph.outputs}

    def run(self, program: Program, graph: Graph) -> Measurement:
        """Time a whole Program compiled from `graph`; its peak is that of the LLB arena."""
        timing = simulate_program(program, graph, self._chip, conflicts=self.conflicts)
        return _measurement(timing.cycles, timing.latency_us, timing.energy_uj, timing.peak_llb_bytes)

    def _measure_network(self, task: NetworkTask, config: Config) -> Measurement:
        try:
            plan, schedule = network_schedule(task, config, self.target)
            program = compile_graph(plan.graph, schedule, self.target, plan)
        except ConfigError as error:
            return failure(Status.INVALID, str(error))
        return self.run(program, plan.graph)

    @property
    def _chip(self) -> Target:
        return self.truth or self.target

    def _regions_of(self, workload: Workload) -> Regions:
        known = self._regions.get(workload.digest)
        if known is None:
            if len(self._regions) >= _MOST_REMEMBERED:
                self._regions.clear()
            known = self._regions[workload.digest] = Regions(workload)
        return known

    def _measure_one(self, regions: Regions, config: Config) -> Measurement:
        try:
            tiling, cores = tiling_of(config, regions)
            if cores > self.target.cores:
                raise ConfigError(
                    f"the config asks for {cores} cores, {self.target.name} has {self.target.cores}"
                )
            program = lower_kernel(regions, tiling, cores, self.target)
        except ConfigError as error:
            return failure(Status.INVALID, str(error))
        timing = simulate_kernel(program, self._chip, conflicts=self.conflicts)
        return _measurement(timing.cycles, timing.latency_us, timing.energy_uj, timing.peak_l1_bytes)


def _measurement(cycles: int, latency_us: float, energy_uj: float, peak_bytes: int) -> Measurement:
    return Measurement(
        Status.OK,
        latency_us=latency_us,
        samples_us=(latency_us,),
        latency_cycles=float(cycles),
        energy_uj=energy_uj,
        peak_bytes=peak_bytes,
    )
