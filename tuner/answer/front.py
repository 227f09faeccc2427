"""The front of a network: Programs of which none is beaten in all objectives at once.

Latency and energy add up over kernels, so the kernels that are best for the network in one direction are
those that are best each for itself. The bytes between kernels depend on groups and order, so the groups of
-O0 and the order of least peak stand beside the plan that was searched.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tilewright.compiler_core.errors import DeviceError
from tilewright.compiler_core.lowering.kernel_order import between_kernels, in_order, least_peak
from tilewright.compiler_core.lowering.pipeline import Plan, plan_groups
from tilewright.db.records import TrialRow
from tilewright.measure.objectives import Objective, values_of
from tilewright.measure.results import Status
from tilewright.search_space.knobs import Config
from tilewright.search_space.network import GROUPS, network_config
from tilewright.tuner.answer.check import KernelCheck
from tilewright.tuner.answer.chosen import CHECKED, Chosen
from tilewright.tuner.answer.report import Figures, FrontPoint
from tilewright.tuner.kernel.front import front_of
from tilewright.tuner.kernel.problem import Floats
from tilewright.tuner.kernel.task import KernelTask
from tilewright.tuner.network.assignment import best_guess
from tilewright.tuner.network.opened import Opened
from tilewright.tuner.network.search import NetworkSearch

DIRECTIONS = 9
"""Mixtures of latency and energy for which kernels are chosen, both ends included."""


def measure_mixtures(chosen: Chosen) -> None:
    """Measure whole, and commit, the plans under mixtures of latency and energy and under other orders.

    The kernels of every candidate are checked one by one.
    """
    opened, search = chosen.searched.opened, chosen.searched.search
    kernels = _Kernels(chosen)
    configs: dict[Config, None] = {}
    for plan in _plans(opened, search):
        for share in _shares(opened):
            wanted = {task.digest: kernels.best(task, share) for task in opened.planner.tasks_of(plan)}
            configs[network_config(plan, wanted, opened.network)] = None
    chosen.searched.book.measure_whole(list(configs), opened.bound_us)


def _shares(opened: Opened) -> list[float]:
    """Shares of the energy in the mixtures that are tried."""
    sought = set(opened.objectives or (opened.objective,))
    mixed = sought & {Objective.ENERGY, Objective.EDP}
    return [float(share) for share in np.linspace(0.0, 1.0, DIRECTIONS if mixed else 1)]


def front_of_run(opened: Opened, uid: str) -> tuple[FrontPoint, ...]:
    """The front of all Programs that the run `uid` has measured whole."""
    found = front_of_trials(
        opened.records.repository.trials_of_run(uid), opened.network.task.digest, opened.objectives
    )
    if not found:
        raise DeviceError(
            f"the device does not report all of {', '.join(opened.objectives)}; ask for the others"
        )
    return found


def front_of_trials(
    rows: Sequence[TrialRow], network_digest: str, objectives: Sequence[Objective]
) -> tuple[FrontPoint, ...]:
    """The front of the whole-network trials among `rows`, lowest first objective first; none known wrong."""
    wrong = {row.trial.config for row in rows if row.trial.measurement.status is Status.WRONG}
    trials = [
        (values, row.trial)
        for row in rows
        if row.key.workload_digest == network_digest
        and (values := values_of(row.trial.measurement, objectives)) is not None
        and row.trial.config not in wrong
    ]
    if not trials:
        return ()
    front = front_of(np.array([values for values, _ in trials]))
    return tuple(
        FrontPoint(
            Figures.of(trial.measurement), len(str(dict(trial.config.items)[GROUPS]).split("|")), trial.config
        )
        for trial in (trials[index][1] for index in front)
    )


def recall_front(opened: Opened, budget: int) -> tuple[FrontPoint, ...]:
    """The front of a finished run with the same objectives and at least this budget; empty without one."""
    records = opened.records
    key = records.key(opened.network.task.digest)
    for run in records.repository.runs_on(key):
        asked = run.asked
        if (
            run.stop_reason
            and (asked.trials_budget or 0) >= budget
            and objectives_of(asked.settings) == opened.objectives
        ):
            return front_of_trials(
                records.repository.trials_of_run(asked.uid), key.workload_digest, opened.objectives
            )
    return ()


def objectives_of(settings: str) -> tuple[Objective, ...]:
    """The objectives of a run that sought a front, from its settings; none for any other run."""
    given: Mapping[str, Any] = json.loads(settings)
    return tuple(map(Objective, given.get("objectives", ())))


def _plans(opened: Opened, search: NetworkSearch) -> list[Plan]:
    """The plans followed and that of -O0; where memory counts, in their orders of least peak too."""
    target, known = opened.target, opened.planner.analysed
    plans = [*search.plans, opened.planner.base]
    if Objective.MEMORY in (opened.objectives or (opened.objective,)):
        for plan in tuple(plans):
            order = least_peak(between_kernels(plan, target)).order
            groups = in_order(plan.groups, order)
            plans.append(plan_groups(plan.graph, groups, target, known, plan.layouts))
    return list({(plan.groups, tuple(plan.graph.rewrites.items())): plan for plan in plans}.values())


class _Kernels:
    """The Config of a kernel for a mixture: one of its trials that passes the check, or its choice."""

    def __init__(self, chosen: Chosen) -> None:
        self._opened = chosen.searched.opened
        self._choices = chosen.choices
        self._search = chosen.searched.search
        self._measured: dict[str, tuple[Floats, list[Config]]] = {}
        self._checks: dict[str, KernelCheck] = {}
        self._sound: dict[tuple[str, str], bool] = {}
        least = [
            count * self._trials(digest)[0].min(axis=0)
            for digest, count in self._search.plan.counts.items()
            if len(self._trials(digest)[1])
        ]
        self._totals = np.sum(least, axis=0) if least else np.ones(2)

    def best(self, task: KernelTask, share: float) -> Config:
        """The sound Config of least latency and energy, mixed (1 - share) to share by their totals."""
        values, configs = self._trials(task.digest)
        mixture = values / self._totals @ np.array([1.0 - share, share])
        ranked = [configs[index] for index in np.argsort(mixture, kind="stable")]
        choice = self._choices.get(task.digest) or best_guess(self._opened, task)
        ranked = [*ranked[:CHECKED], choice.config]
        sound = next((config for config in ranked if self._is_sound(task, config)), None)
        return self._opened.default_of(task) if sound is None else sound

    def _trials(self, digest: str) -> tuple[Floats, list[Config]]:
        """Latency and energy [n, 2] of a kernel's successful trials, and their Configs."""
        if digest not in self._measured:
            searched = self._search.searches.get(digest)
            trials = [
                (values, trial.config)
                for trial in (searched.kernel.trials if searched is not None else ())
                if (values := values_of(trial.measurement, (Objective.LATENCY, Objective.ENERGY))) is not None
            ]
            both = np.array([values for values, _ in trials]).reshape(-1, 2)
            self._measured[digest] = both, [config for _, config in trials]
        return self._measured[digest]

    def _is_sound(self, task: KernelTask, config: Config) -> bool:
        key = task.digest, config.digest
        if key not in self._sound:
            if task.digest not in self._checks:
                opened = self._opened
                self._checks[task.digest] = KernelCheck(task.regions, opened.target, opened.seed)
            self._sound[key] = not self._checks[task.digest].objection(config)
        return self._sound[key]
