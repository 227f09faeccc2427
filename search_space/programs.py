"""From a task and a Config to the Program that a device runs: the one place where that is done.

Workload, Config       ->   KernelProgram      one kernel, on as many cores as the Config says
NetworkTask, Config    ->   NetworkProgram     the whole network, on canonical numbers
"""

from dataclasses import dataclass, field
from typing import overload

from tilewright.compiler_core.errors import ConfigError
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.ir.workload import Workload
from tilewright.compiler_core.lowering.lower import lower_kernel
from tilewright.compiler_core.lowering.pipeline import Plan, compile_graph
from tilewright.compiler_core.lowering.program import KernelProgram, Program
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.target_model.target import Target
from tilewright.search_space.codec import tiling_of
from tilewright.search_space.knobs import Config
from tilewright.search_space.network import NetworkTask, network_schedule

_MOST_REMEMBERED = 256


@dataclass(frozen=True, eq=False)
class NetworkProgram:
    """A whole network compiled: the `program`, and the `plan` that it was made from."""

    plan: Plan
    program: Program

    @property
    def graph(self) -> Graph:
        """The computation of the program: the network, perhaps with ops in other forms."""
        return self.plan.graph


@overload
def program_of(task: Workload | Regions, config: Config, target: Target) -> KernelProgram: ...
@overload
def program_of(task: NetworkTask, config: Config, target: Target) -> NetworkProgram: ...
def program_of(
    task: Workload | Regions | NetworkTask, config: Config, target: Target
) -> KernelProgram | NetworkProgram:
    """`task` compiled for `target` as `config` says; of a kernel the Regions serve where they are known.

    ConfigError where the Config means nothing here: a value of the wrong kind, more cores than the target
    has, tiles that do not fit, a group that the network has not.
    """
    if isinstance(task, NetworkTask):
        plan, schedule = network_schedule(task, config, target)
        return NetworkProgram(plan, compile_graph(plan.graph, schedule, target, plan))
    regions = task if isinstance(task, Regions) else Regions(task)
    tiling, cores = tiling_of(config, regions)
    if cores > target.cores:
        raise ConfigError(f"the config asks for {cores} cores, {target.name} has {target.cores}")
    return lower_kernel(regions, tiling, cores, target)


@dataclass(frozen=True, eq=False)
class ProgramBuilder:
    """`program_of` for many Configs of few tasks: what is known of a kernel is kept."""

    target: Target
    _regions: dict[str, Regions] = field(default_factory=dict, repr=False)

    @overload
    def build(self, task: Workload, config: Config) -> KernelProgram: ...
    @overload
    def build(self, task: NetworkTask, config: Config) -> NetworkProgram: ...
    def build(self, task: Workload | NetworkTask, config: Config) -> KernelProgram | NetworkProgram:
        """See `program_of`."""
        if isinstance(task, NetworkTask):
            return program_of(task, config, self.target)
        return program_of(self.regions_of(task), config, self.target)

    def regions_of(self, workload: Workload) -> Regions:
        """The dependence structure of a kernel; the same object for the same kernel as long as it is kept."""
        known = self._regions.get(workload.digest)
        if known is None:
            if len(self._regions) >= _MOST_REMEMBERED:
                self._regions.clear()
            known = self._regions[workload.digest] = Regions(workload)
        return known
