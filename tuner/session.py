"""What a run works on: a network, a target, the plan of its kernels, the book of what is known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Self

from compiler_core.errors import UsageError
from compiler_core.onnx_import.importer import ImportedModel, import_model
from compiler_core.pipeline import Plan, plan_graph
from compiler_core.schedule import Schedule
from compiler_core.target import Target
from compiler_core.target_file import load_target, target_text
from cost_model.analytic import graph_bound_cycles
from db.records import Best, Objective
from db.repository import Repository
from db.runs import Guard
from db.session import open_database
from search_space.knobs import Config
from search_space.network import Numbered, network_config, numbered
from tuner.book import Book
from tuner.events import Listener, Phase, silent
from tuner.kernel_search import SearchSettings
from tuner.tasks import KernelTask, kernel_tasks


@dataclass(frozen=True)
class Choice:
    """What a kernel will run with, and where that comes from: measured, database, guessed or default."""

    config: Config
    latency_us: float
    source: str


@dataclass
class Session:
    """The pieces of a run, made once and used down the main path; `choices` and `spent` fill on the way.

    A `with` block around it closes the database at its end.
    """

    model: ImportedModel
    target: Target
    plan: Plan
    tasks: Sequence[KernelTask]
    network: Numbered
    book: Book
    seed: int
    settings: SearchSettings
    listener: Listener = silent
    choices: dict[str, Choice] = field(default_factory=dict)
    spent: dict[str, int] = field(default_factory=dict)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.book.repository.database.close()

    @cached_property
    def known(self) -> Mapping[str, Best]:
        """The bests the database held before the run, by workload digest."""
        return self.book.known_kernels(self.tasks)

    @cached_property
    def bound_us(self) -> float:
        """A latency no schedule of the network beats."""
        return graph_bound_cycles(self.plan.graph, self.target) / self.target.cycles_per_us

    @property
    def tuned_config(self) -> Config:
        """The network's Config with every kernel as chosen."""
        return network_config(self.plan, {d: c.config for d, c in self.choices.items()}, self.network)

    @cached_property
    def default_config(self) -> Config:
        """The network's -O0 Config."""
        return network_config(self.plan, {task.digest: task.default for task in self.tasks}, self.network)

    def in_own_numbers(self, schedule: Schedule) -> Schedule:
        """A Schedule of the canonical network as one of the model's own graph."""
        groups = tuple(tuple(sorted(self.network.ops[op] for op in group)) for group in schedule.groups)
        return replace(schedule, groups=groups, levels=self.plan.levels)


def open_session(
    model: Path,
    target: str | Path,
    objective: str,
    dims: Mapping[str, int] | None,
    seed: int,
    database: str | Path,
    listener: Listener = silent,
    guard: Guard | None = None,
    job: str | None = None,
    *,
    read_only: bool = False,
) -> Session:
    """Read everything that can be wrong before anything is started."""
    if objective not in set(Objective):
        raise UsageError(f"--objective {objective!r} is unknown; choose from {', '.join(Objective)}")
    chip = load_target(target)
    imported = import_model(model, dims)
    _require_bound(imported)
    repository = Repository(open_database(database, read_only))
    plan = plan_graph(imported.graph, chip)
    network = numbered(imported.graph)
    tasks = kernel_tasks(plan, chip)
    book = Book(
        repository, network.task, chip, target_text(target), Objective(objective), job=job, guard=guard
    )
    listener(
        Phase("import", f"{imported.name}: {len(plan.groups)} kernels, {imported.graph.macs / 1e9:.2f} GMAC")
    )
    return Session(
        imported, chip, plan, tasks, network, book, seed, SearchSettings(objective=objective), listener
    )


def _require_bound(imported: ImportedModel) -> None:
    if imported.graph.symbols:
        names = sorted(imported.graph.symbols)
        example = " ".join(f"--dim {name}=1" for name in names)
        raise UsageError(
            f"model {imported.name} has dims without a value: {', '.join(names)}; give {example}"
        )
