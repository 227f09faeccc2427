"""The search over a network: one study a kernel, one shared model, a budget that goes where it pays."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from measure.pool import Pool
from measure.results import Measurement
from search_space.knobs import Config
from tuner.events import Listener, Measured
from tuner.kernel_search import KernelSearch, SamplerFactory, SearchSettings
from tuner.problem import Trial, objective_value
from tuner.run_model import RunModel
from tuner.scheduler import Standing, next_task
from tuner.stopping import Progress, StopReason, StopRule, stop_reason
from tuner.tasks import KernelTask

Commit = Callable[[KernelTask, Sequence[Trial]], None]


@dataclass
class _Search:
    """One kernel's search, and whether it has anything left to ask."""

    task: KernelTask
    kernel: KernelSearch
    known_us: float | None
    open: bool = True

    def standing(self) -> Standing:
        best = self.kernel.best
        measured = [best.measurement.latency_us] if best is not None else []
        known = [us for us in (*measured, self.known_us) if us is not None]
        trials = len(self.kernel.trials)
        since = trials - (best.number + 1 if best is not None else 0)
        return Standing(
            self.task.count, min(known, default=None), self.task.bound_us, trials, since, self.open
        )


class NetworkSearch:
    """All kernels of a network. `known` are Configs (and latencies) a database already holds."""

    def __init__(
        self,
        tasks: Sequence[KernelTask],
        run: str,
        settings: SearchSettings,
        *,
        known: Mapping[str, tuple[Config, float]],
        earlier: Mapping[str, Sequence[Trial]],
        closed: frozenset[str] = frozenset(),
        sampler: SamplerFactory | None = None,
    ) -> None:
        model = RunModel(run)
        self.settings = settings
        self.searches: dict[str, _Search] = {}
        for task in tasks:
            config = known.get(task.digest)
            problem = task.problem((config[0],) if config else ())
            kernel = KernelSearch(problem, run, model, settings, sampler)
            kernel.resume(earlier.get(task.digest, ()))
            us = config[1] if config else None
            self.searches[task.digest] = _Search(task, kernel, us, task.digest not in closed)

    @property
    def trials(self) -> int:
        """Measurements of the run so far."""
        return sum(self.spent.values())

    @property
    def spent(self) -> dict[str, int]:
        """Measurements by workload digest."""
        return {digest: len(search.kernel.trials) for digest, search in self.searches.items()}

    def run(
        self,
        pool: Pool,
        rule: StopRule,
        commit: Commit,
        *,
        listener: Listener,
        clock: Callable[[], float],
        cancelled: Callable[[], bool],
    ) -> StopReason:
        """Ask, measure, commit, tell, until a limit is met or nothing is left to ask."""
        start = clock()
        while not cancelled():
            progress = Progress(self.trials, 0, clock() - start, p_within=0.0, at_bound=False)
            reason = stop_reason(rule, progress)
            if reason is not None:
                return reason
            search = self._next()
            if search is None:
                return StopReason.EXHAUSTED
            left = rule.max_trials - self.trials
            times = [clock()]
            configs = search.kernel.ask(min(left, self.settings.batch_size(len(search.kernel.trials))))
            if not configs:
                search.open = False
                continue
            times.append(clock())
            answers = pool.measure(search.task.workload, configs, floor_us=search.task.bound_us)
            times.append(clock())
            trials = search.kernel.trials_of(answers)
            commit(search.task, trials)
            search.kernel.tell(trials)
            listener(self._event(search, rule, times))
        return StopReason.CANCELLED

    def ranked(self, digest: str) -> list[tuple[Config, Measurement]]:
        """The successful trials of one kernel, best first, ties by digest."""
        objective = self.settings.objective
        done = [
            (value, trial.config.digest, trial)
            for trial in self.searches[digest].kernel.trials
            if (value := objective_value(trial.measurement, objective)) is not None
        ]
        return [(t.config, t.measurement) for _, _, t in sorted(done, key=lambda entry: entry[:2])]

    def network_us(self) -> float:
        """The best kernels so far added up; the default's bound stands for what was not measured."""
        standings = [search.standing() for search in self.searches.values()]
        return sum(s.count * (s.best_us if s.best_us is not None else s.bound_us) for s in standings)

    def _next(self) -> _Search | None:
        searches = list(self.searches.values())
        at = next_task([search.standing() for search in searches])
        return None if at is None else searches[at]

    def _event(self, search: _Search, rule: StopRule, times: Sequence[float]) -> Measured:
        kernel = " + ".join(op.kind for op in search.task.regions.graph.ops)
        bound = sum(s.task.count * s.task.bound_us for s in self.searches.values())
        return Measured(
            self.trials,
            rule.max_trials,
            kernel,
            search.standing().best_us,
            self.network_us(),
            bound,
            proposed_s=times[1] - times[0],
            measured_s=times[2] - times[1],
        )
