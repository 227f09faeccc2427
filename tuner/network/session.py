"""What a run works on: a network, a target, the plan of its kernels, the book of what is known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Self

from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.lowering.pipeline import CoPlacement, Plan, plan_graph, plan_groups
from tilewright.compiler_core.lowering.schedule import Schedule, Stage
from tilewright.compiler_core.onnx_import.building.bound_inputs import Given
from tilewright.compiler_core.onnx_import.importer import ImportedModel
from tilewright.compiler_core.onnx_import.sizes import import_bound
from tilewright.compiler_core.target_model.file import load_target, target_text
from tilewright.compiler_core.target_model.host import HOST
from tilewright.compiler_core.target_model.target import Target
from tilewright.compiler_core.transforms.rewrites import rewritten
from tilewright.cost_model.energy import network_bound_uj
from tilewright.cost_model.network_bound import network_bound_cycles
from tilewright.db.records import Best
from tilewright.db.repository import Repository
from tilewright.db.service.leases import Guard
from tilewright.db.storage.session import open_database
from tilewright.measure.device import built_in_info
from tilewright.measure.host.file import ensure_host
from tilewright.measure.objectives import Objective, read_objective
from tilewright.measure.results import Measurement, Status
from tilewright.search_space.knobs import Config
from tilewright.search_space.network import (
    Numbered,
    beside_configs,
    kernel_configs,
    network_config,
    network_schedule,
    numbered,
)
from tilewright.tuner.kernel.settings import SearchSettings
from tilewright.tuner.kernel.task import KernelTask, Recalled
from tilewright.tuner.network.book import Book
from tilewright.tuner.network.events import Counted, Listener, Phase, silent
from tilewright.tuner.planning.planner import Planner
from tilewright.tuner.planning.prices import Prices, draft_us
from tilewright.tuner.planning.side_by_side import share_of


@dataclass(frozen=True)
class Choice:
    """What a kernel will run with, and where that comes from: measured, database, guessed or default."""

    config: Config
    latency_us: float
    source: str


@dataclass(frozen=True)
class Dropped:
    """A candidate that was measured and computes wrong numbers: what it is, and which value is how wrong."""

    what: str
    reason: str


@dataclass
class Session:
    """The pieces of a run, made once and used down the main path; `choices` and `spent` fill on the way,
    `beside` with what kernels run on a part of the chip, `readings_us` with what the search has measured of
    kernels, by workload and Config digest. `dropped` are candidates that failed their check, `misread` what
    the network was found to mean otherwise than its file, by the forms of its ops.

    `base` is the -O0 plan, `plan` the one the answer runs, `objectives` are those of a front where one is
    sought. A `with` block closes the database.
    """

    model: ImportedModel
    target: Target
    planner: Planner
    network: Numbered
    book: Book
    seed: int
    settings: SearchSettings
    listener: Listener = silent
    choices: dict[str, Choice] = field(default_factory=dict)
    beside: dict[CoPlacement, Choice] = field(default_factory=dict)
    spent: dict[str, int] = field(default_factory=dict)
    readings_us: Mapping[tuple[str, str], float] = field(default_factory=dict)
    regret: float | None = None
    dropped: list[Dropped] = field(default_factory=list)
    misread: dict[str, str] = field(default_factory=dict)
    objectives: tuple[Objective, ...] = ()
    _known: dict[str, Best] = field(default_factory=dict)
    _looked_up: set[str] = field(default_factory=set)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.book.repository.database.close()

    @property
    def objective(self) -> Objective:
        """What is asked of the network; of a front the first."""
        return self.book.objective

    @property
    def graph(self) -> Graph:
        """The network as imported; that of a plan may have ops in other forms."""
        return self.planner.base.graph

    @property
    def plan(self) -> Plan:
        """The groups that the answer runs."""
        return self.planner.plan

    @property
    def tasks(self) -> tuple[KernelTask, ...]:
        """The distinct kernels of the plan."""
        return self.planner.tasks_of(self.plan)

    @property
    def known(self) -> Mapping[str, Best]:
        """The bests the database held before the run, by digest, of every kernel looked up so far."""
        self.recall(self.tasks)
        return self._known

    def recall(self, tasks: Sequence[KernelTask]) -> Mapping[str, float]:
        """Look up kernels that were not looked up before; latencies of those known, in us by digest."""
        fresh = [task for task in tasks if task.digest not in self._looked_up]
        if fresh:
            self._known |= self.book.known_kernels(fresh)
            self._looked_up |= {task.digest for task in fresh}
        return {t.digest: self._known[t.digest].latency_us for t in tasks if t.digest in self._known}

    def recalled(self, tasks: Sequence[KernelTask]) -> Mapping[str, Recalled]:
        """What a search need not measure again of the kernels that the database knows, by workload digest.

        A front has a use for Configs that are not the best in its first objective: none are beaten there.
        """
        bests = {digest: self._known[digest] for digest in self.recall(tasks)}
        beaten = {} if self.objectives else self.book.beaten(bests, self.settings.objectives[0])
        return {
            digest: Recalled(best.config, best.latency_us, beaten.get(digest, ()))
            for digest, best in bests.items()
        }

    def seek_front(self, objectives: Sequence[str]) -> None:
        """Search for several objectives of the network at once."""
        self.objectives = tuple(map(Objective, objectives))
        of_kernels = tuple(dict.fromkeys(each.row.of_kernels for each in self.objectives))
        self.settings = replace(self.settings, objectives=of_kernels)

    def adopt(self, config: Config) -> None:
        """Make `config` the answer: its plan, and its choice for every kernel that has another or none."""
        self.planner.plan, _ = self.schedule_of(config)
        chosen = kernel_configs(config, self.plan)
        for task in self.tasks:
            present = self.choices.get(task.digest)
            if present is None or present.config != chosen[task.digest]:
                self.choices[task.digest] = self._choice(task, chosen[task.digest])
        for co_placement, shared in beside_configs(config, self.plan).items():
            if co_placement not in self.beside or self.beside[co_placement].config != shared:
                self.beside[co_placement] = Choice(
                    shared, draft_us(self.co_placed(co_placement), shared), "guessed"
                )

    def co_placed(self, co_placement: CoPlacement) -> KernelTask:
        """A kernel of the plan on a part of the chip."""
        return KernelTask(self.plan.regions[co_placement.digest], share_of(self.target, co_placement.cores))

    def _choice(self, task: KernelTask, config: Config) -> Choice:
        best = self.known.get(task.digest)
        if best is not None and best.config == config:
            return Choice(config, best.latency_us, "database")
        if (task.digest, config.digest) in self.readings_us:
            return Choice(config, self.readings_us[task.digest, config.digest], "measured")
        source = "default" if config == task.ruled else "guessed"
        return Choice(config, draft_us(task, config), source)

    @cached_property
    def bound_us(self) -> float:
        """A latency no schedule of the network beats."""
        return network_bound_cycles(self.graph, self.target) / self.target.cycles_per_us

    def bound_of(self, objective: Objective) -> float | None:
        """A number of an objective that no schedule of the network beats, in its unit; None where unknown.

        How much lies between kernels follows from which there are: no bound of it holds for all schedules.
        """
        bound = Measurement(Status.OK, self.bound_us, energy_uj=self.bound_uj) if self.bound_us else None
        return None if bound is None else objective.of(bound)

    @cached_property
    def bound_uj(self) -> float:
        """An energy no schedule of the network beats."""
        return network_bound_uj(self.graph, self.target, self.bound_us)

    @property
    def tuned_config(self) -> Config:
        """The network's Config with every kernel as chosen."""
        return self.config_of(self.plan)

    def config_of(self, plan: Plan) -> Config:
        """The network's Config under another plan, with every kernel as chosen."""
        chosen = {digest: self.choices[digest].config for digest in plan.counts}
        return network_config(
            plan, chosen, self.network, {s: self.beside[s].config for s in plan.co_placements}
        )

    @property
    def sum_us(self) -> float:
        """The plan's stages added up, each as long as its slowest kernel measured alone."""
        return sum(
            max((choice.latency_us for _, choice in self.choices_of(stage)), default=0.0)
            for stage in self.plan.stages
        )

    def choices_of(self, stage: Stage) -> list[tuple[CoPlacement, Choice]]:
        """What the kernels of one stage of the plan run with, and where."""
        kernels = [(self.plan.kernels[each.group], each.cores.count) for each in stage]
        co_placements = [
            CoPlacement(kernel.workload.digest, cores) for kernel, cores in kernels if kernel is not None
        ]
        alone = len(stage) == 1
        return [
            (co_placement, self.choices[co_placement.digest] if alone else self.beside[co_placement])
            for co_placement in co_placements
        ]

    def default_of(self, task: KernelTask) -> Config:
        """What a kernel runs untuned: what its answer must not be slower than."""
        return self.planner.prices.default(task)

    @cached_property
    def default_config(self) -> Config:
        """The network's -O0 Config."""
        return self.planner.default_config(self.network)

    def schedule_of(self, config: Config) -> tuple[Plan, Schedule]:
        """What a Config of the network means, in the model's numbers: a plan of the network as rewritten."""
        there, canonical = network_schedule(self.network.task, config, self.target)
        rewrites = {self.network.ops[op]: rewrite for op, rewrite in there.graph.rewrites.items()}
        graph, ops = rewritten(self.graph, rewrites), self.network.under(rewrites).ops
        groups = tuple(tuple(sorted(ops[op] for op in group)) for group in canonical.groups)
        producer = there.graph.producer
        laid = {graph.ops[ops[producer[value]]].result: layout for value, layout in there.layouts.items()}
        known, stages = self.planner.analysed, there.stages
        plan = plan_groups(graph, groups, self.target, known, laid, stages)
        return plan, replace(canonical, groups=groups, levels=plan.levels, layouts=plan.layouts)


def open_session(
    model: str | Path,
    target: str | Path,
    objective: str,
    dims: Mapping[str, int] | None,
    seed: int,
    database: str | Path,
    listener: Listener = silent,
    guard: Guard | None = None,
    job: str | None = None,
    *,
    toolchain: str | None = None,
    read_only: bool = False,
    inputs: Mapping[str, Given] | None = None,
) -> Session:
    """Read everything that can be wrong before anything is started.

    Records of `toolchain` answer; without one those of the simulated accelerator.
    """
    sought = read_objective(objective)
    if target == HOST:
        ensure_host()
    chip = load_target(target)
    imported = import_bound(model, dims, inputs)
    repository = Repository(open_database(database, read_only))
    base = plan_graph(imported.graph, chip)
    network = numbered(imported.graph)
    info = built_in_info(chip)
    if toolchain is not None:
        info = replace(info, toolchain=toolchain)
    book = Book(repository, network.task, chip, target_text(target), info, sought, job=job, guard=guard)
    said = f"{imported.name}: {len(base.groups)} kernels, {imported.graph.macs / 1e9:.2f} GMAC"
    drawn = ", ".join(f"{name} = {size}" for name, size in imported.drawn.items())
    listener(Phase("import", f"{said}; {drawn} in a run on drawn inputs" if drawn else said))
    planner = Planner(base, chip, Prices(chip, seed))
    settings = SearchSettings((sought.row.of_kernels,))
    session = Session(imported, chip, planner, network, book, seed, settings, listener)
    planner.prices.recall = session.recall
    planner.prices.counted = lambda priced: listener(Counted("kernels priced", priced))
    return session
