"""The searches of a run's kernels, on one shared model, and what they have found so far."""

from collections.abc import Callable, Mapping, Sequence

from tilewright.compiler_core.lowering.pipeline import Plan
from tilewright.cost_model.learned.residual import TaskRecords
from tilewright.measure.objectives import Objective
from tilewright.measure.results import Measurement
from tilewright.search_space.knobs import Config
from tilewright.tuner.kernel.run_model import RunModel
from tilewright.tuner.kernel.search import KernelSearch, SamplerFactory
from tilewright.tuner.kernel.settings import SearchSettings
from tilewright.tuner.kernel.task import KernelTask, Recalled
from tilewright.tuner.network.task_search import TaskSearch
from tilewright.tuner.planning.prices import Prices, Reading

Known = Callable[[Sequence[KernelTask]], Mapping[str, Recalled]]


class KernelSearches:
    """`each` is the search of a kernel by workload digest, of all kernels that any plan of the run had.

    `known` answers from records; `prices` guess the time of a kernel before it is measured.
    """

    def __init__(
        self,
        prices: Prices,
        run: str,
        settings: SearchSettings,
        known: Known,
        sampler: SamplerFactory | None,
    ) -> None:
        self.each: dict[str, TaskSearch] = {}
        self._prices = prices
        self._run = run
        self._settings = settings
        self._known = known
        self._sampler = sampler
        self._model = RunModel(run)
        self._known_configs: dict[str, Config] = {}

    def learn(self, records: Sequence[TaskRecords]) -> None:
        """Take records of earlier runs for a prior; before anything is asked."""
        first = next(iter(self.each.values()), None)
        if records and first is not None:
            self._model.set_prior(first.kernel.problem, tuple(records))

    def open(self, tasks: Sequence[KernelTask]) -> None:
        """Open a search for every task that has none."""
        fresh = [task for task in tasks if task.digest not in self.each]
        known = self._known(fresh)
        for task in fresh:
            recalled, problem, us = known.get(task.digest), task.problem(), None
            if recalled is not None:
                us = recalled.latency_us
                if recalled.config is not None:
                    self._known_configs[task.digest] = recalled.config
                problem = task.problem(recalled.first, recalled.beaten)
            kernel = KernelSearch(problem, self._run, self._model, self._settings, self._sampler)
            earlier = 0 if recalled is None else len(recalled.beaten)
            self.each[task.digest] = TaskSearch(task, kernel, us, earlier)

    @property
    def readings_us(self) -> dict[tuple[str, str], float]:
        """Latencies of the successful trials, by workload and Config digest."""
        return {
            (digest, trial.config.digest): trial.measurement.latency_us
            for digest, search in self.each.items()
            for trial in search.kernel.trials
            if trial.measurement.latency_us is not None
        }

    def readings(self, objective: Objective) -> dict[str, Reading]:
        """The lowest number of each kernel that has one, and its latency then, by workload digest."""
        found = ((digest, _reading(search.kernel, objective)) for digest, search in self.each.items())
        return {digest: reading for digest, reading in found if reading is not None}

    def ranked(self, digest: str) -> list[tuple[Config, Measurement]]:
        """The successful trials of one kernel, best first, ties by digest."""
        if digest not in self.each:
            return []
        objective = self._settings.objectives[0]
        done = [
            (value, trial.config.digest, trial)
            for trial in self.each[digest].kernel.trials
            if (value := objective.of(trial.measurement)) is not None
        ]
        return [(t.config, t.measurement) for _, _, t in sorted(done, key=lambda entry: entry[:2])]

    def so_far(self, task: KernelTask) -> Config:
        """The Config that a kernel would run with if the search ended now."""
        digest = task.digest
        ranked, known = self.ranked(digest), self._known_configs.get(digest)
        if not ranked:
            return known or self._prices.priced(task.workload).guess or task.default
        search = self.each[digest]
        measured_us = ranked[0][1].latency_us
        if known is not None and search.known_us is not None and measured_us is not None:
            return known if search.known_us < measured_us else ranked[0][0]
        return ranked[0][0]

    def expected_us(self, digest: str) -> float:
        """The best measured or known time of a kernel, else a guess."""
        search = self.each[digest]
        if search.best_us is not None:
            return search.best_us
        return self._prices.priced(search.task.workload).guess_us * self._prices.correction

    def sum_us(self, plan: Plan) -> float:
        """The kernels of a plan added up: the expected time of each."""
        return sum(self.expected_us(digest) * count for digest, count in plan.counts.items())


def _reading(kernel: KernelSearch, objective: Objective) -> Reading | None:
    options = [
        (price, trial.number, trial.measurement.latency_us)
        for trial in kernel.trials
        if (price := objective.of(trial.measurement)) is not None and trial.measurement.latency_us
    ]
    if not options:
        return None
    price, _, latency_us = min(options)
    return Reading(price, latency_us, len(kernel.trials))
