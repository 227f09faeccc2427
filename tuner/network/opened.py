"""A network opened for a target: the imported model, its first plan, its records."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Self

from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.lowering.pipeline import (
    CoPlacement,
    Plan,
    compile_graph,
    plan_graph,
    plan_groups,
)
from tilewright.compiler_core.lowering.schedule import Schedule
from tilewright.compiler_core.onnx_import.importer import ImportedModel
from tilewright.compiler_core.onnx_import.sizes import import_bound
from tilewright.compiler_core.target_model.file import load_target, target_text
from tilewright.compiler_core.target_model.host import HOST
from tilewright.compiler_core.target_model.target import Target
from tilewright.compiler_core.transforms.rewrites import rewritten
from tilewright.cost_model.energy import network_bound_uj
from tilewright.cost_model.network_bound import network_bound_cycles
from tilewright.db.answering.lookup import Fallback
from tilewright.db.layers.opening import open_layers
from tilewright.db.repository import Repository
from tilewright.db.storage.session import Database, open_database
from tilewright.measure.device import DeviceInfo, built_in_info
from tilewright.measure.host.file import ensure_host
from tilewright.measure.objectives import Objective
from tilewright.measure.results import Measurement, Status
from tilewright.search_space.knobs import Config
from tilewright.search_space.network import Numbered, network_schedule, numbered
from tilewright.search_space.programs import NetworkProgram
from tilewright.tuner.kernel.settings import SearchSettings
from tilewright.tuner.kernel.task import KernelTask, Recalled
from tilewright.tuner.network.events import Counted, Listener, Phase, silent
from tilewright.tuner.network.records import Records
from tilewright.tuner.planning.plan_cache import PlanCache, cache_path
from tilewright.tuner.planning.planner import Planner
from tilewright.tuner.planning.prices import Prices
from tilewright.tuner.planning.side_by_side import share_of
from tilewright.tuner.subject import Subject

FALLBACK = (Fallback.TOOLCHAIN, Fallback.FAMILY, Fallback.GUESS)
"""What stands in for an exact answer where the user wishes nothing else."""


@dataclass(frozen=True, eq=False)
class Opened:
    """Everything that was read before anything is started; a `with` block closes the database.

    `objectives` are those of a front where one is sought, else none. `fallback` is what stands in for records
    that answer exactly, in its order.
    """

    model: ImportedModel
    target: Target
    planner: Planner
    network: Numbered
    records: Records
    seed: int
    settings: SearchSettings
    listener: Listener = silent
    objectives: tuple[Objective, ...] = ()
    fallback: tuple[Fallback, ...] = FALLBACK

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.planner.prices.cache.close()
        self.records.close()

    @property
    def ends_in(self) -> Fallback | None:
        """The origin of a kernel without a record; None if the user allows none."""
        ends = (each for each in self.fallback if each in (Fallback.GUESS, Fallback.DEFAULT))
        return next(ends, None)

    @property
    def objective(self) -> Objective:
        """The network's objective; of a front the first."""
        return self.records.objective

    @property
    def graph(self) -> Graph:
        """The network as imported; that of a plan may have ops in other forms."""
        return self.planner.base.graph

    def recalled(self, tasks: Sequence[KernelTask]) -> Mapping[str, Recalled]:
        """Results in the database that a search need not measure again, by workload digest.

        A front has a use for Configs that are not the best in its first objective: none are beaten there.
        """
        bests = self.records.bests(tasks)
        beaten = {} if self.objectives else self.records.beaten(bests, self.settings.objectives[0])
        return {
            digest: Recalled(best.config, best.latency_us, beaten.get(digest, ()))
            for digest, best in bests.items()
        }

    def co_placed(self, plan: Plan, co_placement: CoPlacement) -> KernelTask:
        """A kernel of a plan on a part of the chip."""
        return KernelTask(plan.regions[co_placement.digest], share_of(self.target, co_placement.cores))

    @cached_property
    def bound_us(self) -> float:
        """A latency no schedule of the network beats."""
        return network_bound_cycles(self.graph, self.target) / self.target.cycles_per_us

    def bound_of(self, objective: Objective) -> float | None:
        """A number of an objective that no schedule of the network beats, in its unit; None where unknown.

        The bytes between kernels depend on the groups, so no bound on memory holds for all schedules.
        """
        bound = Measurement(Status.OK, self.bound_us, energy_uj=self.bound_uj) if self.bound_us else None
        return None if bound is None else objective.of(bound)

    @cached_property
    def bound_uj(self) -> float:
        """An energy no schedule of the network beats."""
        return network_bound_uj(self.graph, self.target, self.bound_us)

    def default_of(self, task: KernelTask) -> Config:
        """A kernel's untuned Config: its answer must not be slower."""
        return self.planner.prices.default(task)

    @cached_property
    def default_config(self) -> Config:
        """The network's -O0 Config."""
        return self.planner.default_config(self.network)

    def program_of(self, config: Config) -> NetworkProgram:
        """The Program's graph under a Config, in the model's numbers."""
        plan, schedule = self.schedule_of(config)
        return NetworkProgram(plan, compile_graph(plan.graph, schedule, self.target, plan))

    def schedule_of(self, config: Config) -> tuple[Plan, Schedule]:
        """The Plan and Schedule of a Config of the network, in the model's numbers: a plan of the network as
        rewritten.
        """
        there, canonical = network_schedule(self.network.task, config, self.target)
        rewrites = {self.network.ops[op]: rewrite for op, rewrite in there.graph.rewrites.items()}
        graph, ops = rewritten(self.graph, rewrites), self.network.under(rewrites).ops
        groups = tuple(tuple(sorted(ops[op] for op in group)) for group in canonical.groups)
        producer = there.graph.producer
        laid = {graph.ops[ops[producer[value]]].result: layout for value, layout in there.layouts.items()}
        known, stages = self.planner.analysed, there.stages
        plan = plan_groups(graph, groups, self.target, known, laid, stages)
        return plan, replace(canonical, groups=groups, levels=plan.levels, layouts=plan.layouts)


def open_network(
    subject: Subject,
    database: str | Path | Database,
    device: Callable[[Target], DeviceInfo] = built_in_info,
    *,
    listener: Listener = silent,
    read_only: bool = False,
    layered: bool = False,
    studied: int = 0,
    fallback: tuple[Fallback, ...] = FALLBACK,
) -> Opened:
    """Read every input that can be wrong before anything is started. Records of the `device`'s toolchain
    answer; where it is `layered`, those of other layers too. A plan that is made anew is the best of
    `studied` trials of the knobs of the whole network. `fallback` stands in where no record answers exactly.
    """
    if subject.target == HOST:
        ensure_host()
    target = load_target(subject.target)
    model = import_bound(subject.model, subject.dims, subject.inputs)
    layers = None
    if isinstance(database, Database):
        opened = database
    elif layered:
        opened, layers = open_layers(database, read_only)
    else:
        opened = open_database(database, read_only)
    repository = Repository(opened)
    base, network = plan_graph(model.graph, target), numbered(model.graph)
    objective, *others = subject.objectives
    text = target_text(subject.target)
    records = Records(repository, network.task, target, text, device(target), objective, layers)
    told = f"{model.name}: {len(base.groups)} kernels, {model.graph.macs / 1e9:.2f} GMAC"
    drawn = ", ".join(f"{name} = {size}" for name, size in model.drawn.items())
    listener(Phase("import", f"{told}; {drawn} in a run on drawn inputs" if drawn else told))
    for line in model.misdeclared:
        listener(Phase("import", f"warning: {line}"))
    prices = Prices(
        target,
        subject.seed,
        recall=records.recall,
        counted=lambda priced: listener(Counted("kernels priced", priced)),
        knows_any=records.knows_any,
        cache=PlanCache(cache_path(), lambda line: listener(Phase("plan", line))),
    )
    return Opened(
        model,
        target,
        Planner(base, target, prices, studied=studied),
        network,
        records,
        subject.seed,
        SearchSettings(tuple(dict.fromkeys(each.row.of_kernels for each in subject.objectives))),
        listener,
        subject.objectives if others else (),
        fallback,
    )
